-- oldest-program: 1
-- When a request was opened for the first time, and in which messenger: for whoever asks why somebody got no code.
ALTER TABLE requests ADD COLUMN opened_at INTEGER;
ALTER TABLE requests ADD COLUMN opened_in TEXT;
