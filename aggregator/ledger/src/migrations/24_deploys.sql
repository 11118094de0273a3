CREATE TABLE deploy(            -- marks of deploys: from then on something else serves
  id       INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,    -- when it was deployed
  name     TEXT NOT NULL,
  feature  TEXT NOT NULL,       -- a pattern; empty: none is named
  prompt_version TEXT NOT NULL, -- a pattern; empty: none is named
  who      TEXT NOT NULL,
  marked_at INTEGER NOT NULL
);
CREATE INDEX deploy_at ON deploy(at);
