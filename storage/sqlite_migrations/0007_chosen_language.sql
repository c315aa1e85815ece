-- oldest-program: 1
-- The language that a person chose with /lang; without a row it is that of the messenger's client.
CREATE TABLE people (
    address  TEXT PRIMARY KEY,
    language TEXT NOT NULL
) STRICT, WITHOUT ROWID;
