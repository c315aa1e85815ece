-- oldest-program: 1
-- Who is asking (context), which number stands on the site's screen (match), and a code to type where links fail (pairing).
ALTER TABLE requests ADD COLUMN context TEXT;
ALTER TABLE requests ADD COLUMN match_number TEXT;
ALTER TABLE requests ADD COLUMN match_choice TEXT;
ALTER TABLE requests ADD COLUMN pairing_code TEXT;
CREATE INDEX requests_pairing ON requests (pairing_code) WHERE pairing_code IS NOT NULL;
ALTER TABLE deliveries ADD COLUMN context TEXT;
CREATE TABLE pairing_misses (
    id        TEXT PRIMARY KEY,
    address   TEXT NOT NULL,
    missed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX pairing_misses_person ON pairing_misses (address, missed_at);
