//! `weir top`: who is using what right now, from the events as the log takes them.
use std::collections::{BTreeMap, VecDeque};
use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use weir_event_log::Record;
use weir_ledger::validate;

use super::args::counting::TopArgs;
use super::render::{say, table, visible_json};
use super::{EXIT_DONE, access};
use crate::config::Config;
use crate::store::DataDir;
use crate::text::visible;

/// What the numbers are about: the time before now.
const SPAN: Duration = Duration::from_secs(60);
/// How often the log is read between two screens.
const POLL: Duration = Duration::from_millis(200);
/// Bytes of bodies that are read at a time, uncompressed.
const READ_MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most tenants, and models, of one screen's time. The others are summed as [`OTHERS`].
const NAMES_MAX: usize = 10_000;
const OTHERS: &str = "(others)";
/// Clears the terminal.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What somebody used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Sums {
    requests: u64,
    /// Of these, without a whole answer below 400.
    failed: u64,
    input_tokens: u64,
    output_tokens: u64,
    /// Of all requests together.
    duration_ms: u64,
}

impl Sums {
    fn add(&mut self, other: Sums) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.duration_ms += other.duration_ms;
    }
}

/// The events between two screens.
#[derive(Clone, Debug, Default)]
struct Slice {
    took: Duration,
    tenants: BTreeMap<String, Sums>,
    models: BTreeMap<String, Sums>,
    refused: u64,
}

impl Slice {
    fn add_record(&mut self, record: &Record) -> anyhow::Result<()> {
        if !record.format.is_of_readings() {
            for raw in validate::split(record.format, &record.body)? {
                if let Ok(event) = serde_json::from_slice::<Value>(raw) {
                    self.add_event(&event);
                }
            }
        }
        Ok(())
    }

    fn add_event(&mut self, event: &Value) {
        let data = &event["data"];
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        match event["type"].as_str() {
            Some("weir.usage.v1") => {
                let usage = &data["usage"];
                let sums = Sums {
                    requests: 1,
                    failed: u64::from(data["outcome"] != "ok"),
                    input_tokens: number(&usage["input_tokens"]),
                    output_tokens: number(&usage["output_tokens"]),
                    duration_ms: number(&data["duration_ms"]),
                };
                let model = data["response_model"].as_str().or(data["request_model"].as_str());
                add(&mut self.tenants, event["subject"].as_str().unwrap_or("-"), sums);
                add(&mut self.models, model.unwrap_or("-"), sums);
            }
            Some("weir.refused.v1") => {
                self.refused += data["counts"].as_object().map_or(0, |counts| counts.values().map(number).sum());
            }
            _ => {}
        }
    }
}

/// Adds to what a name has; where there are too many names, to the others.
fn add(all: &mut BTreeMap<String, Sums>, name: &str, sums: Sums) {
    let name = if all.len() < NAMES_MAX || all.contains_key(name) { name } else { OTHERS };
    all.entry(name.to_owned()).or_default().add(sums);
}

/// What a screen shows.
#[derive(Debug, Serialize)]
struct Screen {
    /// The time that the numbers are about, in milliseconds.
    span_ms: u64,
    /// All requests.
    total: Sums,
    /// Requests that gateways refused.
    refused: u64,
    /// Those with the most requests.
    tenants: Vec<(String, Sums)>,
    /// Those with the most requests.
    models: Vec<(String, Sums)>,
}

/// The last minute.
#[derive(Debug, Default)]
struct Window(VecDeque<Slice>);

impl Window {
    fn push(&mut self, slice: Slice) {
        self.0.push_back(slice);
        while self.0.len() > 1 && self.took() > SPAN {
            self.0.pop_front();
        }
    }

    fn took(&self) -> Duration {
        self.0.iter().map(|slice| slice.took).sum()
    }

    fn screen(&self, rows: usize) -> Screen {
        let sum = |of: fn(&Slice) -> &BTreeMap<String, Sums>| {
            let mut all = BTreeMap::new();
            for (name, sums) in self.0.iter().flat_map(of) {
                add(&mut all, name, *sums);
            }
            all
        };
        let (tenants, models) = (sum(|slice| &slice.tenants), sum(|slice| &slice.models));
        let mut total = Sums::default();
        tenants.values().for_each(|sums| total.add(*sums));
        let refused = self.0.iter().map(|slice| slice.refused).sum();
        let span_ms = u64::try_from(self.took().as_millis()).unwrap_or(u64::MAX);
        Screen { span_ms, total, refused, tenants: most(tenants, rows), models: most(models, rows) }
    }
}

/// Those with the most requests first; of equals, by name.
fn most(all: BTreeMap<String, Sums>, rows: usize) -> Vec<(String, Sums)> {
    let mut all: Vec<(String, Sums)> = all.into_iter().collect();
    all.sort_by_key(|(_, sums)| std::cmp::Reverse(sums.requests));
    all.truncate(rows);
    all
}

pub(super) fn run(config: &Config, args: TopArgs, as_json: bool) -> anyhow::Result<u8> {
    let (home, clock) = (DataDir::of(config), access::clock());
    let place = home.log_place();
    let Some(facts) = place.facts()? else {
        anyhow::bail!("{}: there is no event log yet; `weir serve` makes it", place.label());
    };
    let (mut log, mut after) = (place.reader()?, facts.last);
    let (mut window, mut left) = (Window::default(), args.count.unwrap_or(u64::MAX));
    while left > 0 {
        let (mut slice, began) = (Slice::default(), clock.elapsed());
        loop {
            let records = log.read_after(after, READ_MAX_BYTES)?;
            records.iter().try_for_each(|record| slice.add_record(record))?;
            let rest = Duration::from_secs(args.every).saturating_sub(clock.elapsed().saturating_sub(began));
            match records.last() {
                Some(last) => after = last.position,
                None => std::thread::sleep(POLL.min(rest)),
            }
            if rest.is_zero() {
                break;
            }
        }
        slice.took = clock.elapsed().saturating_sub(began);
        window.push(slice);
        show(&window.screen(args.rows), as_json)?;
        left -= 1;
    }
    Ok(EXIT_DONE)
}

fn show(screen: &Screen, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        say!("{}", visible_json(&serde_json::to_string(screen)?));
        return Ok(());
    }
    let mut out = std::io::stdout();
    if out.is_terminal() {
        write!(out, "{CLEAR}")?;
    }
    let Screen { span_ms, total, refused, .. } = screen;
    say!(
        "last {} s: {} requests/s, {} failed, {} refused by gateways, {} input and {} output tokens/s\n",
        span_ms.div_ceil(1_000),
        rate(total.requests, *span_ms),
        share(*total),
        rate(*refused, *span_ms) + "/s",
        rate(total.input_tokens, *span_ms),
        rate(total.output_tokens, *span_ms)
    );
    for (what, rows) in [("tenant", &screen.tenants), ("model", &screen.models)] {
        let mut shown =
            table(&[what, "#requests/s", "#failed", "#input tokens/s", "#output tokens/s", "#ms a request"]);
        for (name, sums) in rows {
            shown.add_row([
                visible(name),
                rate(sums.requests, *span_ms),
                share(*sums),
                rate(sums.input_tokens, *span_ms),
                rate(sums.output_tokens, *span_ms),
                sums.duration_ms.checked_div(sums.requests).unwrap_or(0).to_string(),
            ]);
        }
        say!("{shown}\n");
    }
    Ok(())
}

/// A number for each second, with one decimal below ten.
fn rate(count: u64, span_ms: u64) -> String {
    let tenths = u128::from(count) * 10_000 / u128::from(span_ms.max(1));
    if tenths < 100 { format!("{}.{}", tenths / 10, tenths % 10) } else { (tenths / 10).to_string() }
}

/// The share of failed requests.
fn share(sums: Sums) -> String {
    let permille = (sums.failed * 1_000).checked_div(sums.requests).unwrap_or(0);
    format!("{}.{} %", permille / 10, permille % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn usage(tenant: &str, model: &str, outcome: &str) -> Value {
        json!({"type": "weir.usage.v1", "subject": tenant, "data": {"response_model": model, "outcome": outcome,
            "duration_ms": 200, "usage": {"input_tokens": 100, "output_tokens": 10}}})
    }

    fn slice(seconds: u64, events: &[Value]) -> Slice {
        let mut slice = Slice { took: Duration::from_secs(seconds), ..Slice::default() };
        events.iter().for_each(|event| slice.add_event(event));
        slice
    }

    #[test]
    fn a_screen_sums_the_last_minute_with_the_busiest_first() {
        let mut window = Window::default();
        window.push(slice(50, &[usage("gone", "m", "ok")]));
        window.push(slice(30, &[usage("acme", "a", "ok"), usage("acme", "b", "timeout"), usage("globex", "a", "ok")]));
        let refused = json!({"type": "weir.refused.v1", "data": {"counts": {"rate_limited": 5, "busy": 2}}});
        window.push(slice(30, &[usage("acme", "a", "ok"), refused, json!({"type": "weir.source.v1"})]));
        let screen = window.screen(1);
        assert_eq!((screen.span_ms, screen.refused), (60_000, 7));
        let acme = Sums { requests: 3, failed: 1, input_tokens: 300, output_tokens: 30, duration_ms: 600 };
        assert_eq!(screen.tenants, [("acme".to_owned(), acme)]);
        assert_eq!(screen.models.iter().map(|(name, sums)| (&**name, sums.requests)).collect::<Vec<_>>(), [("a", 3)]);
        assert_eq!(screen.total.requests, 4);
        assert_eq!(
            (share(acme), rate(9, 60_000), rate(6_000, 60_000)),
            ("33.3 %".to_owned(), "0.1".to_owned(), "100".to_owned())
        );
    }

    #[test]
    fn too_many_names_are_summed() {
        let mut all = BTreeMap::new();
        (0..NAMES_MAX + 5).for_each(|n| add(&mut all, &n.to_string(), Sums { requests: 1, ..Sums::default() }));
        assert_eq!((all.len(), all[OTHERS].requests), (NAMES_MAX + 1, 5));
    }
}
