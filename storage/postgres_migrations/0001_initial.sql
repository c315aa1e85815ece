CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- texts is JSON: language -> {"consent", "code"}. A deleted project is gone at once, and its rows go in batches.
CREATE TABLE projects (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    enabled     INTEGER NOT NULL,
    created_at  BIGINT NOT NULL,
    site_url    TEXT,
    texts       TEXT,
    deleted     INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE api_keys (
    hash       BYTEA PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    mode       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    ends_at    BIGINT
);
CREATE INDEX api_keys_project ON api_keys (project_id);

CREATE TABLE updates (
    key     TEXT PRIMARY KEY,
    seen_at BIGINT NOT NULL
);
CREATE INDEX updates_seen ON updates (seen_at);

-- The language that a person chose with /lang; without a row it is that of the messenger's client.
CREATE TABLE people (
    address  TEXT PRIMARY KEY,
    language TEXT NOT NULL
);

-- An address is "channel:user id". No names are kept.
CREATE TABLE subscribers (
    id            TEXT PRIMARY KEY,
    project_id    TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    mode          TEXT NOT NULL,
    address       TEXT NOT NULL,
    language      TEXT NOT NULL,
    subscribed    INTEGER NOT NULL,
    consented_at  BIGINT NOT NULL,
    left_at       BIGINT,
    wrong_guesses INTEGER NOT NULL,
    locked        INTEGER NOT NULL
) WITH (fillfactor = 90);
CREATE UNIQUE INDEX subscribers_person ON subscribers (address, project_id, mode);
CREATE INDEX subscribers_project ON subscribers (project_id, id);

CREATE TABLE refusals (
    address    TEXT NOT NULL,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    mode       TEXT NOT NULL,
    refused_at BIGINT NOT NULL,
    PRIMARY KEY (address, project_id, mode)
);
CREATE INDEX refusals_project ON refusals (project_id);

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
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    finished_at   BIGINT,
    bound_to      TEXT,
    subscriber_id TEXT,
    reported      INTEGER NOT NULL DEFAULT 0,
    context       TEXT,
    match_number  TEXT,
    match_choice  TEXT,
    pairing_code  TEXT,
    opened        INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX requests_open ON requests (expires_at) WHERE status = 'pending';
CREATE INDEX requests_finished ON requests (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX requests_unopened ON requests (finished_at) WHERE opened = 0 AND finished_at IS NOT NULL;
CREATE INDEX requests_project ON requests (project_id, id);
CREATE INDEX requests_pairing ON requests (pairing_code) WHERE pairing_code IS NOT NULL;

-- The active code of a subscriber and purpose: an ended one is gone from here. Digits are not stored (see otp/codes.py).
CREATE TABLE codes (
    id            TEXT NOT NULL UNIQUE,
    subscriber_id TEXT NOT NULL REFERENCES subscribers (id) ON DELETE CASCADE,
    purpose       TEXT NOT NULL,
    request_id    TEXT,
    ttl_minutes   INTEGER NOT NULL,
    max_attempts  INTEGER NOT NULL,
    code_length   INTEGER NOT NULL,
    seed          BYTEA NOT NULL,
    key_id        TEXT NOT NULL,
    attempts      INTEGER NOT NULL,
    expires_at    BIGINT NOT NULL,
    PRIMARY KEY (subscriber_id, purpose)
) WITH (fillfactor = 80);
CREATE INDEX codes_over ON codes (expires_at);

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
    seed          BYTEA NOT NULL,
    key_id        TEXT NOT NULL,
    code_id       TEXT NOT NULL,
    reuses        INTEGER NOT NULL,
    state         TEXT NOT NULL,
    refusal       TEXT,
    tries         INTEGER NOT NULL,
    claimed_at    BIGINT NOT NULL,
    due_at        BIGINT NOT NULL,
    give_up_at    BIGINT NOT NULL,
    attempted_at  BIGINT,
    settled_at    BIGINT,
    context       TEXT
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX deliveries_under_way ON deliveries (subscriber_id, purpose) WHERE state IN ('claimed', 'attempting');
CREATE INDEX deliveries_subscriber ON deliveries (subscriber_id, claimed_at);
CREATE INDEX deliveries_request ON deliveries (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX deliveries_settled ON deliveries (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX deliveries_state ON deliveries (state, due_at) WHERE state IN ('claimed', 'attempting');

-- A code message is brought up to date when its code ends: which code it holds, why that ended, and whether it was told.
CREATE TABLE messages (
    id            TEXT PRIMARY KEY,
    address       TEXT NOT NULL,
    kind          TEXT NOT NULL,
    request_id    TEXT,
    subscriber_id TEXT,
    delivery_id   TEXT,
    messenger_id  TEXT,
    created_at    BIGINT NOT NULL,
    code_id       TEXT,
    ended         TEXT,
    closed        INTEGER NOT NULL DEFAULT 0
) WITH (fillfactor = 80);
CREATE INDEX messages_request ON messages (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX messages_created ON messages (created_at);
CREATE INDEX messages_code ON messages (code_id) WHERE code_id IS NOT NULL;
CREATE INDEX messages_subscriber ON messages (subscriber_id) WHERE subscriber_id IS NOT NULL;

CREATE TABLE jobs (
    kind        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    due_at      BIGINT NOT NULL,
    attempts    INTEGER NOT NULL,
    lease_until BIGINT NOT NULL,
    owner       TEXT NOT NULL,
    payload     TEXT NOT NULL,
    PRIMARY KEY (kind, subject)
);
CREATE INDEX jobs_due ON jobs (due_at);
CREATE INDEX jobs_free ON jobs (due_at) WHERE lease_until = 0;
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE lease_until > 0;

CREATE TABLE pairing_misses (
    id        TEXT PRIMARY KEY,
    address   TEXT NOT NULL,
    missed_at BIGINT NOT NULL
);
CREATE INDEX pairing_misses_person ON pairing_misses (address, missed_at);
