-- oldest-program: 1
-- A code lies where it is looked for, by its subscriber and purpose: one page less to be written when it is used up.
CREATE TABLE codes_by_subscriber (
    id            TEXT NOT NULL UNIQUE,
    subscriber_id TEXT NOT NULL REFERENCES subscribers (id) ON DELETE CASCADE,
    purpose       TEXT NOT NULL,
    request_id    TEXT,
    ttl_minutes   INTEGER NOT NULL,
    max_attempts  INTEGER NOT NULL,
    code_length   INTEGER NOT NULL,
    seed          BLOB NOT NULL,
    key_id        TEXT NOT NULL,
    attempts      INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    PRIMARY KEY (subscriber_id, purpose)
) STRICT, WITHOUT ROWID;
INSERT INTO codes_by_subscriber
SELECT id, subscriber_id, purpose, request_id, ttl_minutes, max_attempts, code_length, seed, key_id, attempts, expires_at FROM codes;
DROP TABLE codes;
ALTER TABLE codes_by_subscriber RENAME TO codes;
