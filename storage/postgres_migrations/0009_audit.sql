-- oldest-program: 1
-- Each change that an operator, or the configuration at a start, made: written in the transaction of the change itself. No secrets, no people.
CREATE TABLE audit (
    id      TEXT PRIMARY KEY,
    at      BIGINT NOT NULL,
    who     TEXT NOT NULL,
    what    TEXT NOT NULL,
    subject TEXT,
    detail  TEXT NOT NULL
);
CREATE INDEX audit_at ON audit (at);
