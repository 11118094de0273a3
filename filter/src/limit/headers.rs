//! What clients are told about their limits.
//!
//! `RateLimit` and `RateLimit-Policy` are those of draft-ietf-httpapi-ratelimit-headers-10: one item for each limit,
//! `q` its size, `w` the seconds in which it refills from nothing, `r` what is left, `t` the seconds until it is full
//! again or, on a refusal, until the request would be admitted.
use weir_config::shape::LimitHeaders;
use weir_contract::Timestamp;

use super::{Limit, Standing, Unit};
use crate::api::Api;

/// A header's name and value.
pub type Header = (&'static str, String);

/// The headers for an answer with these standings.
pub fn headers(settings: LimitHeaders, api: Api, known: &[(&Limit, Standing)], now: Timestamp) -> Vec<Header> {
    if known.is_empty() {
        return Vec::new();
    }
    let list = |item: fn(&Limit, &Standing) -> String| {
        known.iter().map(|(limit, standing)| item(limit, standing)).collect::<Vec<_>>().join(", ")
    };
    let mut headers = vec![("ratelimit-policy", list(policy)), ("ratelimit", list(state))];
    if settings.x_ratelimit
        && let Some((_, emptiest)) = known.iter().min_by_key(|(_, standing)| (standing.remaining, standing.capacity))
    {
        headers.push(("x-ratelimit-limit", emptiest.capacity.to_string()));
        headers.push(("x-ratelimit-remaining", emptiest.remaining.to_string()));
        headers.push(("x-ratelimit-reset", secs(emptiest.wait_ms).to_string()));
    }
    if settings.vendor {
        for unit in [Unit::Requests, Unit::Tokens] {
            let own = known.iter().find(|(limit, _)| *limit.name == *unit.as_str());
            headers.extend(own.into_iter().flat_map(|(_, standing)| vendor(api, standing, now)).flatten());
        }
    }
    headers
}

fn policy(limit: &Limit, _: &Standing) -> String {
    let bucket = limit.bucket;
    if let Some(term) = limit.term() {
        let item = format!("\"{}\";q={}", term.budget, bucket.capacity());
        let window = |ends: Timestamp| format!("{item};w={}", ends.millis_since(term.starts) / 1_000);
        return term.ends.map_or(item.clone(), window);
    }
    let window_ms = u128::from(bucket.capacity()) * u128::from(bucket.period_ms()) / u128::from(bucket.refill().max(1));
    format!("\"{}\";q={};w={}", limit.name, bucket.capacity(), window_ms.div_ceil(1_000).max(1))
}

fn state(limit: &Limit, standing: &Standing) -> String {
    if limit.term().is_some_and(|term| term.ends.is_none()) {
        return format!("\"{}\";r={}", limit.label(), standing.remaining);
    }
    format!("\"{}\";r={};t={}", limit.label(), standing.remaining, secs(standing.wait_ms))
}

fn secs(wait_ms: u64) -> u64 {
    wait_ms.div_ceil(1_000)
}

/// <https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers>,
/// <https://docs.anthropic.com/en/api/rate-limits#response-headers>
fn vendor(api: Api, standing: &Standing, now: Timestamp) -> Option<[Header; 3]> {
    let (limit, remaining) = (standing.capacity.to_string(), standing.remaining.to_string());
    let reset = Timestamp::from_millis(now.as_millis().saturating_add(standing.wait_ms));
    Some(match (api, standing.unit) {
        (Api::OpenAi, Unit::Requests) => [
            ("x-ratelimit-limit-requests", limit),
            ("x-ratelimit-remaining-requests", remaining),
            ("x-ratelimit-reset-requests", go_duration(standing.wait_ms)),
        ],
        (Api::OpenAi, Unit::Tokens) => [
            ("x-ratelimit-limit-tokens", limit),
            ("x-ratelimit-remaining-tokens", remaining),
            ("x-ratelimit-reset-tokens", go_duration(standing.wait_ms)),
        ],
        (Api::Anthropic, Unit::Requests) => [
            ("anthropic-ratelimit-requests-limit", limit),
            ("anthropic-ratelimit-requests-remaining", remaining),
            ("anthropic-ratelimit-requests-reset", reset.to_string()),
        ],
        (Api::Anthropic, Unit::Tokens) => [
            ("anthropic-ratelimit-tokens-limit", limit),
            ("anthropic-ratelimit-tokens-remaining", remaining),
            ("anthropic-ratelimit-tokens-reset", reset.to_string()),
        ],
        (Api::Gemini | Api::Other, _) | (_, Unit::Cost) => return None,
    })
}

/// A span as Go and OpenAI write it: `20ms`, `1s`, `6m0s`.
fn go_duration(ms: u64) -> String {
    match (ms, ms.div_ceil(1_000)) {
        (0..1_000, _) => format!("{ms}ms"),
        (_, secs) if secs < 60 => format!("{secs}s"),
        (_, secs) => format!("{}m{}s", secs / 60, secs % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use serde_json::json;

    fn told(api: Api, settings: LimitHeaders) -> Vec<Header> {
        let plan = json!({"requests": {"rate": "60/min", "capacity": 90}, "tokens": {"rate": "1000/s"}});
        let plan = Plan::compile("p", serde_json::from_value(plan).expect("a shape")).expect("a plan");
        let standing =
            |limit, unit, capacity, wait_ms| Standing { limit, unit, capacity, remaining: 7, wait_ms, ..Standing::ANY };
        let standings = [standing(0, Unit::Requests, 90, 83_000), standing(1, Unit::Tokens, 1_000, 993)];
        let known: Vec<_> = plan.limits.iter().zip(standings).collect();
        headers(settings, api, &known, Timestamp::from_secs(1_800_000_000))
    }

    #[test]
    fn the_drafts_headers_name_every_limit() {
        let expected = [
            ("ratelimit-policy", r#""requests";q=90;w=90, "tokens";q=1000;w=1"#.to_owned()),
            ("ratelimit", r#""requests";r=7;t=83, "tokens";r=7;t=1"#.to_owned()),
        ];
        assert_eq!(told(Api::OpenAi, LimitHeaders::default()), expected);
    }

    #[test]
    fn sdks_find_the_headers_of_their_own_provider() {
        let vendor = LimitHeaders { vendor: true, x_ratelimit: true, ..LimitHeaders::default() };
        let has = |api, name: &str, value: &str| told(api, vendor).contains(&(leak(name), value.to_owned()));
        assert!(has(Api::OpenAi, "x-ratelimit-remaining-requests", "7"));
        assert!(has(Api::OpenAi, "x-ratelimit-reset-requests", "1m23s"));
        assert!(has(Api::OpenAi, "x-ratelimit-reset-tokens", "993ms"));
        assert!(has(Api::Anthropic, "anthropic-ratelimit-requests-reset", "2027-01-15T08:01:23.000Z"));
        assert!(has(Api::Other, "x-ratelimit-limit", "90"));
    }

    fn leak(text: &str) -> &'static str {
        text.to_owned().leak()
    }
}
