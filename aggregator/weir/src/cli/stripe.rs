//! `weir stripe setup` and `weir stripe status`.
use anyhow::Context;

use super::access::{self, Access};
use super::render::{json, table};
use super::show::remedy;
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::config::{Config, StripeConfig};
use weir_billing::outbox::view::OutboxRow;
use weir_billing::pace::Pacer;
use weir_stripe::StripeSink;
use weir_stripe::setup::{self, MeterState, SetupRequest, SetupView};
use weir_stripe::status::{self, StatusView};
use weir_tenants::Directory;

/// Stripe as configured.
pub(super) fn sink(config: &Config, stripe: &StripeConfig) -> anyhow::Result<StripeSink> {
    let sink = StripeSink::new(&stripe.url, &config.stripe_key(stripe)?, stripe.account.as_deref())?;
    Ok(sink.paced(Pacer::new(access::clock()), stripe.pace.calls_per_second))
}

pub(super) fn setup(config: &Config, apply: bool, as_json: bool) -> anyhow::Result<u8> {
    let stripe =
        config.stripe.as_ref().context("there is no `stripe` in the configuration, so there is nothing to set up")?;
    let request = SetupRequest { apply };
    let view: SetupView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.post("/v1/stripe/setup", &request).await?,
            Access::Here(store) => {
                let sink = sink(config, stripe)?;
                let directory = Directory::open(config.tenants.clone())?;
                let names = stripe.event_names.values().cloned().collect();
                setup::run(&sink, &store.ledger, &names, directory.current().customers(), request).await?
            }
        })
    })?;
    if as_json {
        json(&view)?;
    } else {
        print_setup(&view);
    }
    Ok(if view.needs_work() { EXIT_ATTENTION } else { EXIT_DONE })
}

fn print_setup(view: &SetupView) {
    println!("{}", view.account);
    for (name, state) in &view.meters {
        match state {
            MeterState::Good { id } => println!("meter {name}: good ({id})"),
            MeterState::Missing => {
                println!("meter {name}: missing; --apply makes it: the sum of its events, by customer");
            }
            MeterState::Created { id } => println!("meter {name}: made ({id})"),
            MeterState::Wrong { id, problem } => println!("meter {name}: not usable ({id}): {problem}"),
        }
    }
    println!("{} active subscriptions looked at, billing periods of {} tenants noted", view.subscriptions, view.noted);
    if view.unaligned.is_empty() {
        println!("none of a tenant's customer begins its periods in the middle of an hour");
        return;
    }
    println!(
        "These begin their periods in the middle of an hour; hours are split there once that is noted (--apply), or the \
         tenants file says so (billing_anchor):"
    );
    let mut rows = table(&["subscription", "customer", "billing_anchor", "billing_interval"]);
    for unaligned in &view.unaligned {
        let interval = match unaligned.interval_count {
            1 => unaligned.interval.clone(),
            count => format!("{count} × {}: not supported", unaligned.interval),
        };
        rows.add_row([
            unaligned.subscription.clone(),
            unaligned.customer.clone(),
            unaligned.anchor.to_string(),
            interval,
        ]);
    }
    println!("{rows}");
}

pub(super) fn show_status(config: &Config, as_json: bool) -> anyhow::Result<u8> {
    let view: StatusView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/stripe", &()).await?,
            Access::Here(store) => {
                store.catch_up().await?;
                let billed = config.stripe.as_ref().map(|stripe| stripe.event_names.clone()).unwrap_or_default();
                status::read(store.reader()?.db(), access::clock().now(), true, &billed)?
            }
        })
    })?;
    if as_json {
        json(&view)?;
    } else {
        print_status(&view);
    }
    Ok(if view.needs_a_person() { EXIT_ATTENTION } else { EXIT_DONE })
}

fn print_status(view: &StatusView) {
    let billing = &view.billing;
    println!(
        "rows reported {}, pending {} ({} in flight), held {}",
        billing.reported, billing.pending, view.in_flight, billing.held
    );
    match billing.oldest_open {
        Some(oldest) => println!("oldest window that waits for Stripe: {oldest}, {} s ago", view.lag_seconds),
        None => println!("nothing waits for Stripe but what is held"),
    }
    match &view.reconciliation {
        Some(last) => {
            let causes: Vec<String> =
                last.by_cause.iter().map(|(why, hours)| format!("{} {hours}", why.as_str())).collect();
            let causes = if causes.is_empty() { "no difference".to_owned() } else { causes.join(", ") };
            println!("last compared with Stripe {}: {} hours, {causes}", last.at, last.windows);
        }
        None => println!("never compared with Stripe: run weir reconcile"),
    }
    print_held(view);
    print_errors(view);
    if !billing.rows.is_empty() {
        let mut rows =
            table(&["window", "tenant", "meter", "#rev", "#value", "state", "made", "#attempts", "why", "what to do"]);
        billing.rows.iter().for_each(|row| {
            rows.add_row(outbox_row(row));
        });
        println!("\n{rows}");
    }
}

fn print_held(view: &StatusView) {
    if view.held_for.is_empty() {
        return;
    }
    let mut held = table(&["held for", "#rows", "since", "what to do"]);
    for rows in &view.held_for {
        held.add_row([rows.reason.clone(), rows.rows.to_string(), rows.since.to_string(), rows.remedy.clone()]);
    }
    println!("\n{held}");
}

fn print_errors(view: &StatusView) {
    if view.errors.is_empty() {
        return;
    }
    let mut errors = table(&["Stripe found wrong later", "code", "#events", "first told", "last told", "in its words"]);
    for error in &view.errors {
        let meter = if error.event_name.is_empty() { "(no meter of that name)" } else { &error.event_name };
        errors.add_row([
            meter.to_owned(),
            error.code.clone(),
            error.errors.to_string(),
            error.first_at.to_string(),
            error.last_at.to_string(),
            error.message.clone(),
        ]);
    }
    println!("\n{errors}");
}

fn outbox_row(row: &OutboxRow) -> [String; 10] {
    let why = [row.reason.as_deref(), row.detail.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ");
    [
        row.window.to_string(),
        row.tenant.clone(),
        row.meter.clone(),
        row.revision.to_string(),
        row.value.to_string(),
        row.state.clone(),
        row.created_at.to_string(),
        row.attempts.to_string(),
        why,
        row.reason.as_deref().map(remedy).unwrap_or("the next report sends it").to_owned(),
    ]
}
