-- oldest-program: 1
-- The hosted page: how a project's looks and where it may lead, its picture beside it, and which request has one.
ALTER TABLE projects ADD COLUMN page TEXT;
ALTER TABLE requests ADD COLUMN page TEXT;
CREATE TABLE logos (
    project_id TEXT PRIMARY KEY REFERENCES projects (id) ON DELETE CASCADE,
    digest     TEXT NOT NULL,
    picture    BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX logos_digest ON logos (digest);
