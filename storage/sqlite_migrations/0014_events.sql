-- oldest-program: 1
-- Where a project's events go. Secrets are sealed under SECRET_KEYS (see storage/sealing.py); the one before signs beside the new one
-- until old_until. types is a list between commas, empty for all.
CREATE TABLE endpoints (
    id            TEXT PRIMARY KEY,
    project_id    TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    mode          TEXT NOT NULL,
    url           TEXT NOT NULL,
    types         TEXT NOT NULL,
    description   TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    secret        BLOB NOT NULL,
    key_id        TEXT NOT NULL,
    old_secret    BLOB,
    old_key_id    TEXT,
    old_until     INTEGER,
    failing_since INTEGER,
    disabled_at   INTEGER,
    disabled_why  TEXT,
    deleted_at    INTEGER
) STRICT;
CREATE INDEX endpoints_project ON endpoints (project_id, mode);
CREATE INDEX endpoints_deleted ON endpoints (deleted_at) WHERE deleted_at IS NOT NULL;

-- The outbox: what an endpoint is to be told of an event, written in the transaction of the change. A pending one that is taken is due again when its
-- lease has run out. Ids begin with the time, so rows of an endpoint are written one behind the other.
CREATE TABLE notices (
    endpoint_id TEXT NOT NULL REFERENCES endpoints (id) ON DELETE CASCADE,
    id          TEXT NOT NULL,
    type        TEXT NOT NULL,
    happened_at INTEGER NOT NULL,
    data        TEXT NOT NULL,
    state       TEXT NOT NULL,
    due_at      INTEGER NOT NULL,
    tries       INTEGER NOT NULL,
    give_up_at  INTEGER NOT NULL,
    result      TEXT,
    PRIMARY KEY (endpoint_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX notices_due ON notices (endpoint_id, due_at) WHERE state = 'pending';
CREATE INDEX notices_failed ON notices (endpoint_id, id) WHERE state = 'failed';
