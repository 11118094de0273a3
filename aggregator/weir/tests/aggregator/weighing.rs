//! Weights are exact: fractions are carried until they make a whole unit, and never rounded off.
use tempfile::TempDir;
use weir::config::Config;
use weir_contract::{Timestamp, UsageData};
use weir_event_log::Record;
use weir_ledger::SqliteLedger;
use weir_ledger::meters::Meters;
use weir_ledger::query::LedgerReader;
use weir_ledger::validate::Format;
use weir_ledger::view::{LedgerView, MeterView, UsageQuery};

use super::events::{Worker, batch, noon};

/// A tenth of cached tokens, and credits by model.
const METERS: &str = "
meters:
- {name: cached, sum: cache_read_tokens, weight: 0.1}
- name: credits
  sum: output_tokens
  weights: {response_model: {large: '2.5', small: '0.000000001'}, otherwise: 1}
";

fn meters(yaml: &str) -> Result<Meters, String> {
    Config::parse(std::path::Path::new("weir.yaml"), yaml).map(|config| config.meters).map_err(|e| e.to_string())
}

struct Books {
    dir: TempDir,
    ledger: SqliteLedger,
}

impl Books {
    fn new(yaml: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let ledger = SqliteLedger::open(&dir.path().join("ledger.sqlite"), "log", meters(yaml).expect("good meters"));
        Books { dir, ledger: ledger.expect("a ledger") }
    }

    fn record(position: u64, events: &[Vec<u8>]) -> Record {
        Record {
            position,
            follows: position - 1,
            received_at: noon(),
            format: Format::Batch,
            gateway: None,
            forgotten_before: 0,
            body: batch(events),
        }
    }

    fn take(&mut self, events: &[Vec<u8>]) {
        let record = Self::record(self.ledger.position() + 1, events);
        self.ledger.apply(&[record]).expect("applied");
    }

    fn reader(&self) -> LedgerReader {
        LedgerReader::open(&self.dir.path().join("ledger.sqlite")).expect("a reader")
    }

    fn view(&self) -> LedgerView {
        self.reader().ledger().expect("a view")
    }

    fn meter(&self, name: &str) -> MeterView {
        self.view().meters.into_iter().find(|meter| meter.meter == name).expect("a meter")
    }
}

fn cached(tokens: u64) -> impl Fn(&mut UsageData<'_>) {
    move |data| data.usage.cache_read_tokens = Some(tokens)
}

#[test]
fn fractions_wait_until_they_make_a_whole_unit() {
    let (mut books, worker) = (Books::new(METERS), Worker::new(1, noon()));
    books.take(&[worker.usage_with(1, cached(7))]);
    let view = books.meter("cached");
    assert_eq!((view.billable, view.carried.as_str()), (0, "0.7"));
    books.take(&[worker.usage_with(2, cached(17))]);
    let view = books.meter("cached");
    assert_eq!((view.billable, view.carried.as_str(), view.balanced), (2, "0.4", true));
}

#[test]
fn a_thousand_tenths_are_a_hundred_over_any_number_of_windows() {
    let (mut books, worker) = (Books::new(METERS), Worker::new(1, noon()));
    for n in 1..=1_000 {
        let hours_ago = Timestamp::from_millis(noon().as_millis() - n % 30 * 3_600_000);
        let worker = Worker { time: hours_ago, ..worker.clone() };
        books.take(&[worker.usage_with(n, cached(1))]);
    }
    let view = books.meter("cached");
    assert_eq!((view.billable, view.carried.as_str()), (100, "0"));
    let hourly = UsageQuery { meter: Some("cached".to_owned()), hourly: true, ..UsageQuery::default() };
    let rows = books.reader().usage(&hourly).expect("usage").usage;
    assert_eq!(rows.iter().map(|row| row.billable).sum::<u64>(), 100);
}

#[test]
fn credits_depend_on_the_model_that_answered() {
    let (mut books, worker) = (Books::new(METERS), Worker::new(1, noon()));
    let by = |model: &'static str| move |data: &mut UsageData<'_>| data.response_model = Some(model.into());
    // Five output tokens each.
    books.take(&[worker.usage_with(1, by("large")), worker.usage_with(2, by("small")), worker.usage(3)]);
    let view = books.meter("credits");
    assert_eq!((view.billable, view.carried.as_str()), (17, "0.500000005"));
}

#[test]
fn what_is_not_billed_is_carried_apart() {
    let (mut books, worker) = (Books::new(METERS), Worker::new(1, noon()));
    let test = |data: &mut UsageData<'_>| {
        data.environment = Some("test".into());
        data.usage.cache_read_tokens = Some(9);
    };
    books.take(&[worker.usage_with(1, test), worker.usage_with(2, cached(9)), worker.usage_with(3, test)]);
    let view = books.meter("cached");
    assert_eq!((view.billable, view.carried.as_str()), (0, "0.9"));
    assert_eq!(view.excluded, [("environment".to_owned(), 1)].into());
}

#[test]
fn the_sums_do_not_depend_on_how_the_log_is_cut() {
    let worker = Worker::new(1, noon());
    let events: Vec<Vec<u8>> = (1..=60)
        .map(|n| {
            let earlier =
                Worker { time: Timestamp::from_millis(noon().as_millis() - n % 3 * 3_600_000), ..worker.clone() };
            earlier.usage_with(n, cached(n * 3 % 11))
        })
        .collect();
    let rows = |step: usize| {
        let mut books = Books::new(METERS);
        let records: Vec<Record> = (1..).zip(events.chunks(2)).map(|(n, two)| Books::record(n, two)).collect();
        for records in records.chunks(step) {
            books.ledger.apply(records).expect("applied");
        }
        books.reader().usage(&UsageQuery { hourly: true, ..UsageQuery::default() }).expect("usage")
    };
    assert_eq!(rows(1), rows(30));
    assert_eq!(rows(7), rows(30));
}

#[test]
fn nothing_that_a_client_can_set_decides_what_is_billed() {
    for field in ["feature", "prompt_version", "request_model", "user", "service_tier", "idempotency_key_hash"] {
        let yaml = format!("meters:\n- {{name: m, sum: requests, where: {{{field}: [x]}}}}\n");
        let error = meters(&yaml).expect_err("refused");
        assert!(error.contains("can be set by clients") && error.contains("weir.yaml:2:"), "{error}");
    }
    let weights = "meters:\n- {name: m, sum: requests, weights: {request_model: {a: 1}}}\n";
    assert!(meters(weights).expect_err("refused").contains("request_model"));
}

#[test]
fn weights_that_cannot_be_exact_are_refused() {
    for weight in ["-1", "1e-3", "0.0000000001", "1001", "'a tenth'"] {
        let yaml = format!("meters:\n- {{name: m, sum: requests, weight: {weight}}}\n");
        assert!(meters(&yaml).expect_err("refused").contains("a weight is a decimal"), "{weight}");
    }
    let two = "meters:\n- {name: m, sum: requests, weight: 2, weights: {response_model: {}, otherwise: 1}}\n";
    assert!(meters(two).expect_err("refused").contains("not both"));
}

/// The example of the documentation, and a meter of one family of models only.
const PATTERNS: &str = "
meters:
- name: credits
  sum: output_tokens
  weights: {response_model: {gpt-4o: 2, 'gpt-4o-mini*': '0.5', 'gpt-4o*': 3, 'gpt-*': 4}}
- {name: minis, sum: requests, where: {response_model: ['*-mini*'], plan: ['start*']}}
";

#[test]
fn a_star_in_the_name_of_a_model_is_any_text_and_the_closest_name_goes_first() {
    let (mut books, worker) = (Books::new(PATTERNS), Worker::new(1, noon()));
    let by = |model: &'static str| move |data: &mut UsageData<'_>| data.response_model = Some(model.into());
    for (number, model, credits) in
        [(1, "gpt-4o", 10), (2, "gpt-4o-2026-11-20", 25), (3, "gpt-4o-mini-2026-07-18", 27), (4, "gpt-5", 47)]
    {
        books.take(&[worker.usage_with(number, by(model))]);
        assert_eq!(books.meter("credits").billable, credits, "{model}");
    }
    assert_eq!(books.meter("minis").billable, 1);
}

#[test]
fn a_provider_that_names_no_model_is_weighed_by_the_one_it_was_sent() {
    let (mut books, worker) = (Books::new(PATTERNS), Worker::new(1, noon()));
    let sent = |data: &mut UsageData<'_>| data.request_model = Some("gpt-4o-mini".into());
    let both = |data: &mut UsageData<'_>| {
        data.request_model = Some("gpt-4o-mini".into());
        data.response_model = Some("gpt-4o".into());
    };
    books.take(&[worker.usage_with(1, sent), worker.usage_with(2, sent)]);
    assert_eq!((books.meter("credits").billable, books.meter("minis").billable), (5, 2));
    books.take(&[worker.usage_with(3, both)]);
    assert_eq!((books.meter("credits").billable, books.meter("minis").billable), (15, 2), "what answered goes first");
}

#[test]
fn what_no_weight_is_of_is_shown_and_not_billed() {
    let (mut books, worker) = (Books::new(PATTERNS), Worker::new(1, noon()));
    books.take(&[worker.usage(1), worker.usage_with(2, |data| data.response_model = Some("claude".into()))]);
    let view = books.meter("credits");
    assert_eq!((view.billable, view.accepted, view.balanced), (0, 10, true));
    assert_eq!(view.excluded, [("no_weight".to_owned(), 10)].into());
}
