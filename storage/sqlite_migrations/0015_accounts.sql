-- oldest-program: 1
-- For which of the site's accounts a code is, and by whom each account is reached: one subscriber per channel, linked when a code was verified.
ALTER TABLE requests ADD COLUMN external_id TEXT;
CREATE TABLE accounts (
    project_id    TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    mode          TEXT NOT NULL,
    external_id   TEXT NOT NULL,
    channel       TEXT NOT NULL,
    subscriber_id TEXT NOT NULL REFERENCES subscribers (id) ON DELETE CASCADE,
    verified_at   INTEGER NOT NULL,
    used_at       INTEGER NOT NULL,
    PRIMARY KEY (project_id, mode, external_id, channel)
) STRICT, WITHOUT ROWID;
CREATE INDEX accounts_subscriber ON accounts (subscriber_id);
