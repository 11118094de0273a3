ALTER TABLE security ADD COLUMN told INTEGER NOT NULL DEFAULT 1; -- 0: critical, and not yet in the outbox of messages
CREATE INDEX security_untold ON security(id) WHERE told = 0;
