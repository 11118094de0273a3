CREATE TABLE export(           -- where each export goes on: the last record whose events its receiver has
  name     TEXT PRIMARY KEY,
  position INTEGER NOT NULL
) WITHOUT ROWID;
