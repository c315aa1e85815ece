-- oldest-program: 1
-- Requests of a project in the order in which they came: ordered by their ids, each new one and each one that is purged
-- would touch another page of the index.
DROP INDEX requests_project;
CREATE INDEX requests_project ON requests (project_id);
