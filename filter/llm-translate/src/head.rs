//! Heads of answers: what a translated body needs, and the headers that each provider names in its own way.
use weir_contract::time::Timestamp;

use crate::answer_head::AnswerHead;
use crate::cloud;
use crate::expected::Expected;
use crate::target::Dialect;

/// What to change in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadEdits {
    /// Another status.
    pub status: Option<u16>,
    /// Headers to take off, as the provider spells them.
    pub remove: Vec<String>,
    /// Headers to set, in lower case.
    pub set: Vec<(String, String)>,
}

/// Names of a limit's values: Anthropic's, and OpenAI's for the same.
const LIMITS: [(&str, &str); 6] = [
    ("anthropic-ratelimit-requests-limit", "x-ratelimit-limit-requests"),
    ("anthropic-ratelimit-requests-remaining", "x-ratelimit-remaining-requests"),
    ("anthropic-ratelimit-requests-reset", "x-ratelimit-reset-requests"),
    ("anthropic-ratelimit-tokens-limit", "x-ratelimit-limit-tokens"),
    ("anthropic-ratelimit-tokens-remaining", "x-ratelimit-remaining-tokens"),
    ("anthropic-ratelimit-tokens-reset", "x-ratelimit-reset-tokens"),
];

/// What only one of the providers says: beginnings of names.
const OWN: [(Dialect, &[&str]); 2] = [
    (Dialect::Anthropic, &["anthropic-", "request-id"]),
    (Dialect::OpenAi, &["openai-", "x-ratelimit-", "x-request-id"]),
];

/// How the head of an answer changes for the client. `retry-after` stays: both read it.
#[must_use]
pub fn head(expected: &Expected, head: &AnswerHead<'_>, now: Timestamp) -> HeadEdits {
    if !expected.rewrites(head) {
        return HeadEdits::default();
    }
    let is_foreign = |dialect: Dialect| expected.is_translated() && dialect == expected.upstream;
    let own = OWN.iter().filter(|(dialect, _)| is_foreign(*dialect)).flat_map(|(_, names)| names.iter());
    let own: Vec<&&str> = own.chain(&["content-length", "content-encoding", "content-md5", "digest", "etag"]).collect();
    let is_own = |name: &str| {
        let name = name.to_ascii_lowercase();
        own.iter().any(|begins| name.starts_with(**begins))
    };
    let remove = head.headers.iter().map(|(name, _)| *name).filter(|name| is_own(name)).map(str::to_owned).collect();
    let kind =
        if head.is_stream() && !head.is_encoded() { "text/event-stream; charset=utf-8" } else { "application/json" };
    let mut set = vec![("content-type".to_owned(), kind.to_owned())];
    let said = if expected.is_error_of_cloud(head) { cloud::status(head) } else { head.status };
    let status = status(expected.client, said).or(Some(said)).filter(|status| *status != head.status);
    if !expected.is_translated() {
        return HeadEdits { status, remove, set };
    }
    let (from, to) = match expected.client {
        Dialect::OpenAi => ("request-id", "x-request-id"),
        Dialect::Anthropic => ("x-request-id", "request-id"),
    };
    set.extend(head.header(from).map(|id| (to.to_owned(), id.to_owned())));
    set.extend(LIMITS.iter().filter_map(|(anthropic, openai)| limit(expected.client, head, (anthropic, openai), now)));
    HeadEdits { status, remove, set }
}

fn limit(
    client: Dialect,
    head: &AnswerHead<'_>,
    (anthropic, openai): (&str, &str),
    now: Timestamp,
) -> Option<(String, String)> {
    let is_time = anthropic.ends_with("reset");
    match client {
        Dialect::OpenAi => {
            let value = head.header(anthropic)?;
            let value = if is_time { duration(Timestamp::parse(value)?.millis_since(now)) } else { value.to_owned() };
            Some((openai.to_owned(), value))
        }
        Dialect::Anthropic => {
            let value = head.header(openai)?;
            let value = if is_time { now.plus_millis(millis(value)?).to_string() } else { value.to_owned() };
            Some((anthropic.to_owned(), value))
        }
    }
}

/// Anthropic says 529 where OpenAI says 503: overloaded.
fn status(client: Dialect, status: u16) -> Option<u16> {
    match (client, status) {
        (Dialect::OpenAi, 529) => Some(503),
        (Dialect::Anthropic, 503) => Some(529),
        _ => None,
    }
}

/// A duration as OpenAI writes it: `6m0s`, `1s`, `20ms`.
fn duration(millis: u64) -> String {
    let (seconds, rest) = (millis / 1000, millis % 1000);
    match (seconds / 60, seconds % 60, rest) {
        (0, 0, rest) => format!("{rest}ms"),
        (0, seconds, 0) => format!("{seconds}s"),
        (0, seconds, rest) => format!("{seconds}.{rest:03}s"),
        (minutes, seconds, 0) => format!("{minutes}m{seconds}s"),
        (minutes, seconds, rest) => format!("{minutes}m{seconds}.{rest:03}s"),
    }
}

/// Reads such a duration, in milliseconds.
fn millis(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let whole: u64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let mut thousandths = 0;
        if let Some(behind) = rest.strip_prefix('.') {
            let digits = behind.find(|letter: char| !letter.is_ascii_digit())?;
            thousandths = format!("{:0<3.3}", behind.get(..digits)?).parse().ok()?;
            rest = behind.get(digits..)?;
        }
        let letters = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        let unit: u64 = match rest.get(..letters)? {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        rest = rest.get(letters..)?;
        let part = whole.checked_mul(unit)?.checked_add(u64::checked_mul(thousandths, unit)? / 1000)?;
        sum = sum.checked_add(part)?;
    }
    Some(sum).filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn edits(client: Dialect, status: u16, headers: &[(&str, &str)]) -> HeadEdits {
        let upstream = if client == Dialect::OpenAi { Dialect::Anthropic } else { Dialect::OpenAi };
        let expected = Expected { upstream, ..Expected::same(client) };
        head(&expected, &AnswerHead { status, headers }, Timestamp::from_secs(1_800_000_000))
    }

    fn set<'e>(edits: &'e HeadEdits, name: &str) -> Option<&'e str> {
        edits.set.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn the_limits_of_anthropic_are_told_in_openais_words() {
        let edits = edits(
            Dialect::OpenAi,
            200,
            &[
                ("Content-Type", "application/json"),
                ("Content-Length", "77"),
                ("anthropic-ratelimit-requests-limit", "50"),
                ("anthropic-ratelimit-requests-reset", "2027-01-15T08:01:30Z"),
                ("anthropic-ratelimit-input-tokens-limit", "9"),
                ("request-id", "req_1"),
                ("retry-after", "3"),
            ],
        );
        assert_eq!(set(&edits, "x-ratelimit-limit-requests"), Some("50"));
        assert_eq!(set(&edits, "x-ratelimit-reset-requests"), Some("1m30s"));
        assert_eq!(set(&edits, "x-request-id"), Some("req_1"));
        assert_eq!(edits.remove.len(), 5, "{:?}", edits.remove);
        assert!(!edits.remove.contains(&"retry-after".to_owned()));
    }

    #[test]
    fn the_limits_of_openai_are_told_in_anthropics_words() {
        let headers = [("x-ratelimit-remaining-tokens", "149984"), ("x-ratelimit-reset-tokens", "6m0.5s")];
        let edits = edits(Dialect::Anthropic, 503, &headers);
        assert_eq!(set(&edits, "anthropic-ratelimit-tokens-remaining"), Some("149984"));
        assert_eq!(set(&edits, "anthropic-ratelimit-tokens-reset"), Some("2027-01-15T08:06:00.500Z"));
        assert_eq!((edits.status, edits.remove.len()), (Some(529), 2));
    }

    #[test]
    fn a_duration_that_is_none_is_left_out() {
        for text in ["", "soon", "5", "1.5", "1x", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(millis(text), None, "{text}");
        }
        assert_eq!(millis("1h2m3.5s"), Some(3_723_500));
        assert_eq!(
            (millis("20ms"), duration(20), duration(61_007)),
            (Some(20), "20ms".to_owned(), "1m1.007s".to_owned())
        );
    }

    #[test]
    fn an_answer_in_the_clients_dialect_stays() {
        let expected = Expected::same(Dialect::OpenAi);
        let found = head(&expected, &AnswerHead { status: 200, headers: &[("request-id", "r")] }, Timestamp::default());
        assert_eq!(found, HeadEdits::default());
    }
}
