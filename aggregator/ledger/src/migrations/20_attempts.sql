CREATE TABLE attempt(              -- attempts of gateways at providers, by hour
  window_start            INTEGER NOT NULL,
  provider                TEXT NOT NULL,
  model                   TEXT NOT NULL,
  made                    INTEGER NOT NULL,
  unanswered_input_tokens INTEGER NOT NULL,
  PRIMARY KEY(window_start, provider, model)
) WITHOUT ROWID;
CREATE TABLE attempt_failure(      -- those that failed, by reason
  window_start INTEGER NOT NULL,
  provider     TEXT NOT NULL,
  model        TEXT NOT NULL,
  reason       TEXT NOT NULL,
  count        INTEGER NOT NULL,
  PRIMARY KEY(window_start, provider, model, reason)
) WITHOUT ROWID;
CREATE TABLE provider_failure(     -- the last one of each provider
  provider TEXT NOT NULL PRIMARY KEY,
  at       INTEGER NOT NULL,
  gateway  TEXT NOT NULL,
  model    TEXT NOT NULL,
  reason   TEXT NOT NULL,
  status   INTEGER                 -- NULL: no answer came
) WITHOUT ROWID;
CREATE TABLE breaker(              -- breakers as each gateway has said last
  gateway    TEXT NOT NULL,
  provider   TEXT NOT NULL,
  at         INTEGER NOT NULL,
  open_until INTEGER,              -- NULL: closed
  PRIMARY KEY(gateway, provider)
) WITHOUT ROWID;
