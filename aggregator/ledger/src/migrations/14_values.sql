-- Sums of hours that are over, by the values of one dimension of `analysis`: by month, and by the month up to each day. Revenue and
-- cost by model, feature and so on are read from them in few rows. They follow from `analysis`, and expire with it.
-- `sums` holds what one tenant used by value, packed (values/pack.rs).
CREATE TABLE value_rolled(      -- one row for each dimension
  dimension TEXT NOT NULL PRIMARY KEY,
  through   INTEGER NOT NULL    -- windows that begin before it are in the sums; 0: none yet
) WITHOUT ROWID;
INSERT INTO value_rolled VALUES
  ('model', 0), ('class', 0), ('route', 0), ('feature', 0), ('prompt_version', 0), ('environment', 0), ('credential', 0);
CREATE TABLE value_kept(        -- one row
  since INTEGER NOT NULL        -- windows before it have expired, or may have
);
INSERT INTO value_kept VALUES (0);
CREATE TABLE value_day(         -- days of which the sums of their month up to then are kept
  dimension TEXT NOT NULL,
  day_start INTEGER NOT NULL,
  PRIMARY KEY (dimension, day_start)
) WITHOUT ROWID;
CREATE TABLE value_month(
  dimension   TEXT NOT NULL,
  month_start INTEGER NOT NULL,
  tenant      TEXT NOT NULL,
  sums        BLOB NOT NULL,
  PRIMARY KEY (dimension, month_start, tenant)
) WITHOUT ROWID;
CREATE TABLE value_to_day(      -- of the month before this day
  dimension TEXT NOT NULL,
  day_start INTEGER NOT NULL,
  tenant    TEXT NOT NULL,
  sums      BLOB NOT NULL,
  PRIMARY KEY (dimension, day_start, tenant)
) WITHOUT ROWID;
CREATE TABLE value_late(        -- what arrived after its hour was taken into the sums: it belongs to this day, and stands in no other table
  dimension TEXT NOT NULL,
  day_start INTEGER NOT NULL,
  tenant    TEXT NOT NULL,
  sums      BLOB NOT NULL,
  PRIMARY KEY (dimension, day_start, tenant)
) WITHOUT ROWID;
