-- oldest-program: 1
-- When a person was last reached in a project, to a day (see storage/people.py); null for those of before, until something is known.
ALTER TABLE subscribers ADD COLUMN active_at INTEGER;
