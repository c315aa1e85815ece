-- oldest-program: 1
-- How much happened, by day (its first moment, UTC). No people, no single acts.
CREATE TABLE daily_stats (
    day        INTEGER NOT NULL,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    mode       TEXT NOT NULL,
    channel    TEXT NOT NULL,
    what       TEXT NOT NULL,
    many       INTEGER NOT NULL,
    PRIMARY KEY (day, project_id, mode, channel, what)
) STRICT, WITHOUT ROWID;
CREATE INDEX daily_stats_project ON daily_stats (project_id, day);
