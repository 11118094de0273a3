CREATE INDEX cost_tenant ON cost(tenant, window_start); -- a budget that is new begins with what its period has used so far
CREATE TABLE budget_use(        -- what each budget has used in its current period; follows from the sums
  subject TEXT NOT NULL PRIMARY KEY, -- a tenant, or '#' and the name of a budget that several tenants share
  used    TEXT NOT NULL         -- a line for each budget: its name, the start of the period, the amount, the stage
) WITHOUT ROWID;
CREATE TABLE budget_followed(   -- one row: up to where budget_use follows the log; a ledger that counts without budgets leaves it behind
  position INTEGER NOT NULL
);
INSERT INTO budget_followed VALUES (0);
CREATE TABLE budget_past(       -- the same, of periods before the current one
  subject      TEXT NOT NULL,
  budget       TEXT NOT NULL,
  period_start INTEGER NOT NULL,
  period_end   INTEGER NOT NULL,
  used         TEXT NOT NULL,   -- a decimal
  stage        TEXT NOT NULL,
  PRIMARY KEY (subject, budget, period_start)
) WITHOUT ROWID;
CREATE INDEX budget_past_end ON budget_past(period_end);
CREATE TABLE budget_stage(      -- budgets whose period has left its first stage: what gateways are told
  subject      TEXT NOT NULL,
  budget       TEXT NOT NULL,
  period_start INTEGER NOT NULL,
  period_end   INTEGER,         -- NULL: the budget has no periods
  scope        TEXT NOT NULL,   -- JSON
  stage        TEXT NOT NULL,
  used_permille INTEGER NOT NULL,
  since        INTEGER NOT NULL,
  position     INTEGER NOT NULL, -- of the log, up to which was evaluated
  PRIMARY KEY (subject, budget)
) WITHOUT ROWID;
CREATE TABLE budget_transition( -- every change of a stage
  id           INTEGER PRIMARY KEY,
  at           INTEGER NOT NULL,
  position     INTEGER NOT NULL,
  subject      TEXT NOT NULL,
  budget       TEXT NOT NULL,
  period_start INTEGER NOT NULL,
  period_end   INTEGER,
  was          TEXT NOT NULL,
  stage        TEXT NOT NULL,
  used         TEXT NOT NULL,   -- decimals, in the budget's unit
  amount       TEXT NOT NULL,
  unit         TEXT NOT NULL,
  mode         TEXT NOT NULL,
  told         INTEGER NOT NULL DEFAULT 0 -- 1: its notifications are in the outbox
);
CREATE INDEX budget_transition_of ON budget_transition(subject, budget, id);
CREATE INDEX budget_transition_untold ON budget_transition(id) WHERE told = 0;
CREATE TABLE budget_raise(      -- other amounts until a date, by whom and why
  id       INTEGER PRIMARY KEY,
  subject  TEXT NOT NULL,
  budget   TEXT NOT NULL,
  amount   TEXT,                -- NULL: the budget is paused
  until    INTEGER NOT NULL,
  who      TEXT NOT NULL,
  why      TEXT NOT NULL,
  at       INTEGER NOT NULL,
  ended_at INTEGER              -- it was taken back
);
CREATE INDEX budget_raise_of ON budget_raise(subject, budget, until);
CREATE TABLE notice(            -- messages to people: one for each change of a stage and receiver
  id         TEXT NOT NULL PRIMARY KEY, -- the same at each attempt, so that the receiver can tell a repeat
  receiver   TEXT NOT NULL,
  at         INTEGER NOT NULL,
  transition INTEGER,           -- NULL: a test
  body       TEXT NOT NULL,     -- JSON
  state      TEXT NOT NULL,     -- pending, delivered, failed
  attempts   INTEGER NOT NULL DEFAULT 0,
  next_at    INTEGER NOT NULL,
  error      TEXT
) WITHOUT ROWID;
CREATE INDEX notice_pending ON notice(next_at) WHERE state = 'pending';
CREATE INDEX notice_at ON notice(at);
