-- oldest-program: 1
-- Whether the question for a phone number went out: until then the keyboard on the screen is another one's.
ALTER TABLE phones ADD COLUMN shown INTEGER NOT NULL DEFAULT 0;
