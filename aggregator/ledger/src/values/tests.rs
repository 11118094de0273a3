//! Sums by value equal the hours that they are made of, whatever changes an hour, whenever it changes.
use std::collections::BTreeMap;

use proptest::prelude::*;
use tempfile::TempDir;
use weir_contract::{TenantId, Text, Timestamp, Usage, UsageData};
use weir_database::testing::place;

use super::{ValueQuery, rewind};
use crate::SqliteLedger;
use crate::amount::{Currency, Pico};
use crate::analysis::{Analysis, Marks, expire};
use crate::cost::EventCost;
use crate::meters::{Meters, defaults};
use crate::query::LedgerReader;
use crate::roll::DAY_MS;
use weir_contract::time::HOUR_MS;

/// Three days before the end of January in a leap year: months, days and a leap day lie within a few weeks.
const START: &str = "2028-01-29T00:00:00Z";
/// The hours over which usage falls: until after the first of March.
const HOURS: u64 = 34 * 24;

fn hour(number: u64) -> Timestamp {
    Timestamp::parse(START).expect("a time").plus_millis(number * HOUR_MS)
}

/// Something that happens to the tables.
#[derive(Clone, Debug)]
enum Act {
    /// Requests of a tenant and a model in an hour, early or late.
    Count { hour: u64, tenant: u8, model: u8, cost: i64 },
    /// Hours until this one are over.
    Roll { hour: u64 },
    /// Costs from this hour on are computed again: they double.
    Reprice { hour: u64 },
    /// Days before this hour expire.
    Expire { hour: u64 },
}

fn any_act() -> impl Strategy<Value = Act> {
    let count = (0..HOURS, 0u8..3, 0u8..4, 0i64..1_000_000_000_000_000)
        .prop_map(|(hour, tenant, model, cost)| Act::Count { hour, tenant, model, cost });
    prop_oneof![
        8 => count,
        3 => (0..HOURS + 5).prop_map(|hour| Act::Roll { hour }),
        1 => (0..HOURS).prop_map(|hour| Act::Reprice { hour }),
        1 => (0..HOURS / 2).prop_map(|hour| Act::Expire { hour }),
    ]
}

struct Books {
    dir: TempDir,
    ledger: SqliteLedger,
}

/// Requests, input tokens and cost by tenant, model and currency.
type Sums = BTreeMap<(String, String, Option<Currency>), (u64, u64, Pico)>;

impl Books {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let meters = Meters::new(defaults(), Vec::new()).expect("good meters");
        let mut ledger = SqliteLedger::open(place(&dir.path().join("ledger.sqlite")), "log", meters).expect("a ledger");
        // All dimensions are treated alike; one takes a seventh of the time.
        ledger.db().execute("DELETE FROM value_rolled WHERE dimension <> 'model'", []).expect("one dimension");
        Books { dir, ledger }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Count { hour: number, tenant, model, cost } => self.count(hour(number), tenant, model, cost),
            Act::Roll { hour: number } => while self.ledger.roll(hour(number)).expect("rolled") {},
            Act::Reprice { hour: number } => {
                let tx = self.ledger.db.transaction().expect("a transaction");
                let sql = "UPDATE analysis SET cost_units = cost_units * 2 WHERE window_start >= ?1";
                tx.execute(sql, [hour(number).as_millis()]).expect("repriced");
                rewind(&tx, hour(number)).expect("taken back");
                tx.commit().expect("committed");
            }
            Act::Expire { hour: number } => {
                let tx = self.ledger.db.transaction().expect("a transaction");
                expire(&tx, hour(number)).expect("expired");
                tx.commit().expect("committed");
            }
        }
    }

    fn count(&mut self, window: Timestamp, tenant: u8, model: u8, cost: i64) {
        let model = format!("model-{model}");
        let usage = Usage { input_tokens: Some(10), ..Usage::default() };
        let data = UsageData { response_model: Some(Text::from(model.as_str())), usage, ..UsageData::default() };
        let currency = (cost % 7 > 0).then_some(Currency::USD);
        let cost = EventCost { currency, cost: Pico(cost.into()), ..EventCost::default() };
        let tenant = TenantId::new(&format!("t{tenant}")).expect("an id");
        let mut analysis = Analysis::default();
        analysis.add(&tenant, window, &data, (Some(cost), Marks::default()));
        let tx = self.ledger.db.transaction().expect("a transaction");
        analysis.write(&tx).expect("written");
        tx.commit().expect("committed");
    }

    fn reader(&self) -> LedgerReader {
        LedgerReader::open(place(&self.dir.path().join("ledger.sqlite"))).expect("a reader")
    }

    /// What the reader says of a span.
    fn read(&self, tenant: Option<&str>, by: &[&str], from: Timestamp, to: Timestamp) -> Sums {
        let (query, mut sums) = (ValueQuery { tenant, by, from, to, by_tenant: true }, Sums::new());
        let mut last = String::new();
        self.reader()
            .value_costs(&query, &mut |tenant, costs| {
                assert!(*last < *tenant, "tenants come in order, each once");
                tenant.clone_into(&mut last);
                for cost in costs {
                    let model = cost.values().next().unwrap_or_default().to_owned();
                    let of = (cost.sums.requests, cost.sums.input_tokens, cost.sums.cost);
                    assert_eq!(sums.insert((tenant.to_owned(), model, cost.currency), of), None);
                }
            })
            .expect("read");
        sums
    }

    /// Compares a span with the hours that it consists of.
    fn agree(&self, from: Timestamp, to: Timestamp) {
        // By two dimensions the hours themselves are read; all requests here are of one class.
        let hours = self.read(None, &["model", "class"], from, to);
        assert_eq!(self.read(None, &["model"], from, to), hours, "from {from} to {to}");
        let of_one: Sums = hours.into_iter().filter(|((tenant, ..), _)| tenant == "t1").collect();
        assert_eq!(self.read(Some("t1"), &["model"], from, to), of_one, "one tenant from {from} to {to}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: weir_database::testing::cases(24), ..ProptestConfig::default() })]
    #[test]
    fn spans_of_any_length_equal_their_hours(
        acts in prop::collection::vec(any_act(), 1..40),
        spans in prop::collection::vec((0..HOURS * 2, 1..HOURS * 2), 6),
    ) {
        let mut books = Books::new();
        for (number, act) in acts.iter().enumerate() {
            books.act(act);
            let (from, length) = spans[number % spans.len()];
            let half = |number: u64| hour(0).plus_millis(number * HOUR_MS / 2);
            books.agree(half(from), half(from + length));
        }
        books.agree(hour(0), hour(HOURS));
        let since = books.reader().values_since().expect("a moment");
        prop_assert!(since.as_millis().is_multiple_of(DAY_MS));
    }
}

#[test]
fn a_late_request_and_a_repricing_are_seen_at_once() {
    let mut books = Books::new();
    let cost = |books: &Books| {
        let sums = books.read(None, &["model"], hour(0), hour(HOURS));
        sums.values().map(|(requests, _, cost)| (*requests, cost.to_string())).collect::<Vec<_>>()
    };
    books.act(&Act::Count { hour: 5, tenant: 1, model: 1, cost: 1_000_000_000_000 });
    books.act(&Act::Roll { hour: 30 * 24 });
    assert_eq!(cost(&books), [(1, "1".to_owned())]);
    books.act(&Act::Count { hour: 5, tenant: 1, model: 1, cost: 2_000_000_000_001 });
    assert_eq!(cost(&books), [(2, "3.000000000001".to_owned())]);
    books.act(&Act::Reprice { hour: 0 });
    assert_eq!(cost(&books), [(2, "6.000000000001".to_owned())], "before the sums are made anew");
    books.act(&Act::Roll { hour: 30 * 24 });
    assert_eq!(cost(&books), [(2, "6.000000000001".to_owned())], "and after");
}

#[test]
fn a_span_is_read_from_sums_and_not_from_hours() {
    let mut books = Books::new();
    for number in 0..40 * 24 {
        books.act(&Act::Count { hour: number, tenant: 1, model: 1, cost: 1 });
    }
    books.act(&Act::Roll { hour: 41 * 24 });
    let tables = books.ledger.db();
    tables.execute("DELETE FROM analysis", []).expect("emptied");
    let sums = books.read(None, &["model"], hour(24), hour(38 * 24));
    assert_eq!(sums.values().next().map(|sums| sums.0), Some(37 * 24));
}
