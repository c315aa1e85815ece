-- oldest-program: 1
-- A request that nobody ever opened is forgotten sooner: those of before count as opened.
ALTER TABLE requests ADD COLUMN opened INTEGER NOT NULL DEFAULT 0;
UPDATE requests SET opened = 1;
CREATE INDEX requests_unopened ON requests (finished_at) WHERE opened = 0 AND finished_at IS NOT NULL;
-- A deleted project is gone at once, and its rows go in batches.
ALTER TABLE projects ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;
DROP INDEX requests_project;
CREATE INDEX requests_project ON requests (project_id, id);
DROP INDEX subscribers_project;
CREATE INDEX subscribers_project ON subscribers (project_id, id);
CREATE INDEX refusals_project ON refusals (project_id);
-- A settled delivery needs its seed no more.
UPDATE deliveries SET seed = x'', key_id = '' WHERE state IN ('accepted', 'refused', 'unknown');
