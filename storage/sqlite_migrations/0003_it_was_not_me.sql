-- oldest-program: 1
-- What a person says of a code they did not ask for, and the projects from which they want nothing any more.
ALTER TABLE requests ADD COLUMN reported INTEGER NOT NULL DEFAULT 0;
CREATE TABLE refusals (
    address    TEXT NOT NULL,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    mode       TEXT NOT NULL,
    refused_at INTEGER NOT NULL,
    PRIMARY KEY (address, project_id, mode)
) STRICT, WITHOUT ROWID;
