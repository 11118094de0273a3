//! What failover costs a client: the same answers of one provider, asked for by name, behind one that fails, and behind an open
//! breaker.
use std::time::Duration;

use serde_json::json;
use weir_rig::load::{Call, Client};

use super::clients::key;
use super::provider::Mood;
use super::{Stack, second_of_first};
use crate::figures::Figures;

/// Failures in a row that open no breaker yet.
const BEFORE_IT_OPENS: usize = 4;

/// Prints the p50 of `rounds` times four requests of each kind, taken in turn, and how much longer than by name they take.
///
/// # Errors
/// When something does not start, or an answer is none.
pub async fn run(rounds: usize) -> anyhow::Result<Figures> {
    let stack = tokio::task::spawn_blocking(|| Stack::start(1)).await??;
    stack.providers.iter().for_each(|provider| provider.is(Mood::Well));
    let client = Client::new();
    // Each kind beside requests by name of the same seconds: how busy the machine is changes.
    let ([mut failing, mut by_name], [mut open, mut by_name_too]) =
        <([Vec<Duration>; 2], [Vec<Duration>; 2])>::default();
    for _ in 0..rounds {
        // A success in between keeps the breaker closed.
        stack.providers[0].is(Mood::Well);
        ask(&stack, &client, "first").await?;
        stack.providers[0].is(Mood::Down);
        for _ in 0..BEFORE_IT_OPENS {
            failing.push(ask(&stack, &client, "first").await?);
            by_name.push(ask(&stack, &client, second_of_first()).await?);
        }
    }
    anyhow::ensure!(stack.metric("weir_breakers_opened")? == 0, "a breaker opened while it was to stay closed");
    stack.providers[0].is(Mood::Away);
    ask(&stack, &client, "first").await?;
    anyhow::ensure!(stack.metric("weir_breakers_opened")? == 1, "the breaker does not open");
    let before = stack.providers[0].seen().len();
    for _ in 0..rounds * BEFORE_IT_OPENS {
        open.push(ask(&stack, &client, "first").await?);
        by_name_too.push(ask(&stack, &client, second_of_first()).await?);
    }
    anyhow::ensure!(
        stack.providers[0].seen().len() == before,
        "a request reached the provider behind its open breaker"
    );
    let mut figures = Figures::default();
    let kinds = [("behind a provider that fails", failing, by_name), ("behind an open breaker", open, by_name_too)];
    for (what, times, named) in kinds {
        let (time, base) = (p50(times), p50(named));
        figures.say(&format!("p50 {what}, in microseconds"), time.as_micros());
        figures.say("... of the same answers by name", base.as_micros());
        figures.say("... in per cent of these", time.as_micros() * 100 / base.as_micros().max(1));
    }
    Ok(figures)
}

/// The time until an answer of the second provider, or of the first where it serves, has come whole.
async fn ask(stack: &Stack, client: &Client, model: &str) -> anyhow::Result<Duration> {
    let messages = json!([{"role": "user", "content": "Please answer request 1."}]);
    let call = Call::post(
        format!("{}/v1/chat/completions", stack.envoy.url()),
        &json!({"model": model, "messages": messages}),
    );
    let reply = client.send(call.header("authorization", &format!("Bearer {}", key(0)))).await;
    anyhow::ensure!(reply.status == 200, "{}: {}", reply.status, reply.text());
    Ok(reply.duration)
}

fn p50(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
