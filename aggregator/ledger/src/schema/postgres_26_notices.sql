ALTER TABLE notice ADD COLUMN topic text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE notice ADD COLUMN seq bigint NOT NULL DEFAULT 0;
CREATE INDEX notice_seq ON notice(seq);
CREATE INDEX notice_order ON notice(receiver, topic, seq) WHERE state = 'pending';
CREATE TABLE notice_failing(
  receiver text COLLATE "C" NOT NULL PRIMARY KEY, since bigint NOT NULL, at bigint NOT NULL, error text COLLATE "C" NOT NULL
);
CREATE INDEX budget_transition_held ON budget_transition(subject, budget, id) WHERE told = 2;
ALTER TABLE alert_silence ADD COLUMN budget text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE alert_silence ADD COLUMN tenant text COLLATE "C" NOT NULL DEFAULT '*';
ALTER TABLE alert ADD COLUMN deploy bigint;
ALTER TABLE deploy ADD COLUMN removed bigint NOT NULL DEFAULT 0;
CREATE INDEX deploy_of ON deploy(feature, prompt_version, at);
