//! What pools and hard budgets of cost make of a choice.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// The account of each provider has a pool.
fn pooled(mode: &str) -> Gateway {
    let pool = json!({"requests": {"rate": "100/s"}});
    let more = json!({
        "leases": {"cluster": "weir", "authority": "weir", "token": "t"},
        "pools": {"account-one": pool, "account-two": pool},
        "providers": [{"name": "one", "dialect": "anthropic", "pool": "account-one"},
                      {"name": "two", "dialect": "openai", "region": "eu", "pool": "account-two"}],
    });
    Gateway::with(mode, "p", &json!([]), &more)
}

#[test]
fn where_a_providers_pool_is_saturated_the_next_candidate_is_chosen() {
    let mut gateway = pooled("enforce");
    assert_eq!(lead(&gateway.chat("auto").expect("sent")).0, Some("one.two"));
    assert_eq!(gateway.limiter.drawn.get("pool*account-one*"), Some(&1));
    assert_eq!(gateway.limiter.drawn.get("pool*account-two*"), None);
    gateway.limiter.saturated = vec![("account-one", 4_000)];
    assert_eq!(lead(&gateway.chat("auto").expect("sent")).0, Some("two"));
    assert_eq!(gateway.limiter.drawn.get("pool*account-two*"), Some(&1));
    assert!(matches!(gateway.chat("large"), Err(Refusal::PoolSaturated(standing)) if standing.wait_ms == 4_000));
}

#[test]
fn where_every_pool_is_saturated_the_shortest_wait_is_told() {
    let mut gateway = pooled("enforce");
    gateway.limiter.saturated = vec![("account-one", 4_000), ("account-two", 3_000)];
    assert!(matches!(gateway.chat("auto"), Err(Refusal::PoolSaturated(standing)) if standing.wait_ms == 3_000));
    gateway.fail_one();
    assert!(gateway.chat("auto").is_err());
    assert_eq!(gateway.breakers(), (0, 1), "a provider without room is not probed");
}

#[test]
fn a_request_that_its_plan_refuses_draws_nothing_from_the_pool() {
    let mut gateway = pooled("enforce");
    gateway.limiter.limits = true;
    assert!(matches!(gateway.chat("auto"), Err(Refusal::RateLimited(_))));
    assert_eq!(gateway.limiter.drawn.get("pool*account-one*"), Some(&0), "{:?}", gateway.limiter.drawn);
}

#[test]
fn a_pool_is_reserved_as_many_tokens_as_the_plan_reserves() {
    let more = json!({
        "leases": {"cluster": "weir", "authority": "weir", "token": "t"},
        "pools": {"account-two": {"tokens": {"rate": "1000000/s"}}},
        "providers": [{"name": "one", "dialect": "anthropic"},
                      {"name": "two", "dialect": "openai", "region": "eu", "pool": "account-two"}],
    });
    let mut gateway = Gateway::with("enforce", "p", &json!([]), &more);
    gateway.head(CHAT);
    let body = json!({"model": "mini", "max_tokens": 900, "n": 7, "messages": [{"role": "user", "content": "Hi"}]});
    let body = body.to_string();
    gateway.request.body(&mut gateway.worker, &mut gateway.limiter, Ok(body.as_bytes()), NOW).expect("awaited");
    let reserved: Vec<u64> = gateway.limiter.tokens.iter().map(|(_, tokens)| *tokens).collect();
    assert!(reserved.len() == 2 && reserved[0] == reserved[1] && reserved[0] > 7 * 900, "{:?}", gateway.limiter.tokens);
}

#[test]
fn a_gateway_that_observes_sends_where_it_would_without_pools() {
    let mut gateway = pooled("observe");
    gateway.limiter.saturated = vec![("account-one", 4_000)];
    assert_eq!(lead(&gateway.chat("auto").expect("sent")).0, Some("one.two"));
}

/// Weir serve tells of a hard budget of cost in that currency.
fn budgeted(mode: &str, currency: &str) -> Gateway {
    let more = json!({
        "directory": {"cluster": "weir", "token": "t"}, "tenants": [],
        "models": [model("large", "one", 3_000_000), model("mini", "two", 15_000_000)],
    });
    let mut gateway = Gateway::with(mode, "p", &json!([]), &more);
    let budget = json!({"budget": "money", "of": "cost", "amount": 25_500_000, "currency": currency, "starts": NOW.to_string(),
                        "ends": NOW.plus_millis(86_400_000).to_string()});
    let keys = json!([{"id": "k1", "sha256": KeyHash::of(b"sk_acme")}]);
    let page =
        json!({"version": "v", "tenants": [{"id": "acme", "plan": "p", "keys": keys, "hard_budgets": [budget]}]});
    gateway.state.next_fetch(NOW).expect("it asks for the directory");
    let body = page.to_string();
    let answer = Fetched::Answer { status: 200, etag: None, cache_control: None, body: body.as_bytes() };
    gateway.state.answered(Target::Directory, &answer, NOW).expect("taken");
    (0..10).find_map(|_| gateway.state.step(NOW)).expect("a state");
    gateway
}

#[test]
fn a_hard_budget_of_cost_reserves_the_dearest_of_the_chain_and_counts_what_served() {
    let mut gateway = budgeted("enforce", "USD");
    assert_eq!(lead(&gateway.chat("auto").expect("sent")).0, Some("one.two"));
    let (record, reserved) = gateway.limiter.reserved.pop().expect("drawn from the budget");
    assert!(record.starts_with("budget*acme*"), "{record}");
    // 1,024 tokens of output and some of input, at 15 for a million.
    assert!((15 * 1_024..15 * 1_100).contains(&reserved), "{reserved}");
    let head: [Pair<'_>; 3] =
        [(b":status", b"200"), (b"content-type", b"application/json"), (b"x-weir-served", b"one;large;1")];
    gateway.request.response_head(&head, false, || NOW);
    let answer = json!({"object": "chat.completion", "model": "large", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}});
    gateway.request.response_body(answer.to_string().as_bytes(), true, || NOW);
    gateway.request.end(&mut gateway.worker, &mut gateway.limiter, &EndFacts::default(), NOW).expect("an event");
    assert_eq!(gateway.limiter.used, [(record, 3_300)], "at 3 for a million");
}

#[test]
fn what_no_model_of_the_catalogue_serves_has_no_price_under_a_hard_budget_of_cost() {
    let mut gateway = budgeted("enforce", "USD");
    assert_eq!(gateway.chat("unheard-of"), Err(Refusal::NoModelFits));
    assert!(gateway.limiter.drawn.values().all(|drawn| *drawn == 0), "{:?}", gateway.limiter.drawn);
    assert!(!matches!(gateway.head("/orders").0, Decided::Refused(_)));
    let order = gateway.request.body(&mut gateway.worker, &mut gateway.limiter, Ok(br#"{"item": 7}"#), NOW);
    assert!(matches!(order, Some((_, BodyAction::Forward(..)))), "no model's: {order:?}");
    assert_eq!(budgeted("enforce", "EUR").chat("auto"), Err(Refusal::NoModelFits), "prices are in USD");
    assert!(budgeted("observe", "EUR").chat("auto").is_ok());
}
