CREATE TABLE kept_answer(       -- answers that a provider keeps, and whose usage was counted
  tenant      TEXT NOT NULL,
  response_id TEXT NOT NULL,
  day         INTEGER NOT NULL, -- of the event that was counted: days since 1970-01-01
  PRIMARY KEY (tenant, response_id)
) WITHOUT ROWID;
CREATE INDEX kept_answer_day ON kept_answer(day);
