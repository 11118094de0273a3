CREATE TABLE reading(           -- readings that were taken in
  id       TEXT PRIMARY KEY,
  day      INTEGER NOT NULL,    -- of its time: days since 1970-01-01
  hash     INTEGER NOT NULL,    -- of its content
  position INTEGER NOT NULL,
  item     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX reading_day ON reading(day);
ALTER TABLE early ADD COLUMN reading INTEGER NOT NULL DEFAULT 0; -- whether it is a reading
