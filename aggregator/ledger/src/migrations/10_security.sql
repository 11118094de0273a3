CREATE TABLE security(        -- findings about the borders between tenants
  id        INTEGER PRIMARY KEY,
  minute    INTEGER NOT NULL, -- its start
  tenant    TEXT NOT NULL,    -- empty: no credential proved one
  kind      TEXT NOT NULL,
  severity  TEXT NOT NULL,
  operation TEXT NOT NULL,
  route     TEXT NOT NULL,    -- empty: none matched
  count     INTEGER NOT NULL,
  owners    TEXT NOT NULL,    -- JSON: names of tenants
  samples   TEXT NOT NULL     -- JSON: moments and ids of requests
);
CREATE INDEX security_minute ON security(minute);
CREATE TABLE search(          -- searches of vector stores
  id         INTEGER PRIMARY KEY,
  at         INTEGER NOT NULL,
  tenant     TEXT NOT NULL,
  request_id TEXT NOT NULL,
  store      TEXT NOT NULL,
  collection TEXT NOT NULL,
  operation  TEXT NOT NULL,
  status     INTEGER NOT NULL,
  results    INTEGER NOT NULL,
  removed    TEXT NOT NULL    -- JSON: records that were taken out, by owner
);
CREATE INDEX search_tenant ON search(tenant, at);
CREATE INDEX search_at ON search(at);
