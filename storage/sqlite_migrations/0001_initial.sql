CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE projects (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    enabled     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
    hash       BLOB PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    mode       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    ends_at    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX api_keys_project ON api_keys (project_id);

CREATE TABLE updates (
    key     TEXT PRIMARY KEY,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX updates_seen ON updates (seen_at);

-- An address is "channel:user id". No names are kept.
CREATE TABLE subscribers (
    id            TEXT PRIMARY KEY,
    project_id    TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    mode          TEXT NOT NULL,
    address       TEXT NOT NULL,
    language      TEXT NOT NULL,
    subscribed    INTEGER NOT NULL,
    consented_at  INTEGER NOT NULL,
    left_at       INTEGER,
    wrong_guesses INTEGER NOT NULL,
    locked        INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX subscribers_person ON subscribers (address, project_id, mode);
CREATE INDEX subscribers_project ON subscribers (project_id);

CREATE TABLE requests (
    id            TEXT PRIMARY KEY,
    project_id    TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    mode          TEXT NOT NULL,
    channel       TEXT,
    purpose       TEXT NOT NULL,
    ttl_minutes   INTEGER NOT NULL,
    max_attempts  INTEGER NOT NULL,
    code_length   INTEGER NOT NULL,
    status        TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    finished_at   INTEGER,
    bound_to      TEXT,
    subscriber_id TEXT
) STRICT;
CREATE INDEX requests_open ON requests (expires_at) WHERE status = 'pending';
CREATE INDEX requests_finished ON requests (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX requests_project ON requests (project_id);

-- The active code of a subscriber and purpose: an ended one is gone from here. Digits are not stored (see otp/codes.py).
CREATE TABLE codes (
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
) STRICT;

CREATE TABLE deliveries (
    id            TEXT PRIMARY KEY,
    project_id    TEXT NOT NULL,
    subscriber_id TEXT NOT NULL REFERENCES subscribers (id) ON DELETE CASCADE,
    address       TEXT NOT NULL,
    request_id    TEXT,
    cause         TEXT NOT NULL,
    purpose       TEXT NOT NULL,
    ttl_minutes   INTEGER NOT NULL,
    max_attempts  INTEGER NOT NULL,
    code_length   INTEGER NOT NULL,
    seed          BLOB NOT NULL,
    key_id        TEXT NOT NULL,
    code_id       TEXT NOT NULL,
    reuses        INTEGER NOT NULL,
    state         TEXT NOT NULL,
    refusal       TEXT,
    tries         INTEGER NOT NULL,
    claimed_at    INTEGER NOT NULL,
    due_at        INTEGER NOT NULL,
    give_up_at    INTEGER NOT NULL,
    attempted_at  INTEGER,
    settled_at    INTEGER
) STRICT;
CREATE UNIQUE INDEX deliveries_under_way ON deliveries (subscriber_id, purpose) WHERE state IN ('claimed', 'attempting');
CREATE INDEX deliveries_subscriber ON deliveries (subscriber_id, claimed_at);
CREATE INDEX deliveries_request ON deliveries (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX deliveries_settled ON deliveries (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX deliveries_state ON deliveries (state, due_at) WHERE state IN ('claimed', 'attempting');

CREATE TABLE messages (
    id            TEXT PRIMARY KEY,
    address       TEXT NOT NULL,
    kind          TEXT NOT NULL,
    request_id    TEXT,
    subscriber_id TEXT,
    delivery_id   TEXT,
    messenger_id  TEXT,
    created_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_request ON messages (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX messages_created ON messages (created_at);

CREATE TABLE jobs (
    kind        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    due_at      INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    owner       TEXT NOT NULL,
    payload     TEXT NOT NULL,
    PRIMARY KEY (kind, subject)
) STRICT;
CREATE INDEX jobs_due ON jobs (due_at);
