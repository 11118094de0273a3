-- When the sums by feature flag begin: a ledger that counted before it kept them has events without any.
CREATE TABLE flag_sums_since(window_start INTEGER NOT NULL) STRICT;
INSERT INTO flag_sums_since
  SELECT coalesce((SELECT min(window_start) FROM flag_sum), (SELECT max(window_start) + 3600000 FROM analysis), 0);
