//! Finds and reads the events of a body, in one pass where the body is plain.
//!
//! Plain is the form that weir's own gateways send. [`split`] handles every other form and parses event by event, which
//! yields the error of each; both ways reach the same verdicts, and a test compares them.
use weir_contract::Event;
use weir_contract::batch::{BATCH_MAX_EVENTS, EVENT_MAX_BYTES};

use super::{Admission, BatchError, Format, Rejection, check_event, split};

/// One event of a body.
#[derive(Debug)]
pub struct Item<'a> {
    /// The event's bytes.
    pub raw: &'a [u8],
    /// The parsed event, if the one pass already parsed it.
    read: Option<Event<'a>>,
}

impl<'a> Item<'a> {
    fn unread(raw: &'a [u8]) -> Self {
        Item { raw, read: None }
    }

    /// Judges the event.
    pub fn validate(self, admission: Admission<'_>) -> Result<Event<'a>, Rejection> {
        if self.raw.len() > EVENT_MAX_BYTES {
            return Err(Rejection::TooLarge(self.raw.len()));
        }
        let parse = || Event::parse(self.raw).map_err(|error| Rejection::Malformed(error.to_string()));
        check_event(self.read.map_or_else(parse, Ok)?, admission)
    }
}

/// Splits a body into its events.
pub fn items(format: Format, body: &[u8]) -> Result<Vec<Item<'_>>, BatchError> {
    let plain = match format {
        Format::Batch => std::str::from_utf8(body).ok().and_then(plain_batch),
        Format::Event | Format::Lines | Format::Readings | Format::ReadingLines => None,
    };
    match plain {
        Some(items) => Ok(items),
        None => Ok(split(format, body)?.into_iter().map(Item::unread).collect()),
    }
}

/// JSON's white space (RFC 8259, section 2).
fn skip_space(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\n', '\r'])
}

/// The events of a JSON array; None if one of them, or the array itself, is not plain.
fn plain_batch(text: &str) -> Option<Vec<Item<'_>>> {
    let mut rest = skip_space(skip_space(text).strip_prefix('[')?);
    let mut items = Vec::new();
    if let Some(end) = rest.strip_prefix(']') {
        return skip_space(end).is_empty().then_some(items);
    }
    while items.len() < BATCH_MAX_EVENTS {
        let (event, length) = Event::parse_front(rest)?;
        let (raw, after) = rest.split_at_checked(length)?;
        items.push(Item { raw: raw.as_bytes(), read: Some(event) });
        let after = skip_space(after);
        if let Some(end) = after.strip_prefix(']') {
            return skip_space(end).is_empty().then_some(items);
        }
        rest = skip_space(after.strip_prefix(',')?);
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_contract::{Event, Timestamp};

    use super::*;

    const GOOD: &str = r#"{"specversion":"1.0","type":"weir.usage.v1","id":"019a9d6c-5d16-7000-8000-000000000001",
        "source":"/weir/gw-1/6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f","sequence":"00000000000000000001","subject":"acme",
        "time":"2026-11-21T03:14:15.926Z","data":{"request_id":"r","plan":"p","class":"chat","stream":false,"status":200,
        "outcome":"ok","decision":"admitted","config_version":"c","usage":{"status":"complete","input_tokens":8},
        "duration_ms":1,"request_bytes":1,"response_bytes":1}}"#;

    fn admission() -> Admission<'static> {
        let received_at = Timestamp::parse("2026-11-21T03:14:16Z").expect("a time");
        Admission { received_at, gateway: None, forgotten_before: 0 }
    }

    /// The bytes of each event, and its verdict.
    type Verdicts<'a> = Vec<(Vec<u8>, Result<Event<'a>, Rejection>)>;

    /// The verdicts of the slow path.
    fn slowly(body: &[u8]) -> Result<Verdicts<'_>, BatchError> {
        let raws = split(Format::Batch, body)?;
        Ok(raws.into_iter().map(|raw| (raw.to_vec(), super::super::validate(raw, admission()))).collect())
    }

    fn quickly(body: &[u8]) -> Result<Verdicts<'_>, BatchError> {
        let items = items(Format::Batch, body)?;
        Ok(items.into_iter().map(|item| (item.raw.to_vec(), item.validate(admission()))).collect())
    }

    #[test]
    fn a_plain_batch_is_read_in_one_pass_as_it_is_in_three() {
        let body = format!(" [{GOOD} , {GOOD}]\n");
        assert_eq!(plain_batch(&body).map(|items| items.len()), Some(2));
        assert_eq!(quickly(body.as_bytes()), slowly(body.as_bytes()));
        assert_eq!(plain_batch("[ ]").map(|items| items.len()), Some(0));
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_slow_way_and_gets_its_verdict() {
        let deep = format!(r#"{{"x":{}1{},{}"#, "[".repeat(200), "]".repeat(200), &GOOD[1..]);
        let edits: [(&str, &str); 8] = [
            (r#""subject":"acme","#, ""),
            (r#""subject":"acme""#, r#""subject":null"#),
            (r#""type":"weir.usage.v1","#, ""),
            (r#""specversion":"1.0""#, r#""specversion":"2.0""#),
            (r#""plan":"p""#, r#""plan":"p","plan":"q""#),
            (r#""id":"#, r#""id":"x","id":"#),
            (r#""data":"#, r#""data":{},"data":"#),
            (r#""sequence":"00000000000000000001""#, r#""sequence":1"#),
        ];
        let bad = edits.iter().map(|(from, to)| GOOD.replacen(from, to, 1)).chain([deep]);
        for event in bad {
            let body = format!("[{GOOD},{event}]");
            assert_eq!(quickly(body.as_bytes()), slowly(body.as_bytes()), "{event}");
        }
        for body in ["[", "[]x", "[{}", "[,]", "{}", "", "[1 2]", "[\"\u{c}\"]"] {
            assert_eq!(quickly(body.as_bytes()), slowly(body.as_bytes()), "{body}");
        }
    }

    proptest! {
        #[test]
        fn whatever_bytes_come_both_ways_say_the_same(at in 0..GOOD.len() + 3, with in prop::collection::vec(any::<u8>(), 0..3), cut in 0..4_usize) {
            let mut body = format!("[{GOOD},{GOOD}]").into_bytes();
            let end = (at + cut).min(body.len());
            body.splice(at..end, with);
            prop_assert_eq!(quickly(&body), slowly(&body));
        }
    }
}
