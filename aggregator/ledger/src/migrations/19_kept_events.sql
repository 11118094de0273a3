-- The event that told an answer's usage first, and was counted with it. NULL: counted before events were noted.
ALTER TABLE kept_answer ADD COLUMN event BLOB;
CREATE TABLE first_answer(      -- when each tenant's first request was answered
  tenant TEXT NOT NULL PRIMARY KEY,
  at     INTEGER NOT NULL
) WITHOUT ROWID;
-- Before that was noted: the hour of the first usage.
INSERT INTO first_answer SELECT tenant, min(at) FROM (
  SELECT tenant, window_start AS at FROM first_use
  UNION ALL SELECT tenant, min(window_start) FROM usage WHERE billable > 0 GROUP BY tenant) GROUP BY tenant;
