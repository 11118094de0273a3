-- What requests cost. An amount is whole units of its currency and trillionths of one, which together are exact.
CREATE TABLE price_book(        -- every book that priced an event, whole
  id   INTEGER PRIMARY KEY,
  text TEXT NOT NULL
);
CREATE TABLE pricing(           -- from when on a book is used
  position INTEGER NOT NULL PRIMARY KEY, -- it prices the events of later records of the log
  at       INTEGER NOT NULL,
  book     INTEGER              -- none: their cost is not computed
);
CREATE TABLE repricing(         -- sums that a person had computed again
  id       INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,
  who      TEXT NOT NULL,
  why      TEXT NOT NULL,
  from_at  INTEGER NOT NULL,    -- windows that begin at this moment or later
  position INTEGER NOT NULL,    -- events of records up to this one
  book     INTEGER NOT NULL
);
CREATE TABLE repriced(          -- what a repricing changed
  repricing INTEGER NOT NULL,
  tenant    TEXT NOT NULL,
  currency  TEXT NOT NULL,
  old_units INTEGER NOT NULL,
  old_pico  INTEGER NOT NULL,
  new_units INTEGER NOT NULL,
  new_pico  INTEGER NOT NULL,
  PRIMARY KEY (repricing, tenant, currency)
) WITHOUT ROWID;
CREATE TABLE repricing_left(    -- windows that a repricing left as they were, since they are not summed by model
  repricing    INTEGER NOT NULL,
  window_start INTEGER NOT NULL,
  tenant       TEXT NOT NULL,
  PRIMARY KEY (repricing, window_start, tenant)
) WITHOUT ROWID;
CREATE TRIGGER repricing_stays BEFORE DELETE ON repricing BEGIN SELECT raise(ABORT, 'repricings stay'); END;
CREATE TRIGGER repricing_is_fixed BEFORE UPDATE ON repricing BEGIN SELECT raise(ABORT, 'repricings stay'); END;
CREATE TRIGGER repriced_stays BEFORE DELETE ON repriced BEGIN SELECT raise(ABORT, 'repricings stay'); END;
CREATE TRIGGER repriced_is_fixed BEFORE UPDATE ON repriced BEGIN SELECT raise(ABORT, 'repricings stay'); END;

CREATE TABLE cost(              -- by tenant, window and currency, for ever
  window_start       INTEGER NOT NULL,
  tenant             TEXT NOT NULL,
  currency           TEXT NOT NULL, -- empty where nothing has a price
  requests           INTEGER NOT NULL,
  failed_requests    INTEGER NOT NULL,
  retried_requests   INTEGER NOT NULL,
  estimated_requests INTEGER NOT NULL,
  unpriced_requests  INTEGER NOT NULL,
  own_key_requests   INTEGER NOT NULL,
  input_tokens       INTEGER NOT NULL,
  output_tokens      INTEGER NOT NULL,
  cache_read_tokens  INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  reasoning_tokens   INTEGER NOT NULL,
  unpriced_tokens    INTEGER NOT NULL,
  cost_units         INTEGER NOT NULL,
  cost_pico          INTEGER NOT NULL,
  failed_units       INTEGER NOT NULL,
  failed_pico        INTEGER NOT NULL,
  retried_units      INTEGER NOT NULL,
  retried_pico       INTEGER NOT NULL,
  estimated_units    INTEGER NOT NULL,
  estimated_pico     INTEGER NOT NULL,
  PRIMARY KEY (window_start, tenant, currency)
) WITHOUT ROWID;

CREATE TABLE analysis_by_price( -- for looking at, and for pricing again; expires
  window_start       INTEGER NOT NULL,
  tenant             TEXT NOT NULL,
  model              TEXT NOT NULL,  -- that answered, else that was asked for; texts are empty where nothing is known
  class              TEXT NOT NULL,
  route              TEXT NOT NULL,
  feature            TEXT NOT NULL,
  prompt_version     TEXT NOT NULL,
  environment        TEXT NOT NULL,
  credential         TEXT NOT NULL,
  plan               TEXT NOT NULL,
  provider           TEXT NOT NULL,
  tier               TEXT NOT NULL,  -- the provider's service tier
  input_over         INTEGER NOT NULL, -- the highest context step that the input exceeds
  marks              INTEGER NOT NULL, -- 1 failed, 2 retried, 4 estimated, 8 with the tenant's own key, 16 its cost was not computed, 32 nor its units
  unpriced           INTEGER NOT NULL, -- the kinds used without a price, a bit for each
  currency           TEXT NOT NULL,
  requests           INTEGER NOT NULL,
  input_tokens       INTEGER NOT NULL,
  output_tokens      INTEGER NOT NULL,
  cache_read_tokens  INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL DEFAULT 0,
  reasoning_tokens   INTEGER NOT NULL,
  cost_units         INTEGER NOT NULL DEFAULT 0,
  cost_pico          INTEGER NOT NULL DEFAULT 0,
  of_input            INTEGER NOT NULL DEFAULT 0, -- units by kind, disjoint
  of_cache_read       INTEGER NOT NULL DEFAULT 0,
  of_cache_write      INTEGER NOT NULL DEFAULT 0,
  of_cache_write_1h   INTEGER NOT NULL DEFAULT 0,
  of_audio_input      INTEGER NOT NULL DEFAULT 0,
  of_audio_cache_read INTEGER NOT NULL DEFAULT 0,
  of_image_input      INTEGER NOT NULL DEFAULT 0,
  of_image_cache_read INTEGER NOT NULL DEFAULT 0,
  of_video_input      INTEGER NOT NULL DEFAULT 0,
  of_output           INTEGER NOT NULL DEFAULT 0,
  of_reasoning        INTEGER NOT NULL DEFAULT 0,
  of_audio_output     INTEGER NOT NULL DEFAULT 0,
  of_image_output     INTEGER NOT NULL DEFAULT 0,
  of_video_output     INTEGER NOT NULL DEFAULT 0,
  of_request          INTEGER NOT NULL DEFAULT 0,
  of_image            INTEGER NOT NULL DEFAULT 0,
  of_search           INTEGER NOT NULL DEFAULT 0,
  of_page             INTEGER NOT NULL DEFAULT 0,
  of_second           INTEGER NOT NULL DEFAULT 0,
  of_character        INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (window_start, tenant, model, class, route, feature, prompt_version, environment, credential, plan,
               provider, tier, input_over, marks, unpriced, currency)
) WITHOUT ROWID;
INSERT INTO analysis_by_price(window_start, tenant, model, class, route, feature, prompt_version, environment, credential,
    plan, provider, tier, input_over, marks, unpriced, currency,
    requests, input_tokens, output_tokens, cache_read_tokens, reasoning_tokens)
  SELECT window_start, tenant, model, class, route, feature, prompt_version, environment, credential,
    '', '', '', 0, 48, 0, '', requests, input_tokens, output_tokens, cache_read_tokens, reasoning_tokens FROM analysis;
DROP TABLE analysis;
ALTER TABLE analysis_by_price RENAME TO analysis;

CREATE TABLE request_key(       -- idempotency keys of requests that were counted: a repeat is a retry
  tenant TEXT NOT NULL,
  hash   TEXT NOT NULL,
  day    INTEGER NOT NULL,      -- of the first request: days since 1970-01-01
  PRIMARY KEY (tenant, hash)
) WITHOUT ROWID;
CREATE INDEX request_key_day ON request_key(day);
ALTER TABLE early ADD COLUMN position INTEGER NOT NULL DEFAULT 0; -- of its record: it tells which book prices it
ALTER TABLE ledger ADD COLUMN costs_from INTEGER NOT NULL DEFAULT 0; -- events and readings of later records are in the tables above
UPDATE ledger SET costs_from = position;

CREATE TABLE reading_sum(       -- readings by name, for ever: costs that no request causes
  window_start INTEGER NOT NULL,
  tenant       TEXT NOT NULL,
  name         TEXT NOT NULL,
  units        INTEGER NOT NULL, -- whole units
  micro        INTEGER NOT NULL, -- and millionths
  PRIMARY KEY (window_start, tenant, name)
) WITHOUT ROWID;
