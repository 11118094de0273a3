//! Sums by feature flag equal a recount of the events that saw each value, before and after pricing again.
use std::collections::BTreeMap;
use std::sync::Arc;

use tempfile::TempDir;
use weir_contract::{
    Event, EventId, Outcome, Payload, Sequence, SourceId, TenantId, Timestamp, Usage, UsageData, UsageStatus,
};
use weir_database::testing::{cases, on_postgres, place};
use weir_event_log::{LogError, LogReader, Position, Record};
use weir_ledger::SqliteLedger;
use weir_ledger::amount::{Currency, Pico};
use weir_ledger::cost::{EventCost, Kind, Prices, Pricing, Quantities, Rules, Tariff, quantities};
use weir_ledger::flags::{FlagQuery, FlagsFound};
use weir_ledger::meters::{self, Meters};
use weir_ledger::query::LedgerReader;
use weir_ledger::rebuild::rebuild;
use weir_ledger::reprice::Request;
use weir_ledger::validate::Format;
use weir_seeded::SplitMix64;

const NOON: Timestamp = Timestamp::from_millis(1_795_262_400_000);
const HOUR_MS: u64 = 3_600_000;
const MODELS: [&str; 3] = ["small", "large", "free"];

/// A price per input token, in trillionths: tenfold for the large model, none for the free one.
#[derive(Debug)]
struct Price(String);

impl Price {
    fn of(&self, model: &str) -> Option<i128> {
        let price: i128 = self.0.parse().expect("a number");
        match model {
            "small" => Some(price),
            "large" => Some(10 * price),
            _ => None,
        }
    }
}

impl Pricing for Price {
    fn cost(&self, time: Timestamp, data: &UsageData<'_>) -> EventCost {
        let model = data.response_model.as_deref().unwrap_or_default();
        self.cost_of(time, "", model, &Tariff::of(data), &quantities(data))
    }

    fn cost_of(&self, _: Timestamp, _: &str, model: &str, tariff: &Tariff, sums: &Quantities) -> EventCost {
        let mut cost = EventCost { quantities: *sums, tariff: tariff.clone(), ..EventCost::default() };
        match self.of(model) {
            Some(price) => {
                cost.currency = Some(Currency::USD);
                cost.cost = Pico(price * i128::from(sums.get(Kind::Input)));
            }
            None => cost.unpriced.insert(Kind::Input),
        }
        cost
    }

    fn text(&self) -> &str {
        &self.0
    }
}

fn prices(price: &str) -> Prices {
    Prices { book: Some(Arc::new(Price(price.to_owned()))), read: |text| Ok(Arc::new(Price(text.to_owned()))) }
}

/// A request, as a recount needs it.
#[derive(Clone, Debug)]
struct Asked {
    tenant: &'static str,
    hour: u64,
    model: &'static str,
    tokens: u64,
    failed: bool,
    key: Option<u64>,
    claude: Option<bool>,
    tone: Option<&'static str>,
}

impl Asked {
    fn random(random: &mut SplitMix64) -> Self {
        let sees = random.percent(70);
        Asked {
            tenant: ["acme", "globex", "initech"][random.index(3)],
            hour: random.below(30),
            model: MODELS[random.index(3)],
            tokens: random.below(1_000),
            failed: random.percent(20),
            key: random.percent(30).then(|| random.below(40)),
            claude: (sees && random.percent(80)).then(|| random.percent(25)),
            tone: (sees && random.percent(50)).then(|| ["long", "short, and dry"][random.index(2)]),
        }
    }

    fn flags(&self) -> Option<String> {
        let tone = self.tone.map(|tone| format!("tone=\"{tone}\""));
        let claude = self.claude.map(|on| if on { "use-claude".to_owned() } else { "use-claude=?0".to_owned() });
        let members: Vec<String> = tone.into_iter().chain(claude).collect();
        (!members.is_empty()).then(|| members.join(", "))
    }

    /// The value of a flag that it saw; empty for none.
    fn saw(&self, flag: &str) -> String {
        match flag {
            "tone" => self.tone.unwrap_or_default().to_owned(),
            _ => self.claude.map(|on| on.to_string()).unwrap_or_default(),
        }
    }

    fn json(&self, number: u64) -> String {
        let source = SourceId::new("gw-1", [7; 16]).expect("a source");
        let usage = Usage { status: UsageStatus::Complete, input_tokens: Some(self.tokens), ..Usage::default() };
        let data = UsageData {
            request_id: "r".into(),
            plan: "starter".into(),
            response_model: Some(self.model.into()),
            status: if self.failed { 500 } else { 200 },
            outcome: if self.failed { Outcome::UpstreamError } else { Outcome::Ok },
            idempotency_key_hash: self.key.map(|key| format!("hmac-{key}").into()),
            flags: self.flags().map(Into::into),
            config_version: "c".into(),
            usage,
            ..UsageData::default()
        };
        let event = Event {
            id: EventId::derive(NOON, &source, Sequence(number)),
            source,
            sequence: Some(Sequence(number)),
            subject: TenantId::new(self.tenant).ok(),
            time: at(self.hour),
            payload: Payload::Usage(Box::new(data)),
        };
        let mut out = Vec::new();
        event.write(&mut out).expect("written");
        String::from_utf8(out).expect("text")
    }
}

fn at(hour: u64) -> Timestamp {
    NOON.plus_millis(hour * HOUR_MS)
}

/// Requests, failed and retried ones, input tokens, and cost, by tenant, value and whether anything has a price.
type Sums = BTreeMap<(String, String, bool), (u64, u64, u64, u64, i128)>;

struct Books {
    dir: TempDir,
    ledger: SqliteLedger,
    asked: Vec<Asked>,
    records: Vec<Record>,
}

/// The records of a log.
struct Log(Vec<Record>);

impl LogReader for Log {
    fn read_after(&mut self, after: Position, _: usize) -> Result<Vec<Record>, LogError> {
        Ok(self.0.iter().filter(|record| record.position > after).cloned().collect())
    }

    fn get(&mut self, position: Position) -> Result<Option<Record>, LogError> {
        Ok(self.0.iter().find(|record| record.position == position).cloned())
    }

    fn before(&mut self, moment: Timestamp) -> Result<Position, LogError> {
        let earlier = self.0.iter().rev().find(|record| record.received_at < moment);
        Ok(earlier.map_or(0, |record| record.position))
    }
}

impl Books {
    fn new(price: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
        let mut ledger =
            SqliteLedger::open(place(&dir.path().join("ledger.sqlite")), "a log", meters).expect("a ledger");
        ledger.set_prices(prices(price), NOON).expect("set");
        Books { dir, ledger, asked: Vec::new(), records: Vec::new() }
    }

    fn count(&mut self, asked: Vec<Asked>) {
        let first = self.asked.len() as u64 + 1;
        let events: Vec<String> = asked.iter().zip(first..).map(|(asked, number)| asked.json(number)).collect();
        let position = self.ledger.position() + 1;
        let record = Record {
            position,
            follows: position - 1,
            received_at: at(30),
            format: Format::Batch,
            gateway: None,
            forgotten_before: 0,
            body: format!("[{}]", events.join(",")).into_bytes(),
        };
        self.records.push(record.clone());
        assert_eq!(self.ledger.apply(&[record]).expect("applied").counted, asked.len() as u64);
        self.asked.extend(asked);
    }

    /// The tables in which a recount of the log differs.
    fn differing(&self) -> Vec<(&'static str, u64, u64)> {
        let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
        let rules = Rules { meters, prices: Some(Prices { book: None, ..prices("1") }) };
        let (dir, living) = (tempfile::tempdir().expect("a directory"), self.dir.path().join("ledger.sqlite"));
        let (new, mut log) = (dir.path().join("rebuilt.sqlite"), Log(self.records.clone()));
        let mut rebuilt = rebuild(&new, &living, &mut log, rules, at(30), |_| ()).expect("counted again");
        let differences = rebuilt.compare(&living).expect("compared").into_iter();
        differences.map(|of| (of.table, of.only_living, of.only_rebuilt)).collect()
    }

    fn falsify(&self, sql: &str) {
        let db = weir_database::Connection::open(place(&self.dir.path().join("ledger.sqlite"))).expect("a database");
        db.execute(sql, []).expect("changed");
    }

    fn since(&self) -> Timestamp {
        let reader = LedgerReader::open(place(&self.dir.path().join("ledger.sqlite"))).expect("a reader");
        reader.flags_since().expect("a moment")
    }

    fn read(&self, flag: &str, tenant: Option<&str>, (from, to): (u64, u64)) -> (Sums, FlagsFound) {
        let mut reader = LedgerReader::open(place(&self.dir.path().join("ledger.sqlite"))).expect("a reader");
        let (query, mut sums) = (FlagQuery { flag, tenant, from: at(from), to: at(to) }, Sums::new());
        let found = reader.flag_costs(&query, &mut |tenant, costs| {
            for cost in costs {
                let of = &cost.sums;
                let row = (of.requests, of.failed_requests, of.retried_requests, of.input_tokens, of.cost.0);
                assert_eq!(sums.insert((tenant.to_owned(), cost.value, cost.currency.is_some()), row), None);
            }
        });
        (sums, found.expect("read"))
    }

    /// What the events say, one by one.
    fn recount(&self, price: &str, flag: &str, tenant: Option<&str>, (from, to): (u64, u64)) -> Sums {
        let (price, mut sums, mut keys) = (Price(price.to_owned()), Sums::new(), Vec::new());
        for asked in &self.asked {
            let key = asked.key.map(|key| (asked.tenant, key));
            let retried = key.is_some_and(|key| keys.contains(&key));
            keys.extend(key);
            if !(from..to).contains(&asked.hour) || tenant.is_some_and(|tenant| tenant != asked.tenant) {
                continue;
            }
            let of = price.of(asked.model);
            let row = sums.entry((asked.tenant.to_owned(), asked.saw(flag), of.is_some())).or_default();
            row.0 += 1;
            row.1 += u64::from(asked.failed);
            row.2 += u64::from(retried);
            row.3 += asked.tokens;
            row.4 += of.unwrap_or(0) * i128::from(asked.tokens);
        }
        sums
    }

    fn agree(&self, price: &str) {
        for flag in ["use-claude", "tone"] {
            for span in [(0, 30), (3, 4), (5, 29)] {
                for tenant in [None, Some("globex")] {
                    let expected = self.recount(price, flag, tenant, span);
                    assert_eq!(self.read(flag, tenant, span).0, expected, "{flag} {span:?} {tenant:?}");
                }
            }
        }
    }
}

#[test]
fn sums_by_flag_equal_a_recount_of_the_events_and_are_priced_again_with_the_others() {
    for seed in 0..u64::from(cases(8)) {
        let (mut random, mut books) = (SplitMix64::new(seed), Books::new("1000000007"));
        for _ in 0..6 {
            books.count((0..50).map(|_| Asked::random(&mut random)).collect());
            books.agree("1000000007");
        }
        books.ledger.set_prices(prices("2000000011"), at(30)).expect("set");
        let request = Request { from: at(0), who: "ann".to_owned(), why: "wrong".to_owned(), dry_run: true };
        books.ledger.reprice(at(30), &request).expect("asked").expect("looked at");
        books.agree("1000000007");
        books.ledger.reprice(at(30), &Request { dry_run: false, ..request }).expect("asked").expect("priced");
        books.agree("2000000011");
        if !on_postgres() {
            assert_eq!(books.differing(), [], "the log says the same");
        }
    }
}

#[test]
fn a_falsified_sum_is_found_by_counting_the_log_again() {
    if on_postgres() {
        return;
    }
    let (mut random, mut books) = (SplitMix64::new(9), Books::new("1000000007"));
    books.count((0..50).map(|_| Asked::random(&mut random)).collect());
    assert_eq!(books.differing(), []);
    books.falsify("UPDATE flag_sum SET requests = requests + 1 WHERE flag = 'tone'");
    let [(table, only_living, only_rebuilt)] = books.differing()[..] else { panic!("one table differs") };
    assert!(table == "flag_sum" && only_living > 0 && only_living == only_rebuilt);
}

#[test]
fn a_ledger_of_before_knows_since_when_it_keeps_these_sums() {
    if on_postgres() {
        return;
    }
    let mut books = Books::new("1000000");
    assert_eq!(books.since(), Timestamp::default(), "a new one always kept them");
    let asked = |hour, claude| Asked { hour, claude, tone: None, ..Asked::random(&mut SplitMix64::new(3)) };
    books.count(vec![asked(4, None), asked(7, None)]);
    // What later migrations have added goes first.
    let as_before = "DROP INDEX budget_raise_over; DROP TABLE notice_failing; \
        DROP INDEX notice_seq; DROP INDEX notice_order; DROP INDEX budget_transition_held; \
        ALTER TABLE notice DROP COLUMN topic; ALTER TABLE notice DROP COLUMN seq; ALTER TABLE alert DROP COLUMN deploy; \
        ALTER TABLE alert_silence DROP COLUMN budget; ALTER TABLE alert_silence DROP COLUMN tenant; \
        ALTER TABLE budget_transition DROP COLUMN cause; ALTER TABLE budget_transition DROP COLUMN why; \
        ALTER TABLE budget_raise DROP COLUMN over_noted; ALTER TABLE budget_stage DROP COLUMN over_noted; \
        DROP TABLE flag_sums_since; DROP TABLE deploy; DROP TABLE budget_known; PRAGMA user_version = 21";
    let before = |books: &Books| {
        let db = weir_database::Connection::open(place(&books.dir.path().join("ledger.sqlite"))).expect("a database");
        db.execute_batch(as_before).expect("as it was");
    };
    let reopened = |books: Books| {
        let Books { dir, ledger, asked, records } = books;
        drop(ledger);
        let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
        let mut ledger =
            SqliteLedger::open(place(&dir.path().join("ledger.sqlite")), "a log", meters).expect("a ledger");
        ledger.set_prices(prices("1000000"), NOON).expect("set");
        Books { dir, ledger, asked, records }
    };
    before(&books);
    let mut books = reopened(books);
    assert_eq!(books.since(), at(8).hour(), "the hour after those that it counted without them");
    books.count(vec![asked(9, Some(true))]);
    before(&books);
    let books = reopened(books);
    assert_eq!(books.since(), at(9).hour(), "the first hour that has one");
    assert_eq!(books.differing(), []);
}

#[test]
fn more_flags_than_are_kept_apart_count_as_none_and_the_answer_says_so() {
    let mut books = Books::new("1000000");
    let asked = Asked {
        tenant: "acme",
        hour: 0,
        model: "small",
        tokens: 10,
        failed: false,
        key: None,
        claude: None,
        tone: None,
    };
    let texts: Vec<&'static str> =
        (0..1_200).map(|number| &*Box::leak(format!("v{number}").into_boxed_str())).collect();
    for texts in texts.chunks(100) {
        books.count(texts.iter().map(|text| Asked { tone: Some(text), ..asked.clone() }).collect());
    }
    let (sums, found) = books.read("tone", None, (0, 1));
    assert_eq!(found, FlagsFound { seen: true, folded: true });
    assert_eq!(sums.len(), 1_001);
    assert_eq!(sums[&("acme".to_owned(), String::new(), true)], (200, 0, 0, 2_000, 2_000 * 1_000_000));
    books.ledger.set_prices(prices("3000000"), at(30)).expect("set");
    let request = Request { from: at(0), who: "ann".to_owned(), why: "wrong".to_owned(), dry_run: false };
    books.ledger.reprice(at(30), &request).expect("asked").expect("priced");
    let (sums, _) = books.read("tone", None, (0, 1));
    assert_eq!(
        sums[&("acme".to_owned(), String::new(), true)].4,
        2_000 * 3_000_000,
        "what is not kept apart is priced, too"
    );
    assert_eq!(sums[&("acme".to_owned(), "v7".to_owned(), true)].4, 10 * 3_000_000);
}

#[test]
fn a_flag_that_nobody_saw_leaves_everything_under_none_and_old_days_expire() {
    let mut books = Books::new("1000000");
    books.count(vec![Asked::random(&mut SplitMix64::new(1))]);
    let (sums, found) = books.read("other", None, (0, 30));
    assert_eq!(
        (sums.keys().map(|(_, value, _)| value.as_str()).collect::<Vec<_>>(), found),
        (vec![""], FlagsFound::default())
    );
    let rows = |books: &Books| -> u64 {
        let db = weir_database::Connection::open(place(&books.dir.path().join("ledger.sqlite"))).expect("a database");
        db.query_row("SELECT count(*) FROM flag_sum", [], |row| row.get(0)).expect("a number")
    };
    books.count(vec![Asked { claude: Some(true), ..Asked::random(&mut SplitMix64::new(2)) }]);
    assert!(rows(&books) > 0);
    let position = books.ledger.position() + 1;
    let later = Record {
        position,
        follows: position - 1,
        received_at: at(30 + 92 * 24),
        format: Format::Batch,
        gateway: None,
        forgotten_before: 0,
        body: b"[]".to_vec(),
    };
    books.ledger.apply(&[later]).expect("applied");
    assert_eq!(rows(&books), 0);
}
