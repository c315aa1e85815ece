-- oldest-program: 1
-- A project's address to go back to, and its own words for consent and code (JSON: language -> {"consent", "code"}).
ALTER TABLE projects ADD COLUMN site_url TEXT;
ALTER TABLE projects ADD COLUMN texts TEXT;
