-- oldest-program: 1
-- When a code of the request was accepted.
ALTER TABLE requests ADD COLUMN verified_at BIGINT;
-- In which language a question was asked, where its person may not be known otherwise.
ALTER TABLE messages ADD COLUMN language TEXT;
