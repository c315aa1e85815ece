-- oldest-program: 1
CREATE INDEX messages_subscriber ON messages (subscriber_id) WHERE subscriber_id IS NOT NULL;
