ALTER TABLE budget_transition ADD COLUMN cause TEXT NOT NULL DEFAULT 'usage'; -- why the stage or the amount changed
ALTER TABLE budget_transition ADD COLUMN why TEXT NOT NULL DEFAULT ''; -- who and why, where a person is behind it
ALTER TABLE budget_raise ADD COLUMN over_noted INTEGER NOT NULL DEFAULT 0; -- its date is over, and the audit says so
UPDATE budget_raise SET over_noted = 1 WHERE until < 1000 * unixepoch(); -- the audit begins with those that end from now on
CREATE INDEX budget_raise_over ON budget_raise(until) WHERE over_noted = 0 AND ended_at IS NULL;
ALTER TABLE budget_stage ADD COLUMN over_noted INTEGER NOT NULL DEFAULT 0; -- its period is over, and budget_transition says so
