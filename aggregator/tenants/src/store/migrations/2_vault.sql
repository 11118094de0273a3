CREATE TABLE vault_root(             -- key-encryption keys that a command wraps
  id      TEXT PRIMARY KEY,
  wrapped TEXT NOT NULL,
  number  INTEGER NOT NULL UNIQUE     -- the highest is in use
) STRICT, WITHOUT ROWID;

CREATE TABLE vault_tenant(            -- data keys, one for each tenant
  tenant   TEXT PRIMARY KEY REFERENCES tenant(id),
  number   INTEGER NOT NULL,          -- counts the tenant's data keys
  kek      TEXT,                      -- the key that wraps; absent before there is a data key
  wrapped  BLOB,
  fallback TEXT NOT NULL CHECK (fallback IN ('none', 'house'))
) STRICT, WITHOUT ROWID;

CREATE TABLE vault_secret(            -- keys of tenants at providers
  tenant      TEXT NOT NULL REFERENCES vault_tenant(tenant),
  provider    TEXT NOT NULL,
  version     INTEGER NOT NULL,       -- counts the keys that the tenant has had there
  sealed      BLOB,                   -- absent once it is removed, as are the next three
  fingerprint TEXT,
  last_four   TEXT,
  bytes       INTEGER,
  expires     INTEGER,
  changed_at  INTEGER NOT NULL,
  changed_by  TEXT NOT NULL,
  PRIMARY KEY (tenant, provider)
) STRICT, WITHOUT ROWID;
