//! The shapes of cost reports.
use serde::Deserialize;
use serde_json::value::RawValue;
use weir_contract::Timestamp;
use weir_ledger::amount::{Currency, Pico};

use super::csv_text::records;
use super::{Charge, DAY_MS, LINES_MAX, Report};

/// Columns of CSV exports that hold the day, the first that is there.
const DAYS: [&str; 6] = ["usage_date_utc", "date", "day", "start_time_iso", "starting_at", "start_time"];
/// The model.
const MODELS: [&str; 3] = ["model", "line_item", "description"];
/// The amount, in whole units.
const AMOUNTS: [&str; 5] = ["cost_usd", "amount_value", "cost", "amount", "total"];
/// The currency.
const CURRENCIES: [&str; 2] = ["amount_currency", "currency"];

/// OpenAI's `GET /v1/organization/costs`, or one of its buckets a line.
#[derive(Deserialize)]
struct OpenAi<'a> {
    #[serde(borrow)]
    data: Vec<OpenAiBucket<'a>>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Deserialize)]
struct OpenAiBucket<'a> {
    start_time: u64,
    #[serde(borrow)]
    results: Vec<OpenAiResult<'a>>,
}

#[derive(Deserialize)]
struct OpenAiResult<'a> {
    #[serde(borrow)]
    amount: OpenAiAmount<'a>,
    #[serde(default)]
    line_item: Option<String>,
}

#[derive(Deserialize)]
struct OpenAiAmount<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(borrow)]
    currency: &'a RawValue,
}

/// Anthropic's `GET /v1/organizations/cost_report`: amounts are texts, in cents.
#[derive(Deserialize)]
struct Anthropic<'a> {
    #[serde(borrow)]
    data: Vec<AnthropicBucket<'a>>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Deserialize)]
struct AnthropicBucket<'a> {
    #[serde(borrow)]
    starting_at: &'a RawValue,
    #[serde(borrow)]
    results: Vec<AnthropicResult<'a>>,
}

#[derive(Deserialize)]
struct AnthropicResult<'a> {
    #[serde(borrow)]
    amount: &'a RawValue,
    #[serde(borrow)]
    currency: &'a RawValue,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    description: Option<String>,
}

/// Reads a report, whichever it is. The error names line, field and what was expected.
pub fn read(text: &str) -> Result<Report, String> {
    let text = text.trim_start_matches('\u{feff}');
    let report = if !text.trim_start().starts_with('{') {
        of_csv(text)?
    } else if text.contains("\"starting_at\"") {
        anthropic(text)?
    } else {
        open_ai(text)?
    };
    match report.charges.len() {
        0 => Err("the report has no amounts".to_owned()),
        lines if lines > LINES_MAX => Err(format!("{lines} amounts; at most {LINES_MAX} are compared at once")),
        _ => Ok(report),
    }
}

fn open_ai(text: &str) -> Result<Report, String> {
    let page: OpenAi<'_> = serde_json::from_str(text).map_err(|error| {
        format!(
            "line {}, column {}: {error}; expected OpenAI's or Anthropic's cost report",
            error.line(),
            error.column()
        )
    })?;
    let mut charges = Vec::new();
    for bucket in page.data {
        for result in bucket.results {
            let value = result.amount.value;
            let amount = decimal(value.get(), 0).ok_or_else(|| wrong(text, value, "amount.value", "no amount"))?;
            let item = result.line_item.unwrap_or_default();
            charges.push(Charge {
                day: day_of(Timestamp::from_secs(bucket.start_time)),
                // `gpt-4o-2024-08-06, cached input`
                model: item.split(',').next().unwrap_or_default().trim().to_owned(),
                currency: currency_at(text, result.amount.currency)?,
                amount,
            });
        }
    }
    Ok(Report { source: "OpenAI", charges, is_partial: page.has_more })
}

fn anthropic(text: &str) -> Result<Report, String> {
    let page: Anthropic<'_> = serde_json::from_str(text).map_err(|error| {
        format!("line {}, column {}: {error}; expected Anthropic's cost report", error.line(), error.column())
    })?;
    let mut charges = Vec::new();
    for bucket in page.data {
        let at = bucket.starting_at;
        let day = day(&plain(at)).ok_or_else(|| wrong(text, at, "starting_at", "no time"))?;
        for result in bucket.results {
            charges.push(Charge {
                day,
                model: result.model.or(result.description).unwrap_or_default(),
                currency: currency_at(text, result.currency)?,
                amount: decimal(result.amount.get(), 2)
                    .ok_or_else(|| wrong(text, result.amount, "amount", "no amount in cents"))?,
            });
        }
    }
    Ok(Report { source: "Anthropic", charges, is_partial: page.has_more })
}

fn of_csv(text: &str) -> Result<Report, String> {
    let records = records(text)?;
    let Some(((_, header), rows)) = records.split_first() else { return Err("an empty file".to_owned()) };
    let names: Vec<String> =
        header.iter().map(|name| name.trim().to_ascii_lowercase().replace([' ', '-'], "_")).collect();
    let find = |known: &[&str]| known.iter().find_map(|name| names.iter().position(|column| column == name));
    let need = |what: &str, known: &[&str]| {
        find(known).ok_or_else(|| format!("line 1: no column for the {what}; known are {}", known.join(", ")))
    };
    let (at, model, amount, of) =
        (need("day", &DAYS)?, need("model", &MODELS)?, need("amount", &AMOUNTS)?, find(&CURRENCIES));
    let mut charges = Vec::new();
    for (line, fields) in rows {
        let field = |column: usize| fields.get(column).map_or("", |field| field.trim());
        let wrong = |column: usize, expected: &str| {
            format!(
                "line {line}: {}: {:?} is not {expected}",
                names.get(column).map_or("", String::as_str),
                field(column)
            )
        };
        charges.push(Charge {
            day: day(field(at)).ok_or_else(|| wrong(at, "a day such as 2026-11-21"))?,
            model: field(model).split(',').next().unwrap_or_default().trim().to_owned(),
            currency: of.map_or(Ok(Currency::USD), |column| {
                Currency::parse(field(column)).ok_or_else(|| wrong(column, "three letters such as USD"))
            })?,
            amount: decimal(field(amount).trim_start_matches('$'), 0)
                .ok_or_else(|| wrong(amount, "an amount such as 12.50"))?,
        });
    }
    Ok(Report { source: "CSV", charges, is_partial: false })
}

/// A JSON text without its quotes; any other value as it is written.
fn plain(value: &RawValue) -> String {
    serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

/// Says where a value stands that makes no sense. It is a part of `text`.
fn wrong(text: &str, value: &RawValue, field: &str, what: &str) -> String {
    let offset = (value.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("line {line}, column {column}: {field}: {value} is {what}")
}

fn currency_at(text: &str, code: &RawValue) -> Result<Currency, String> {
    Currency::parse(&plain(code)).ok_or_else(|| wrong(text, code, "currency", "not three letters"))
}

/// A day, or a time in it, in UTC; or seconds since 1970.
fn day(text: &str) -> Option<Timestamp> {
    if text.len() >= 9 && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().map(|seconds| day_of(Timestamp::from_secs(seconds)));
    }
    let date = text.get(..10)?;
    Timestamp::parse(&format!("{date}T00:00:00Z"))
}

fn day_of(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis() - time.as_millis() % DAY_MS)
}

/// A decimal divided by ten to the power of `places`. Reports count in more digits than an amount has, so more are cut, which is
/// far below what they are rounded to.
fn decimal(text: &str, places: usize) -> Option<Pico> {
    let text = text.trim().trim_matches('"');
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let point = i64::try_from(whole.len()).ok()? + exponent.parse::<i64>().ok()? - i64::try_from(places).ok()?;
    // The digits before the point, and the twelve behind it.
    let wanted = usize::try_from(point.checked_add(12)?.max(0)).ok()?;
    if wanted > 30 {
        return None;
    }
    let shifted: String = all.chars().chain(std::iter::repeat('0')).take(wanted).collect();
    let pico: i128 = if shifted.is_empty() { 0 } else { shifted.parse().ok()? };
    Some(Pico(if negative { -pico } else { pico }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_however_they_are_written() {
        let cases = [
            ("12.5", 0, "12.5"),
            ("1250", 2, "12.5"),
            ("5.7e-05", 0, "0.000057"),
            ("-0.1", 0, "-0.1"),
            ("0.00000000000012345", 0, "0"),
        ];
        for (text, places, amount) in cases {
            assert_eq!(decimal(text, places).map(|amount| amount.to_string()).as_deref(), Some(amount), "{text}");
        }
        for text in ["", "-", "x", "1,5", "1e40"] {
            assert_eq!(decimal(text, 0), None, "{text}");
        }
    }

    #[test]
    fn reports_are_told_apart() {
        let open_ai = r#"{"object":"page","data":[{"object":"bucket","start_time":1795219200,"end_time":1795305600,"results":[
            {"object":"organization.costs.result","amount":{"value":0.057,"currency":"usd"},"line_item":"gpt-4o-2024-08-06, input","project_id":null}]}]}"#;
        let anthropic = r#"{"data":[{"starting_at":"2026-11-21T00:00:00Z","ending_at":"2026-11-22T00:00:00Z","results":[
            {"currency":"USD","amount":"123.45","model":"claude-sonnet-4-5","cost_type":"tokens"}]}],"has_more":false}"#;
        let csv = "usage_date_utc,model,cost_usd\n2026-11-21,claude-sonnet-4-5,\"1.2345\"\n";
        let charges = [open_ai, anthropic, csv].map(|text| read(text).expect(text).charges.remove(0));
        let shown = charges.map(|charge| (charge.day.to_string(), charge.model, charge.amount.to_string()));
        let day = "2026-11-21T00:00:00.000Z".to_owned();
        assert_eq!(shown[0], (day.clone(), "gpt-4o-2024-08-06".to_owned(), "0.057".to_owned()));
        assert_eq!(shown[1], (day.clone(), "claude-sonnet-4-5".to_owned(), "1.2345".to_owned()));
        assert_eq!(shown[2], (day, "claude-sonnet-4-5".to_owned(), "1.2345".to_owned()));
    }

    #[test]
    fn a_page_of_a_longer_report_is_known_as_one() {
        let page = |more: &str| {
            let text = format!(
                r#"{{"data":[{{"start_time":1795219200,"results":[{{"amount":{{"value":1,"currency":"usd"}}}}]}}]{more}}}"#
            );
            read(&text).expect("a report").is_partial
        };
        assert!(page(r#","has_more":true,"next_page":"p""#));
        assert!(!page(r#","has_more":false,"next_page":null"#) && !page(""));
        let anthropic = r#"{"data":[{"starting_at":"2026-11-21T00:00:00Z","results":[{"currency":"USD","amount":"1"}]}],"has_more":true}"#;
        assert!(read(anthropic).expect("a report").is_partial);
    }

    #[test]
    fn a_wrong_report_is_told_with_its_line() {
        let cases = [
            ("date,model\n2026-11-21,m\n", "line 1: no column for the amount"),
            ("date,model,cost\n2026-11-21,m,1\nyesterday,m,1\n", "line 3: date: \"yesterday\" is not a day"),
            ("date,model,cost\n2026-11-21,m,lots\n", "line 2: cost: \"lots\" is not an amount"),
            ("{\"data\": 1}", "line 1, column 10"),
            (
                "{\"data\": [{\"start_time\": 1, \"results\": [\n {\"amount\": {\"value\": [], \"currency\": \"usd\"}}]}]}",
                "line 2, column 23: amount.value: [] is no amount",
            ),
            (
                "{\"data\": [{\"starting_at\": \"2026-11-21\", \"results\": [{\"amount\": \"1\", \"currency\": \"euros\"}]}]}",
                "line 1, column 81: currency: \"euros\" is not three letters",
            ),
            ("{\"data\": []}", "no amounts"),
            ("", "an empty file"),
        ];
        for (text, told) in cases {
            let error = read(text).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
