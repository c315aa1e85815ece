-- oldest-program: 1
-- When a person was last reached in a project, to a day (see storage/people.py), and when they chose their language; null for rows of before,
-- until something is known.
ALTER TABLE subscribers ADD COLUMN active_at BIGINT;
ALTER TABLE people ADD COLUMN chosen_at BIGINT;
