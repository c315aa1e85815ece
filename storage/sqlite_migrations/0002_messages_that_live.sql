-- oldest-program: 1
-- A code message is brought up to date when its code ends: which code it holds, why that ended, and whether it was told.
ALTER TABLE messages ADD COLUMN code_id TEXT;
ALTER TABLE messages ADD COLUMN ended TEXT;
ALTER TABLE messages ADD COLUMN closed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX messages_code ON messages (code_id) WHERE code_id IS NOT NULL;
