-- Sums of hours that are over, by month, and by the month up to each day: a span of any length is read in few rows. They follow from
-- `usage` and `cost`; triggers keep them where an hour before `through` changes later.
CREATE TABLE rolled(            -- one row
  through INTEGER NOT NULL      -- windows that begin before it are in the sums; 0: none yet
);
INSERT INTO rolled VALUES (0);
CREATE TABLE rolled_day(        -- days of which the sums of their month up to then are kept
  day_start INTEGER NOT NULL PRIMARY KEY
);
CREATE TABLE first_use(         -- the first window with a unit to bill
  tenant       TEXT NOT NULL PRIMARY KEY,
  window_start INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE usage_month(
  month_start INTEGER NOT NULL,
  tenant      TEXT NOT NULL,
  meter       TEXT NOT NULL,
  billable    INTEGER NOT NULL,
  PRIMARY KEY (month_start, tenant, meter)
) WITHOUT ROWID;
CREATE TABLE usage_to_day(      -- of the month before this day
  day_start INTEGER NOT NULL,
  tenant    TEXT NOT NULL,
  meter     TEXT NOT NULL,
  billable  INTEGER NOT NULL,
  PRIMARY KEY (day_start, tenant, meter)
) WITHOUT ROWID;
CREATE TABLE cost_month(             -- an amount is units + 10^-12 * pico; pico may exceed a unit here, or be negative
  month_start INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  currency TEXT NOT NULL,
  requests INTEGER NOT NULL,
  failed_requests INTEGER NOT NULL,
  retried_requests INTEGER NOT NULL,
  estimated_requests INTEGER NOT NULL,
  unpriced_requests INTEGER NOT NULL,
  own_key_requests INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cache_read_tokens INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  unpriced_tokens INTEGER NOT NULL,
  cost_units INTEGER NOT NULL,
  cost_pico INTEGER NOT NULL,
  failed_units INTEGER NOT NULL,
  failed_pico INTEGER NOT NULL,
  retried_units INTEGER NOT NULL,
  retried_pico INTEGER NOT NULL,
  estimated_units INTEGER NOT NULL,
  estimated_pico INTEGER NOT NULL,
  PRIMARY KEY (month_start, tenant, currency)
) WITHOUT ROWID;
CREATE TABLE cost_to_day(            -- of the month before this day
  day_start INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  currency TEXT NOT NULL,
  requests INTEGER NOT NULL,
  failed_requests INTEGER NOT NULL,
  retried_requests INTEGER NOT NULL,
  estimated_requests INTEGER NOT NULL,
  unpriced_requests INTEGER NOT NULL,
  own_key_requests INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cache_read_tokens INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  unpriced_tokens INTEGER NOT NULL,
  cost_units INTEGER NOT NULL,
  cost_pico INTEGER NOT NULL,
  failed_units INTEGER NOT NULL,
  failed_pico INTEGER NOT NULL,
  retried_units INTEGER NOT NULL,
  retried_pico INTEGER NOT NULL,
  estimated_units INTEGER NOT NULL,
  estimated_pico INTEGER NOT NULL,
  PRIMARY KEY (day_start, tenant, currency)
) WITHOUT ROWID;
CREATE TRIGGER rolled_usage_insert AFTER INSERT ON usage WHEN new.window_start < (SELECT through FROM rolled) BEGIN
  INSERT INTO usage_month VALUES (CAST(strftime('%s', new.window_start / 1000, 'unixepoch', 'start of month') AS INTEGER) * 1000, new.tenant, new.meter, new.billable)
    ON CONFLICT DO UPDATE SET billable = billable + excluded.billable;
  INSERT INTO usage_to_day SELECT day_start, new.tenant, new.meter, new.billable FROM rolled_day
    WHERE day_start > new.window_start AND day_start < CAST(strftime('%s', new.window_start / 1000, 'unixepoch', 'start of month', '+1 month') AS INTEGER) * 1000
    ON CONFLICT DO UPDATE SET billable = billable + excluded.billable;
  INSERT INTO first_use SELECT new.tenant, new.window_start WHERE new.billable > 0
    ON CONFLICT DO UPDATE SET window_start = min(window_start, excluded.window_start);
END;
CREATE TRIGGER rolled_usage_update AFTER UPDATE OF billable ON usage WHEN new.window_start < (SELECT through FROM rolled) BEGIN
  INSERT INTO usage_month VALUES (CAST(strftime('%s', new.window_start / 1000, 'unixepoch', 'start of month') AS INTEGER) * 1000, new.tenant, new.meter, new.billable - old.billable)
    ON CONFLICT DO UPDATE SET billable = billable + excluded.billable;
  INSERT INTO usage_to_day SELECT day_start, new.tenant, new.meter, new.billable - old.billable FROM rolled_day
    WHERE day_start > new.window_start AND day_start < CAST(strftime('%s', new.window_start / 1000, 'unixepoch', 'start of month', '+1 month') AS INTEGER) * 1000
    ON CONFLICT DO UPDATE SET billable = billable + excluded.billable;
  INSERT INTO first_use SELECT new.tenant, new.window_start WHERE new.billable > 0
    ON CONFLICT DO UPDATE SET window_start = min(window_start, excluded.window_start);
END;
CREATE TRIGGER rolled_cost_insert AFTER INSERT ON cost WHEN new.window_start < (SELECT through FROM rolled) BEGIN
  INSERT INTO cost_month VALUES (CAST(strftime('%s', new.window_start / 1000, 'unixepoch', 'start of month') AS INTEGER) * 1000, new.tenant, new.currency,
      new.requests, new.failed_requests, new.retried_requests, new.estimated_requests, new.unpriced_requests,
      new.own_key_requests, new.input_tokens, new.output_tokens, new.cache_read_tokens, new.cache_write_tokens,
      new.reasoning_tokens, new.unpriced_tokens, new.cost_units, new.cost_pico, new.failed_units, new.failed_pico,
      new.retried_units, new.retried_pico, new.estimated_units, new.estimated_pico)
    ON CONFLICT DO UPDATE SET
      requests = requests + excluded.requests, failed_requests = failed_requests + excluded.failed_requests,
      retried_requests = retried_requests + excluded.retried_requests,
      estimated_requests = estimated_requests + excluded.estimated_requests,
      unpriced_requests = unpriced_requests + excluded.unpriced_requests,
      own_key_requests = own_key_requests + excluded.own_key_requests,
      input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
      cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
      cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
      reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
      unpriced_tokens = unpriced_tokens + excluded.unpriced_tokens, cost_units = cost_units + excluded.cost_units,
      cost_pico = cost_pico + excluded.cost_pico, failed_units = failed_units + excluded.failed_units,
      failed_pico = failed_pico + excluded.failed_pico, retried_units = retried_units + excluded.retried_units,
      retried_pico = retried_pico + excluded.retried_pico,
      estimated_units = estimated_units + excluded.estimated_units,
      estimated_pico = estimated_pico + excluded.estimated_pico;
  INSERT INTO cost_to_day SELECT day_start, new.tenant, new.currency,
      new.requests, new.failed_requests, new.retried_requests, new.estimated_requests, new.unpriced_requests,
      new.own_key_requests, new.input_tokens, new.output_tokens, new.cache_read_tokens, new.cache_write_tokens,
      new.reasoning_tokens, new.unpriced_tokens, new.cost_units, new.cost_pico, new.failed_units, new.failed_pico,
      new.retried_units, new.retried_pico, new.estimated_units, new.estimated_pico
    FROM rolled_day
    WHERE day_start > new.window_start AND day_start < CAST(strftime('%s', new.window_start / 1000, 'unixepoch', 'start of month', '+1 month') AS INTEGER) * 1000
    ON CONFLICT DO UPDATE SET
      requests = requests + excluded.requests, failed_requests = failed_requests + excluded.failed_requests,
      retried_requests = retried_requests + excluded.retried_requests,
      estimated_requests = estimated_requests + excluded.estimated_requests,
      unpriced_requests = unpriced_requests + excluded.unpriced_requests,
      own_key_requests = own_key_requests + excluded.own_key_requests,
      input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
      cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
      cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
      reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
      unpriced_tokens = unpriced_tokens + excluded.unpriced_tokens, cost_units = cost_units + excluded.cost_units,
      cost_pico = cost_pico + excluded.cost_pico, failed_units = failed_units + excluded.failed_units,
      failed_pico = failed_pico + excluded.failed_pico, retried_units = retried_units + excluded.retried_units,
      retried_pico = retried_pico + excluded.retried_pico,
      estimated_units = estimated_units + excluded.estimated_units,
      estimated_pico = estimated_pico + excluded.estimated_pico;
END;
CREATE TRIGGER rolled_cost_update AFTER UPDATE ON cost WHEN new.window_start < (SELECT through FROM rolled) BEGIN
  INSERT INTO cost_month VALUES (CAST(strftime('%s', new.window_start / 1000, 'unixepoch', 'start of month') AS INTEGER) * 1000, new.tenant, new.currency,
      new.requests - old.requests, new.failed_requests - old.failed_requests,
      new.retried_requests - old.retried_requests, new.estimated_requests - old.estimated_requests,
      new.unpriced_requests - old.unpriced_requests, new.own_key_requests - old.own_key_requests,
      new.input_tokens - old.input_tokens, new.output_tokens - old.output_tokens,
      new.cache_read_tokens - old.cache_read_tokens, new.cache_write_tokens - old.cache_write_tokens,
      new.reasoning_tokens - old.reasoning_tokens, new.unpriced_tokens - old.unpriced_tokens,
      new.cost_units - old.cost_units, new.cost_pico - old.cost_pico, new.failed_units - old.failed_units,
      new.failed_pico - old.failed_pico, new.retried_units - old.retried_units, new.retried_pico - old.retried_pico,
      new.estimated_units - old.estimated_units, new.estimated_pico - old.estimated_pico)
    ON CONFLICT DO UPDATE SET
      requests = requests + excluded.requests, failed_requests = failed_requests + excluded.failed_requests,
      retried_requests = retried_requests + excluded.retried_requests,
      estimated_requests = estimated_requests + excluded.estimated_requests,
      unpriced_requests = unpriced_requests + excluded.unpriced_requests,
      own_key_requests = own_key_requests + excluded.own_key_requests,
      input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
      cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
      cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
      reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
      unpriced_tokens = unpriced_tokens + excluded.unpriced_tokens, cost_units = cost_units + excluded.cost_units,
      cost_pico = cost_pico + excluded.cost_pico, failed_units = failed_units + excluded.failed_units,
      failed_pico = failed_pico + excluded.failed_pico, retried_units = retried_units + excluded.retried_units,
      retried_pico = retried_pico + excluded.retried_pico,
      estimated_units = estimated_units + excluded.estimated_units,
      estimated_pico = estimated_pico + excluded.estimated_pico;
  INSERT INTO cost_to_day SELECT day_start, new.tenant, new.currency,
      new.requests - old.requests, new.failed_requests - old.failed_requests,
      new.retried_requests - old.retried_requests, new.estimated_requests - old.estimated_requests,
      new.unpriced_requests - old.unpriced_requests, new.own_key_requests - old.own_key_requests,
      new.input_tokens - old.input_tokens, new.output_tokens - old.output_tokens,
      new.cache_read_tokens - old.cache_read_tokens, new.cache_write_tokens - old.cache_write_tokens,
      new.reasoning_tokens - old.reasoning_tokens, new.unpriced_tokens - old.unpriced_tokens,
      new.cost_units - old.cost_units, new.cost_pico - old.cost_pico, new.failed_units - old.failed_units,
      new.failed_pico - old.failed_pico, new.retried_units - old.retried_units, new.retried_pico - old.retried_pico,
      new.estimated_units - old.estimated_units, new.estimated_pico - old.estimated_pico
    FROM rolled_day
    WHERE day_start > new.window_start AND day_start < CAST(strftime('%s', new.window_start / 1000, 'unixepoch', 'start of month', '+1 month') AS INTEGER) * 1000
    ON CONFLICT DO UPDATE SET
      requests = requests + excluded.requests, failed_requests = failed_requests + excluded.failed_requests,
      retried_requests = retried_requests + excluded.retried_requests,
      estimated_requests = estimated_requests + excluded.estimated_requests,
      unpriced_requests = unpriced_requests + excluded.unpriced_requests,
      own_key_requests = own_key_requests + excluded.own_key_requests,
      input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
      cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
      cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
      reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
      unpriced_tokens = unpriced_tokens + excluded.unpriced_tokens, cost_units = cost_units + excluded.cost_units,
      cost_pico = cost_pico + excluded.cost_pico, failed_units = failed_units + excluded.failed_units,
      failed_pico = failed_pico + excluded.failed_pico, retried_units = retried_units + excluded.retried_units,
      retried_pico = retried_pico + excluded.retried_pico,
      estimated_units = estimated_units + excluded.estimated_units,
      estimated_pico = estimated_pico + excluded.estimated_pico;
END;
CREATE TRIGGER rolled_cost_delete AFTER DELETE ON cost WHEN old.window_start < (SELECT through FROM rolled) BEGIN
  INSERT INTO cost_month VALUES (CAST(strftime('%s', old.window_start / 1000, 'unixepoch', 'start of month') AS INTEGER) * 1000, old.tenant, old.currency,
      -old.requests, -old.failed_requests, -old.retried_requests, -old.estimated_requests, -old.unpriced_requests,
      -old.own_key_requests, -old.input_tokens, -old.output_tokens, -old.cache_read_tokens, -old.cache_write_tokens,
      -old.reasoning_tokens, -old.unpriced_tokens, -old.cost_units, -old.cost_pico, -old.failed_units,
      -old.failed_pico, -old.retried_units, -old.retried_pico, -old.estimated_units, -old.estimated_pico)
    ON CONFLICT DO UPDATE SET
      requests = requests + excluded.requests, failed_requests = failed_requests + excluded.failed_requests,
      retried_requests = retried_requests + excluded.retried_requests,
      estimated_requests = estimated_requests + excluded.estimated_requests,
      unpriced_requests = unpriced_requests + excluded.unpriced_requests,
      own_key_requests = own_key_requests + excluded.own_key_requests,
      input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
      cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
      cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
      reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
      unpriced_tokens = unpriced_tokens + excluded.unpriced_tokens, cost_units = cost_units + excluded.cost_units,
      cost_pico = cost_pico + excluded.cost_pico, failed_units = failed_units + excluded.failed_units,
      failed_pico = failed_pico + excluded.failed_pico, retried_units = retried_units + excluded.retried_units,
      retried_pico = retried_pico + excluded.retried_pico,
      estimated_units = estimated_units + excluded.estimated_units,
      estimated_pico = estimated_pico + excluded.estimated_pico;
  INSERT INTO cost_to_day SELECT day_start, old.tenant, old.currency,
      -old.requests, -old.failed_requests, -old.retried_requests, -old.estimated_requests, -old.unpriced_requests,
      -old.own_key_requests, -old.input_tokens, -old.output_tokens, -old.cache_read_tokens, -old.cache_write_tokens,
      -old.reasoning_tokens, -old.unpriced_tokens, -old.cost_units, -old.cost_pico, -old.failed_units,
      -old.failed_pico, -old.retried_units, -old.retried_pico, -old.estimated_units, -old.estimated_pico
    FROM rolled_day
    WHERE day_start > old.window_start AND day_start < CAST(strftime('%s', old.window_start / 1000, 'unixepoch', 'start of month', '+1 month') AS INTEGER) * 1000
    ON CONFLICT DO UPDATE SET
      requests = requests + excluded.requests, failed_requests = failed_requests + excluded.failed_requests,
      retried_requests = retried_requests + excluded.retried_requests,
      estimated_requests = estimated_requests + excluded.estimated_requests,
      unpriced_requests = unpriced_requests + excluded.unpriced_requests,
      own_key_requests = own_key_requests + excluded.own_key_requests,
      input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
      cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
      cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
      reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
      unpriced_tokens = unpriced_tokens + excluded.unpriced_tokens, cost_units = cost_units + excluded.cost_units,
      cost_pico = cost_pico + excluded.cost_pico, failed_units = failed_units + excluded.failed_units,
      failed_pico = failed_pico + excluded.failed_pico, retried_units = retried_units + excluded.retried_units,
      retried_pico = retried_pico + excluded.retried_pico,
      estimated_units = estimated_units + excluded.estimated_units,
      estimated_pico = estimated_pico + excluded.estimated_pico;
END;
