ALTER TABLE notice ADD COLUMN topic TEXT NOT NULL DEFAULT ''; -- a receiver gets the messages of one topic in their order
ALTER TABLE notice ADD COLUMN seq INTEGER NOT NULL DEFAULT 0; -- the order in which messages were made
CREATE INDEX notice_seq ON notice(seq);
CREATE INDEX notice_order ON notice(receiver, topic, seq) WHERE state = 'pending';
CREATE TABLE notice_failing(    -- receivers that did not take the last message
  receiver TEXT NOT NULL PRIMARY KEY,
  since    INTEGER NOT NULL,    -- the first attempt that failed since one did not
  at       INTEGER NOT NULL,    -- the last one
  error    TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX budget_transition_held ON budget_transition(subject, budget, id) WHERE told = 2; -- held back by a silence
ALTER TABLE alert_silence ADD COLUMN budget TEXT NOT NULL DEFAULT ''; -- a pattern; empty: it is about rules only
ALTER TABLE alert_silence ADD COLUMN tenant TEXT NOT NULL DEFAULT '*'; -- a pattern
ALTER TABLE alert ADD COLUMN deploy INTEGER; -- the mark from which its rule compares; NULL: none
ALTER TABLE deploy ADD COLUMN removed INTEGER NOT NULL DEFAULT 0; -- 1: taken back; the last row stays, so that no number is used again
CREATE INDEX deploy_of ON deploy(feature, prompt_version, at);
