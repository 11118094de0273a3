ALTER TABLE key ADD COLUMN scopes TEXT;             -- JSON; what it may be used for; NULL: everything
ALTER TABLE provisioning ADD COLUMN told TEXT;      -- JSON; what the outside system itself answered about the environment
CREATE INDEX provisioning_ended ON provisioning(changed_at) WHERE open = 0;
