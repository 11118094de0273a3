//! Events as gateways send them, and a price for each.
use std::sync::Arc;

use weir_contract::{Event, EventId, Payload, Sequence, SourceId, TenantId, Timestamp, Usage, UsageData, UsageStatus};
use weir_event_log::Record;
use weir_ledger::amount::{Currency, Pico};
use weir_ledger::cost::{EventCost, Kind, KindSet, Prices, Pricing, Quantities, Tariff, quantities};
use weir_ledger::validate::Format;

/// Every input token costs so many millionths, whatever the model; [`UNLISTED`] has a price from [`ALL_LISTED`] on.
#[derive(Debug)]
struct Price(u64, String);

/// A model without a price.
pub(crate) const UNLISTED: &str = "unlisted";
/// The lowest price that every model has.
pub(crate) const ALL_LISTED: u64 = 10;

impl Price {
    fn of(&self, model: &str, input: u64) -> EventCost {
        if model == UNLISTED && self.0 < ALL_LISTED {
            let mut unpriced = KindSet::default();
            unpriced.insert(Kind::Input);
            return EventCost { unpriced, ..EventCost::default() };
        }
        let cost = Pico(i128::from(self.0 * input) * 1_000_000);
        EventCost { currency: Some(Currency::USD), cost, ..EventCost::default() }
    }
}

impl Pricing for Price {
    fn cost(&self, _: Timestamp, data: &UsageData<'_>) -> EventCost {
        let (quantities, model) = (quantities(data), data.response_model.as_deref().unwrap_or_default());
        EventCost { quantities, tariff: Tariff::of(data), ..self.of(model, quantities.get(Kind::Input)) }
    }

    fn cost_of(&self, _: Timestamp, _: &str, model: &str, tariff: &Tariff, sums: &Quantities) -> EventCost {
        EventCost { quantities: *sums, tariff: tariff.clone(), ..self.of(model, sums.get(Kind::Input)) }
    }

    fn text(&self) -> &str {
        &self.1
    }
}

fn read_price(text: &str) -> Result<Arc<dyn Pricing>, String> {
    let price = text.parse().map_err(|_| text.to_owned())?;
    Ok(Arc::new(Price(price, text.to_owned())))
}

pub(crate) fn prices(price: u64) -> Prices {
    Prices { book: read_price(&price.to_string()).ok(), read: read_price }
}

/// What one request used, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) model: &'a str,
    pub(crate) feature: &'a str,
    /// The end user, as gateways name it; empty for none.
    pub(crate) user: &'a str,
    pub(crate) key: &'a str,
    pub(crate) time: Timestamp,
    pub(crate) input: u64,
    pub(crate) output: u64,
}

/// A record of the log with these requests, whose numbers begin after `before`.
pub(crate) fn record(position: u64, received_at: Timestamp, before: u64, requests: &[Request<'_>]) -> Record {
    let json: Vec<String> = requests.iter().zip(before + 1..).map(|(request, number)| json(request, number)).collect();
    Record {
        position,
        follows: position - 1,
        received_at,
        format: Format::Batch,
        gateway: None,
        forgotten_before: 0,
        body: format!("[{}]", json.join(",")).into_bytes(),
    }
}

fn json(used: &Request<'_>, number: u64) -> String {
    let source = SourceId::new("gw-1", [7; 16]).expect("a source");
    let feature = Some(used.feature).filter(|feature| !feature.is_empty());
    let data = UsageData {
        request_id: "r".into(),
        plan: "p".into(),
        provider: Some("openai".into()),
        feature: feature.map(Into::into),
        user: Some(used.user).filter(|user| !user.is_empty()).map(Into::into),
        credential_id: Some(used.key.into()),
        response_model: Some(used.model.into()),
        status: 200,
        config_version: "c".into(),
        usage: Usage {
            status: UsageStatus::Complete,
            input_tokens: Some(used.input),
            output_tokens: Some(used.output),
            ..Usage::default()
        },
        ..UsageData::default()
    };
    let event = Event {
        id: EventId::derive(used.time, &source, Sequence(number)),
        source,
        sequence: Some(Sequence(number)),
        subject: TenantId::new(used.tenant).ok(),
        time: used.time,
        payload: Payload::Usage(Box::new(data)),
    };
    let mut out = Vec::new();
    event.write(&mut out).expect("written");
    String::from_utf8(out).expect("text")
}
