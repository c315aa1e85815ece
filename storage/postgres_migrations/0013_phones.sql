-- oldest-program: 1
-- Phone numbers, where a site asks for them: which requests ask, which projects keep what was shared; the question of a request,
-- with its sealed answer until the site was told (see storage/sealing.py); and what is kept of a subscriber.
ALTER TABLE projects ADD COLUMN keep_phone INTEGER NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN asks_phone INTEGER NOT NULL DEFAULT 0;
CREATE TABLE phones (
    request_id    TEXT PRIMARY KEY REFERENCES requests (id) ON DELETE CASCADE,
    subscriber_id TEXT NOT NULL REFERENCES subscribers (id) ON DELETE CASCADE,
    address       TEXT NOT NULL,
    asked_at      BIGINT NOT NULL,
    number        BYTEA,
    key_id        TEXT
);
CREATE INDEX phones_subscriber ON phones (subscriber_id);
CREATE INDEX phones_address ON phones (address);
CREATE TABLE kept_phones (
    subscriber_id TEXT PRIMARY KEY REFERENCES subscribers (id) ON DELETE CASCADE,
    number        BYTEA NOT NULL,
    key_id        TEXT NOT NULL
);
