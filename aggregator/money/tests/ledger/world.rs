//! A ledger that follows a log in memory.
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use weir_contract::{
    Event, EventId, Outcome, Payload, Sequence, SourceId, TenantId, Timestamp, Usage, UsageData, UsageStatus,
};
use weir_event_log::{LogError, LogReader, Position, Record};
use weir_ledger::SqliteLedger;
use weir_ledger::cost::{Prices, Pricing, Rules};
use weir_ledger::meters::{self, Meters};
use weir_ledger::query::LedgerReader;
use weir_ledger::rebuild::rebuild;
use weir_ledger::reprice::{RepriceError, Request};
use weir_ledger::validate::Format;
use weir_ledger::view::cost::{CostQuery, CostRow, PricedQuery, PricedRow, RepriceView, RepricingView};
use weir_money::cost::read_book;
use weir_money::prices::{Book, Layer, file};

/// Milliseconds of an hour.
pub(crate) const HOUR: u64 = 3_600_000;
/// The first hour of events.
const START: Timestamp = Timestamp::from_millis(1_795_262_400_000);
/// The hour of receipt of every record, after all events.
const RECEIVED: Timestamp = Timestamp::from_millis(1_795_262_400_000 + 48 * 3_600_000);

/// The book of a file of entries.
pub(crate) fn book(yaml: &str) -> Arc<Book> {
    let entries = file::parse(std::path::Path::new("prices.yaml"), yaml).expect("prices").entries;
    Arc::new(Book::new(vec![Layer { name: "prices.yaml".to_owned(), entries }]).expect("a book"))
}

/// What a request used.
#[derive(Clone, Debug)]
pub(crate) struct Used {
    pub(crate) tenant: &'static str,
    pub(crate) model: &'static str,
    pub(crate) plan: &'static str,
    /// Hours after the first one.
    pub(crate) hour: u64,
    /// Milliseconds ahead of the clock of receipt instead.
    pub(crate) ahead_ms: u64,
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
    pub(crate) status: UsageStatus,
    pub(crate) outcome: Outcome,
    pub(crate) key: Option<String>,
}

impl Default for Used {
    fn default() -> Self {
        Used {
            tenant: "acme",
            model: "m1",
            plan: "starter",
            hour: 0,
            ahead_ms: 0,
            input: 0,
            cached: 0,
            output: 0,
            status: UsageStatus::Complete,
            outcome: Outcome::Ok,
            key: None,
        }
    }
}

impl Used {
    fn json(&self, number: u64) -> String {
        let source = SourceId::new("gw-1", [7; 16]).expect("a source");
        let ahead = RECEIVED.plus_millis(self.ahead_ms);
        let time = if self.ahead_ms > 0 { ahead } else { START.plus_millis(self.hour * HOUR + number % HOUR) };
        let data = UsageData {
            request_id: "r".into(),
            plan: self.plan.into(),
            provider: Some("openai".into()),
            response_model: Some(self.model.into()),
            status: 200,
            outcome: self.outcome,
            config_version: "c".into(),
            idempotency_key_hash: self.key.clone().map(Into::into),
            usage: Usage {
                status: self.status,
                input_tokens: Some(self.input),
                output_tokens: Some(self.output),
                cache_read_tokens: Some(self.cached),
                ..Usage::default()
            },
            ..UsageData::default()
        };
        let event = Event {
            id: EventId::derive(time, &source, Sequence(number)),
            source,
            sequence: Some(Sequence(number)),
            subject: TenantId::new(self.tenant).ok(),
            time,
            payload: Payload::Usage(Box::new(data)),
        };
        let mut out = Vec::new();
        event.write(&mut out).expect("written");
        String::from_utf8(out).expect("text")
    }
}

/// Records in memory.
struct Log(Vec<Record>);

impl LogReader for Log {
    fn read_after(&mut self, after: Position, _: usize) -> Result<Vec<Record>, LogError> {
        // One by one: other transactions than those of the living ledger.
        Ok(self.0.iter().filter(|record| record.position > after).take(1).cloned().collect())
    }

    fn before(&mut self, moment: Timestamp) -> Result<Position, LogError> {
        let earlier = self.0.iter().filter(|record| record.received_at < moment);
        Ok(earlier.map(|record| record.position).max().unwrap_or(0))
    }

    fn get(&mut self, position: Position) -> Result<Option<Record>, LogError> {
        Ok(self.0.iter().find(|record| record.position == position).cloned())
    }
}

pub(crate) struct World {
    _dir: tempfile::TempDir,
    path: PathBuf,
    ledger: SqliteLedger,
    records: Vec<Record>,
    events: u64,
    now: Timestamp,
}

fn meters() -> Meters {
    Meters::new(meters::defaults(), Vec::new()).expect("good meters")
}

fn prices(book: Option<Arc<Book>>) -> Prices {
    Prices { book: book.map(|book| book as Arc<dyn Pricing>), read: read_book }
}

impl World {
    pub(crate) fn new(book: Option<Arc<Book>>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.sqlite");
        let mut ledger = SqliteLedger::open(&path, "a log", meters()).expect("a ledger");
        ledger.set_prices(prices(book), RECEIVED).expect("set");
        World { _dir: dir, path, ledger, records: Vec::new(), events: 0, now: RECEIVED }
    }

    /// Counts events of one record.
    pub(crate) fn take(&mut self, events: &[Used]) {
        let position = self.records.len() as u64 + 1;
        let json: Vec<String> = events.iter().zip(self.events + 1..).map(|(used, number)| used.json(number)).collect();
        self.events += events.len() as u64;
        let record = Record {
            position,
            follows: position - 1,
            received_at: RECEIVED,
            format: Format::Batch,
            gateway: None,
            forgotten_before: 0,
            body: format!("[{}]", json.join(",")).into_bytes(),
        };
        self.ledger.apply(std::slice::from_ref(&record)).expect("applied");
        self.records.push(record);
    }

    /// Puts a book in use, as a new process would.
    pub(crate) fn set(&mut self, book: Option<Arc<Book>>) {
        self.ledger = SqliteLedger::open(&self.path, "a log", meters()).expect("a ledger");
        self.ledger.set_prices(prices(book), RECEIVED).expect("set");
    }

    /// Counts the early events that are due after some time.
    pub(crate) fn release(&mut self, after_ms: u64) {
        self.now = RECEIVED.plus_millis(after_ms);
        self.ledger.release_early(self.now).expect("released");
    }

    pub(crate) fn reprice(&mut self, hour: u64, dry_run: bool) -> Result<RepriceView, RepriceError> {
        let from = START.plus_millis(hour * HOUR);
        let request = Request { from, who: "a test".to_owned(), why: "a slip".to_owned(), dry_run };
        self.ledger.reprice(RECEIVED, &request).expect("the ledger works")
    }

    /// Drops books that gave way to others up to some time after the records were received.
    pub(crate) fn drop_books(&mut self, after_ms: u64) -> usize {
        self.ledger.drop_old_books(RECEIVED.plus_millis(after_ms)).expect("dropped")
    }

    fn reader(&self) -> LedgerReader {
        LedgerReader::open(&self.path).expect("a reader")
    }

    pub(crate) fn cost(&self, query: &CostQuery) -> Vec<CostRow> {
        self.reader().cost(query).expect("read").expect("known dimensions")
    }

    pub(crate) fn priced(&self, query: &PricedQuery) -> Vec<PricedRow> {
        self.reader().priced(query).expect("read").expect("within the bound")
    }

    /// Who answered for models within hours.
    pub(crate) fn providers_of(
        &self,
        models: &[&str],
        hours: std::ops::Range<u64>,
    ) -> BTreeMap<String, BTreeSet<String>> {
        let models = models.iter().map(|model| (*model).to_owned()).collect();
        let at = |hour: u64| START.plus_millis(hour * HOUR);
        self.reader().providers_of(&models, at(hours.start), at(hours.end)).expect("read")
    }

    pub(crate) fn repricings(&self) -> Vec<RepricingView> {
        self.reader().repricings().expect("read")
    }

    pub(crate) fn unpriced(&self) -> Vec<(String, u64)> {
        self.reader().totals().expect("read").unpriced.into_iter().collect()
    }

    /// The cost of all requests of a tenant that have a price.
    pub(crate) fn total(&self, tenant: &str) -> String {
        let rows = self.cost(&CostQuery { tenant: Some(tenant.to_owned()), ..CostQuery::default() });
        rows.iter().map(|row| row.sums.cost).sum::<weir_money::amount::Pico>().to_string()
    }

    /// Counts the log again, and expects the same sums.
    pub(crate) fn check_rebuilt(&mut self) {
        let dir = tempfile::tempdir().expect("a directory");
        let rules = Rules { meters: meters(), prices: Some(prices(None)) };
        let mut log = Log(self.records.clone());
        let path = dir.path().join("rebuilt.sqlite");
        let mut rebuilt = rebuild(&path, &self.path, &mut log, rules, self.now, |_| ()).expect("counted again");
        assert_eq!(rebuilt.compare(&self.path).expect("compared"), []);
    }
}
