//! The cost of recorded requests, worked out by hand.
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use weir_contract::{Timestamp, UsageData};
use weir_ledger::cost::{Kind, Pricing};
use weir_money::amount::{Currency, Pico};
use weir_money::cost::explain;
use weir_money::prices::{Book, Layer, file};

#[derive(Deserialize)]
struct Recorded {
    say: String,
    usage: Value,
    currency: Option<Currency>,
    cost: Pico,
    #[serde(default)]
    unpriced: Vec<Kind>,
}

fn book() -> Book {
    let text = include_str!("recorded/prices.yaml");
    let entries = file::parse(Path::new("prices.yaml"), text).expect("prices").entries;
    Book::new(vec![Layer { name: "prices.yaml".to_owned(), entries }]).expect("a book")
}

/// The event's data with what every event has.
fn data(usage: &Value) -> String {
    let mut whole = json!({
        "request_id": "r", "plan": "pro", "class": "chat", "stream": false, "status": 200, "outcome": "ok",
        "decision": "admitted", "config_version": "v", "duration_ms": 1, "request_bytes": 1, "response_bytes": 1,
    });
    let fields = usage.as_object().expect("an object").clone();
    whole.as_object_mut().expect("an object").extend(fields);
    whole.to_string()
}

#[test]
fn recorded_requests_cost_what_they_cost_by_hand() {
    let (book, now) = (book(), Timestamp::from_secs(1_800_000_000));
    let recorded: Vec<Recorded> = serde_json::from_str(include_str!("recorded/events.json")).expect("events");
    assert!(recorded.len() >= 10);
    for Recorded { say, usage, currency, cost, unpriced } in recorded {
        let text = data(&usage);
        let data: UsageData<'_> = serde_json::from_str(&text).expect("an event");
        let got = book.cost(now, &data);
        assert_eq!((got.cost, got.currency), (cost, currency), "{say}");
        let lacking: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| got.unpriced.contains(*kind)).collect();
        assert_eq!(lacking, unpriced, "{say}");
        let lines = explain(&book, now, &data);
        assert_eq!(lines.lines.iter().filter_map(|line| line.amount).sum::<Pico>(), cost, "{say}: its lines");
        assert_eq!((lines.cost, lines.currency), (cost, currency), "{say}: explained");
        let of_sums =
            book.cost_of(now, data.provider.as_deref().unwrap_or(""), &lines.model, &got.tariff, &got.quantities);
        assert_eq!((of_sums.cost, of_sums.unpriced), (cost, got.unpriced), "{say}: from its quantities");
    }
}
