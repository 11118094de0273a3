//! `weir tail`: shows events as the log takes them, wherever the log is.
use std::time::Duration;

use serde_json::Value;
use weir_event_log::{Position, Record};
use weir_ledger::validate;

use super::args::counting::TailArgs;
use super::render::{say, visible_json};
use super::{EXIT_DONE, EXIT_FAILED};
use crate::config::Config;
use crate::store::DataDir;
use crate::text::visible;

/// How often the log is read again at its end.
const POLL: Duration = Duration::from_millis(200);
/// Bytes of bodies that are read at a time, uncompressed.
const READ_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Which events are shown.
struct Filter {
    tenant: Option<String>,
    kind: Option<String>,
    model: Option<String>,
}

pub(super) fn run(config: &Config, args: TailArgs, as_json: bool) -> anyhow::Result<u8> {
    let home = DataDir::of(config);
    let Some(facts) = home.log_place().facts()? else {
        anyhow::bail!("{}: there is no event log yet; `weir serve` makes it", home.log_place().label());
    };
    let mut log = home.log_place().reader()?;
    let mut after = match args.from {
        Some(from) => log.before(from)?,
        None => facts.last,
    };
    let TailArgs { tenant, kind, model, count, no_follow, .. } = args;
    let (filter, mut left) = (Filter { tenant, kind, model }, count.unwrap_or(u64::MAX));
    while left > 0 {
        let records = log.read_after(after, READ_MAX_BYTES)?;
        let Some(last) = records.last().map(|record| record.position) else {
            if no_follow {
                return Ok(if count.is_some() { EXIT_FAILED } else { EXIT_DONE });
            }
            std::thread::sleep(POLL);
            continue;
        };
        for record in &records {
            show(record, &filter, as_json, &mut left)?;
        }
        after = last;
    }
    Ok(EXIT_DONE)
}

/// Shows the events of a record that fit, at most `left`.
fn show(record: &Record, filter: &Filter, as_json: bool, left: &mut u64) -> anyhow::Result<()> {
    if record.format.is_of_readings() {
        return Ok(());
    }
    for raw in validate::split(record.format, &record.body)? {
        let Ok(event) = serde_json::from_slice::<Value>(raw) else { continue };
        if *left == 0 || !filter.fits(&event) {
            continue;
        }
        *left -= 1;
        if as_json {
            say!("{}", visible_json(&serde_json::to_string(&event)?));
        } else {
            say!("{}", line(record.position, &event));
        }
    }
    Ok(())
}

fn line(position: Position, event: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| "-".to_owned(), visible);
    let data = &event["data"];
    let mut line = format!("{position} {} {} {}", text(&event["time"]), text(&event["type"]), text(&event["subject"]));
    for field in ["response_model", "outcome", "status", "input_tokens", "output_tokens"] {
        let value = if data[field].is_null() { &data["usage"][field] } else { &data[field] };
        match value {
            Value::Null => {}
            Value::String(words) => line.push_str(&format!(" {field}={}", visible(words))),
            other => line.push_str(&format!(" {field}={other}")),
        }
    }
    line
}

impl Filter {
    fn fits(&self, event: &Value) -> bool {
        let is = |wanted: &Option<String>, value: &Value| wanted.as_deref().is_none_or(|wanted| value == wanted);
        let data = &event["data"];
        let models = [&data["response_model"], &data["request_model"]];
        let fits_model =
            |wanted: &str| models.iter().filter_map(|model| model.as_str()).any(|model| is_like(wanted, model));
        is(&self.tenant, &event["subject"])
            && self.kind.as_deref().is_none_or(|wanted| is_type(wanted, &event["type"]))
            && self.model.as_deref().is_none_or(fits_model)
    }
}

/// Compares a type with its whole name, or with the part that people say: `usage` for `weir.usage.v1`.
fn is_type(wanted: &str, kind: &Value) -> bool {
    let Some(kind) = kind.as_str() else { return false };
    kind == wanted || kind.strip_prefix("weir.").is_some_and(|rest| rest.split('.').next() == Some(wanted))
}

/// Compares a model with a name; `*` at its end stands for any text.
fn is_like(wanted: &str, model: &str) -> bool {
    wanted.strip_suffix('*').map_or(wanted == model, |start| model.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_chosen_by_tenant_type_and_model() {
        let event =
            serde_json::json!({"subject": "acme", "type": "weir.usage.v1", "data": {"response_model": "gpt-4o-mini"}});
        let fits = |tenant: Option<&str>, kind: Option<&str>, model: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            Filter { tenant: own(tenant), kind: own(kind), model: own(model) }.fits(&event)
        };
        assert!(fits(None, None, None) && fits(Some("acme"), Some("usage"), Some("gpt-4o*")));
        assert!(fits(None, Some("weir.usage.v1"), Some("gpt-4o-mini")));
        assert!(
            !fits(Some("globex"), None, None)
                && !fits(None, Some("refused"), None)
                && !fits(None, None, Some("gpt-4o"))
        );
    }
}
