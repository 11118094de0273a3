//! `make run`: everything up until Ctrl-C, and how to try it by hand.

use crate::credentials::Issuer;
use crate::settings;
use crate::stack::Stack;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use weir_rig::clock;

pub(crate) fn run() -> anyhow::Result<ExitCode> {
    println!("Starting ...");
    let stack = Stack::start()?;
    print!("{}", guide(&stack)?);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(stopped())?;
    println!("\nStopping ...");
    drop(stack);
    Ok(ExitCode::SUCCESS)
}

async fn stopped() -> std::io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn guide(stack: &Stack) -> anyhow::Result<String> {
    let (gateway, issuer) = (stack.envoy.url(), Issuer::new(clock::now())?);
    let (key, token, link) = (issuer.api_key("globex"), issuer.token("acme"), issuer.link("globex"));
    let weir = format!("{} --config {}", stack.aggregator.binary().display(), stack.aggregator.config_file().display());
    let (serve, admin, sign_in) = (stack.aggregator.url(), stack.envoy.admin(), settings::admin_token()?);
    let (stripe, secret) = (stack.stripe.url(), stack.stripe.stripe().account().secret_key.clone());
    let llm = stack.llm.url();
    let chat = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Why is the sky blue?"}]}"#;
    let message =
        r#"{"model":"claude-sonnet-4-5","max_tokens":64,"stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;
    let question = r#"{"model":"gpt-4o","input":"Why is the sky blue?"}"#;
    Ok(format!(
        r"
  gateway   {gateway}   Envoy with weir.wasm (its admin interface: http://{admin})
  weir      {serve}   weir serve
  provider  {llm}   stand-in for an LLM provider
  Stripe    {stripe}   stand-in for Stripe

Look at the dashboard, and sign in with the token {sign_in}

  {serve}/ui

Look at it as globex does, by a link that its page in your product would have (it opens once, within five minutes):

  {serve}{link}

Ask as globex (plan starter: 40 requests at once, then one a second) with an API key:

  curl -i {gateway}/v1/chat/completions -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \
    -d '{chat}'

Ask as acme (plan enterprise) with a token, streamed:

  curl -N {gateway}/v1/messages -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \
    -d '{message}'

Ask as nobody:

  curl -i {gateway}/v1/chat/completions -d '{chat}'

Ask with the credentials of two tenants at once, and see a minute later who tried it:

  curl -i {gateway}/v1/chat/completions -H 'Authorization: Bearer {key}' -H 'Authorization: Bearer {token}' -d '{chat}'
  {weir} audit security

Have globex's answer stored at the provider, whose account all tenants share; with its id, acme finds nothing (404):

  curl -s {gateway}/v1/responses -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \
    -d '{question}'
  curl -i {gateway}/v1/responses/ID -H 'Authorization: Bearer {token}'

What was used, and whether the books balance:

  {weir} usage
  {weir} ledger

What it cost, what it brings in, and what is left:

  {weir} margin
  {weir} margin --by model
  {weir} events list --tenant globex
  {weir} budgets list

Close the hour as if it were over, and see what Stripe holds:

  {weir} report --as-of now+2h
  {weir} stripe status
  curl -s -u {secret}: {stripe}/v1/billing/meters

Ctrl-C ends everything.
",
    ))
}
