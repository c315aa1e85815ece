-- oldest-program: 1
-- Calls with an Idempotency-Key: what was asked (a fingerprint under a secret key) and what was answered. While status is
-- null the delivery tells it. An id is the hash of project, mode and key.
CREATE TABLE idempotency (
    id          TEXT PRIMARY KEY,
    project_id  TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    claimed_at  INTEGER NOT NULL,
    delivery_id TEXT,
    status      INTEGER,
    answer      TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_claimed ON idempotency (claimed_at);
CREATE INDEX idempotency_project ON idempotency (project_id, id);
