//! Sums by model: twelve of each tenant, in every month, up to every day, and in the hours that are not in the sums yet.
use std::path::Path;

use weir_contract::Timestamp;
use weir_ledger::SqliteLedger;
use weir_ledger::meters::{self, Meters};

use crate::sums::{Span, TENANTS};

pub(crate) const MODELS: u64 = 12;
const HOUR_MS: u64 = 3_600_000;

/// Fills one hour as counting would, has the ledger take it into the sums, and gives every month and day the same sums.
pub(crate) fn fill(path: &Path, span: &Span) {
    let meters = Meters::new(meters::defaults(), Vec::new()).expect("good");
    let mut ledger = SqliteLedger::open(path, &span.log, meters).expect("a ledger");
    let settled = Timestamp::from_millis(span.now.hour().as_millis() - 3 * HOUR_MS);
    ledger.db().execute("DELETE FROM value_rolled WHERE dimension <> 'model'", []).expect("one dimension");
    insert(&mut ledger, settled);
    while ledger.roll(span.now).expect("rolled") {}
    let copy = "
        INSERT INTO value_month SELECT 'model', m.month_start, v.tenant, v.sums FROM value_month v,
            (SELECT DISTINCT month_start FROM cost_month) m WHERE true ON CONFLICT DO NOTHING;
        INSERT INTO value_to_day SELECT 'model', d.day_start, v.tenant, v.sums FROM rolled_day d,
            value_month v WHERE v.month_start = (SELECT max(month_start) FROM value_month) ON CONFLICT DO NOTHING;
        INSERT INTO value_day SELECT 'model', day_start FROM rolled_day WHERE true ON CONFLICT DO NOTHING;
        ANALYZE;";
    ledger.db().execute_batch(copy).expect("copied");
    for hours in 1..3 {
        insert(&mut ledger, settled.plus_millis(hours * HOUR_MS));
    }
}

fn insert(ledger: &mut SqliteLedger, hour: Timestamp) {
    let sql = format!(
        "INSERT INTO analysis(window_start, tenant, model, class, route, feature, prompt_version, environment, credential, plan,
           provider, tier, input_over, marks, unpriced, currency, requests, input_tokens, output_tokens, cache_read_tokens,
           reasoning_tokens, cost_units, cost_pico)
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {} - 1),
                        m(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM m WHERE k < {MODELS} - 1)
         SELECT {}, printf('tenant-%04d', i), printf('provider-model-2026-%02d', k), 'chat', 'api', '', '', '', 'key-1', 'pro',
           'openai', '', 0, 0, 0, 'USD', 40000 + i, 36000000 + i, 8000000 + k, 1000000, 0, 130 + k, 123456789012 + i FROM n, m",
        TENANTS,
        hour.as_millis()
    );
    ledger.db().execute(&sql, []).expect("filled");
}
