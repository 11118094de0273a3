CREATE TABLE budget_known(      -- the budgets by which stages were evaluated last: another configuration is compared with them
  budget TEXT NOT NULL PRIMARY KEY,
  says   TEXT NOT NULL          -- JSON, as in weir.yaml
) WITHOUT ROWID;
