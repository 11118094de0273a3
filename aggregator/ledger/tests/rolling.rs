//! Sums by month equal the hours that they are made of, whatever changes an hour, whenever it changes.
use proptest::prelude::*;
use tempfile::TempDir;
use weir_contract::Timestamp;
use weir_database::testing::place;
use weir_ledger::SqliteLedger;
use weir_ledger::meters::{Meters, defaults};
use weir_ledger::query::LedgerReader;
use weir_ledger::view::cost::CostQuery;

const HOUR_MS: u64 = 3_600_000;
/// Three days before the end of January in a leap year: months, days and a leap day lie within a few weeks.
const START: &str = "2028-01-29T00:00:00Z";
/// The hours over which usage falls: until after the first of March.
const HOURS: u64 = 34 * 24;

fn start() -> Timestamp {
    Timestamp::parse(START).expect("a time")
}

fn hour(number: u64) -> Timestamp {
    start().plus_millis(number * HOUR_MS)
}

/// Something that happens to the tables.
#[derive(Clone, Debug)]
enum Act {
    /// Usage and cost of a tenant in an hour, and in its second half if the hour is split.
    Count { hour: u64, split: bool, tenant: u8, units: i64 },
    /// The costs of an hour are computed again.
    Reprice { hour: u64, tenant: u8, units: i64 },
    /// Hours until this one are over.
    Roll { hour: u64 },
}

fn any_act() -> impl Strategy<Value = Act> {
    let count = (0..HOURS, any::<bool>(), 0u8..3, 1i64..1_000_000_000)
        .prop_map(|(hour, split, tenant, units)| Act::Count { hour, split, tenant, units });
    let reprice =
        (0..HOURS, 0u8..3, 0i64..1_000).prop_map(|(hour, tenant, units)| Act::Reprice { hour, tenant, units });
    prop_oneof![6 => count, 1 => reprice, 2 => (0..HOURS + 5).prop_map(|hour| Act::Roll { hour })]
}

struct Books {
    dir: TempDir,
    ledger: SqliteLedger,
}

impl Books {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let meters = Meters::new(defaults(), Vec::new()).expect("good meters");
        let ledger = SqliteLedger::open(place(&dir.path().join("ledger.sqlite")), "log", meters).expect("a ledger");
        Books { dir, ledger }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Count { hour: number, split, tenant, units } => {
                let window = hour(number).plus_millis(if split { 1_800_000 } else { 0 });
                self.write(window, tenant, units);
            }
            Act::Reprice { hour: number, tenant, units } => {
                let db = self.ledger.db();
                let key = (hour(number).as_millis(), format!("t{tenant}"));
                let gone =
                    db.execute("DELETE FROM cost WHERE window_start = ?1 AND tenant = ?2", key).expect("removed");
                if gone > 0 {
                    self.write_cost(hour(number), tenant, units);
                }
            }
            Act::Roll { hour: number } => while self.ledger.roll(hour(number)).expect("rolled") {},
        }
    }

    fn write(&mut self, window: Timestamp, tenant: u8, units: i64) {
        let sql = "INSERT INTO usage(window_start, tenant, meter, billable) VALUES (?1, ?2, 'requests', ?3)
                   ON CONFLICT (window_start, tenant, meter) DO UPDATE SET billable = usage.billable + excluded.billable";
        self.ledger.db().execute(sql, (window.as_millis(), format!("t{tenant}"), units)).expect("counted");
        self.write_cost(window, tenant, units);
    }

    fn write_cost(&mut self, window: Timestamp, tenant: u8, units: i64) {
        let pico = units * 999 % 1_000_000_000_000;
        let sql =
            "INSERT INTO cost VALUES (?1, ?2, 'USD', 1, 0, 0, 0, 0, 0, ?3, 2, 0, 0, 0, 0, ?3, ?4, 0, 0, 0, 0, 0, 0)
                   ON CONFLICT (window_start, tenant, currency) DO UPDATE SET requests = cost.requests + 1,
                     input_tokens = cost.input_tokens + ?3, output_tokens = cost.output_tokens + 2,
                     cost_units = cost.cost_units + ?3 + (cost.cost_pico + ?4) / 1000000000000,
                     cost_pico = (cost.cost_pico + ?4) % 1000000000000";
        self.ledger.db().execute(sql, (window.as_millis(), format!("t{tenant}"), units, pico)).expect("costed");
    }

    /// Compares a span with the hours that it consists of.
    fn agree(&mut self, from: Timestamp, to: Timestamp) {
        let mut reader = LedgerReader::open(place(&self.dir.path().join("ledger.sqlite"))).expect("a reader");
        let sql =
            "SELECT tenant, sum(billable) FROM usage WHERE window_start >= ?1 AND window_start < ?2 GROUP BY tenant";
        let db = self.ledger.db();
        let mut select = db.prepare(sql).expect("prepared");
        let rows = select.query_map([from.as_millis(), to.as_millis()], |row| Ok((row.get(0)?, row.get(1)?)));
        let counted: Vec<(String, u64)> = rows.expect("rows").map(|row| row.expect("a row")).collect();
        let units = reader.units(None, &["requests"].into(), from, to).expect("units");
        let mut read: Vec<(String, u64)> = units
            .iter()
            .map(|(tenant, meters)| (tenant.clone(), meters.get("requests")))
            .filter(|row| row.1 > 0)
            .collect();
        read.sort();
        assert_eq!(read, counted, "units from {from} to {to}");
        for (tenant, units) in &counted {
            let own = reader.units(Some(tenant), &["requests"].into(), from, to).expect("units");
            let own: Vec<_> = own.iter().map(|(tenant, meters)| (tenant, meters.get("requests"))).collect();
            assert_eq!(own, [(tenant, *units)], "units of one tenant from {from} to {to}");
        }
        let query = CostQuery { from: Some(from), to: Some(to), ..CostQuery::default() };
        let costs = reader.cost(&query).expect("costs").expect("no dimension");
        assert_eq!(reader.tenant_costs(None, from, to).expect("costs"), costs, "costs from {from} to {to}");
        for row in costs {
            assert_eq!(reader.tenant_costs(Some(&row.tenant), from, to).expect("costs"), [row], "one tenant");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: weir_database::testing::cases(48), ..ProptestConfig::default() })]
    #[test]
    fn spans_of_any_length_equal_their_hours(
        acts in prop::collection::vec(any_act(), 1..60),
        spans in prop::collection::vec((0..HOURS * 2, 1..HOURS * 2), 6),
    ) {
        let mut books = Books::new();
        for (number, act) in acts.iter().enumerate() {
            books.act(act);
            let (from, length) = spans[number % spans.len()];
            let half = |number: u64| start().plus_millis(number * HOUR_MS / 2);
            books.agree(half(from), half(from + length));
        }
        books.agree(start(), hour(HOURS));
        let mut reader = LedgerReader::open(place(&books.dir.path().join("ledger.sqlite"))).expect("a reader");
        let first = "SELECT tenant, min(window_start) FROM usage GROUP BY tenant";
        let mut select = books.ledger.db().prepare(first).expect("prepared");
        let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?))).expect("rows");
        for (tenant, window) in rows.map(|row| row.expect("a row")) {
            let found = reader.first_windows(Some(&tenant)).expect("windows");
            prop_assert_eq!(found.get(&tenant).map(|at| at.as_millis()), Some(window));
        }
    }
}

#[test]
fn an_hour_is_taken_two_hours_after_its_end_and_only_once() {
    let mut books = Books::new();
    assert!(!books.ledger.roll(hour(10)).expect("rolled"), "nothing was counted");
    books.act(&Act::Count { hour: 0, split: false, tenant: 0, units: 7 });
    assert!(!books.ledger.roll(hour(2)).expect("rolled"));
    assert!(books.ledger.roll(hour(3)).expect("rolled"));
    assert!(!books.ledger.roll(hour(3)).expect("rolled"));
    let sum: i64 =
        books.ledger.db().query_row("SELECT billable FROM usage_month", [], |row| row.get(0)).expect("a sum");
    assert_eq!(sum, 7);
}
