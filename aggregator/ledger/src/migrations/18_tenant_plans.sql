CREATE TABLE tenant_plan(        -- what the tenants file said of a tenant, from when on
  tenant          TEXT NOT NULL,
  since           INTEGER NOT NULL, -- when that was first seen; 0: from the tenant's beginning
  plan            TEXT,             -- none: the tenant is gone
  created_at      INTEGER,          -- the tenant's created_at
  anchor_at       INTEGER,          -- seconds: where its billing periods begin
  anchor_interval TEXT,
  PRIMARY KEY (tenant, since)
) WITHOUT ROWID;
