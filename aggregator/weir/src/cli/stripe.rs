//! `weir stripe`: setting up, how the reporting stands, settling by hand.
use anyhow::Context;

use super::access::{self, Access};
use super::render::{json, say, table};
use super::show::remedy;
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::config::{Config, StripeConfig};
use crate::finance::stripe_prices::{self, StripePricesView};
use weir_billing::outbox::settle;
use weir_billing::outbox::view::{OutboxRow, SettleRequest, SettledRow};
use weir_billing::pace::Pacer;
use weir_stripe::StripeSink;
use weir_stripe::setup::{self, MeterState, SetupRequest, SetupTenants, SetupView};
use weir_stripe::status::{self, StatusView};
use weir_stripe::subscriptions::Undecided;
use weir_stripe::webhook::reports::{self, SeenRequest, SeenView, UnreadReport};

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
                let directory = config.directory(access::clock().now())?;
                let names = stripe.event_names.values().cloned().collect();
                let snapshot = directory.current();
                let tenants = SetupTenants { customers: snapshot.customers(), anchors: snapshot.anchors() };
                setup::run(&sink, &store.ledger, &names, tenants, request, access::clock().now()).await?
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

pub(super) fn prices(config: &Config, as_json: bool) -> anyhow::Result<u8> {
    let stripe = config
        .stripe
        .as_ref()
        .context("there is no `stripe` in the configuration, so there is nothing to compare with")?;
    let view: StripePricesView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.post("/v1/stripe/prices", &()).await?,
            Access::Here(_) => {
                let names = stripe.event_names.values().cloned().collect();
                let prices = sink(config, stripe)?.prices(&names).await?;
                stripe_prices::compare(&config.finances.plans, &stripe.event_names, &prices, access::clock().now())
            }
        })
    })?;
    if as_json {
        json(&view)?;
    } else {
        let mut rows = table(&["plan", "of", "state", "price", "detail"]);
        for row in &view.rows {
            let price = row.price.as_deref().unwrap_or_default();
            rows.add_row([&row.plan, &row.of, row.state.as_str(), price, &row.detail]);
        }
        say!("{rows}");
    }
    Ok(if view.needs_work() { EXIT_ATTENTION } else { EXIT_DONE })
}

fn print_setup(view: &SetupView) {
    say!("{}", view.account);
    for (name, state) in &view.meters {
        match state {
            MeterState::Good { id } => say!("meter {name}: good ({id})"),
            MeterState::Missing => {
                say!("meter {name}: missing; --apply makes it: the sum of its events, by customer");
            }
            MeterState::Created { id } => say!("meter {name}: made ({id})"),
            MeterState::Wrong { id, problem } => say!("meter {name}: not usable ({id}): {problem}"),
        }
    }
    say!("{} live subscriptions looked at, billing periods of {} tenants noted", view.subscriptions, view.noted);
    print_periods(view);
    if view.unaligned.is_empty() {
        say!("none of a tenant's customer begins its periods in the middle of an hour");
        return;
    }
    say!(
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
    say!("{rows}");
}

/// Tenants whose billing periods, or whose prices, a person has to see to.
fn print_periods(view: &SetupView) {
    for Undecided { tenant, customer, problem } in &view.undecided {
        say!("tenant {tenant} ({customer}): {problem}");
    }
    if !view.unpriced.is_empty() {
        say!(
            "no live subscription of their customer has a price with one of these meters, so their usage bills nobody: {}",
            view.unpriced.join(", ")
        );
    }
}

pub(super) fn settle(config: &Config, request: &SettleRequest, as_json: bool) -> anyhow::Result<u8> {
    let settled: Vec<SettledRow> = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.post("/v1/stripe/settle", request).await?,
            Access::Here(store) => {
                let (request, now) = (request.clone(), access::clock().now());
                let settle = move |db: &mut weir_database::Connection| {
                    settle::settle(db, &request, &access::somebody_here(), now)
                };
                store.ledger.call(move |ledger| ledger.durably(settle)).await?
            }
        })
    })?;
    if as_json {
        json(&settled)?;
    } else {
        for SettledRow { row, window, tenant, meter, value, reason } in &settled {
            let outcome = request.outcome.as_str();
            say!("row {row}: {tenant} {meter} {value} in {window}, held for {reason}: {outcome}");
        }
    }
    Ok(EXIT_DONE)
}

pub(super) fn seen(config: &Config, request: &SeenRequest, as_json: bool) -> anyhow::Result<u8> {
    let view: SeenView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.post("/v1/stripe/errors/seen", request).await?,
            Access::Here(store) => {
                let (why, now) = (request.why.clone(), access::clock().now());
                let seen = move |db: &mut weir_database::Connection| {
                    reports::acknowledge(db, &why, &access::somebody_here(), now)
                };
                store.ledger.call(move |ledger| ledger.durably(seen)).await?
            }
        })
    })?;
    if as_json {
        json(&view)?;
    } else {
        say!("acknowledged: {} errors, {} reports that could not be read", view.errors, view.reports);
    }
    Ok(EXIT_DONE)
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
    say!(
        "rows reported {}, pending {} ({} in flight), held {}, settled by hand {}",
        billing.reported,
        billing.pending,
        view.in_flight,
        billing.held,
        billing.settled
    );
    match billing.oldest_open {
        Some(oldest) => say!("oldest window that waits for Stripe: {oldest}, {} s ago", view.lag_seconds),
        None => say!("nothing waits for Stripe but what is held"),
    }
    match &view.reconciliation {
        Some(last) => {
            let causes: Vec<String> =
                last.by_cause.iter().map(|(why, hours)| format!("{} {hours}", why.as_str())).collect();
            let causes = if causes.is_empty() { "no difference".to_owned() } else { causes.join(", ") };
            say!("last compared with Stripe {}: {} hours, {causes}", last.at, last.windows);
        }
        None => say!("never compared with Stripe: run weir reconcile"),
    }
    if view.periods_undecided > 0 {
        say!("billing periods of {} tenants are undecided: weir stripe setup names them", view.periods_undecided);
    }
    print_held(view);
    print_errors(view);
    if !billing.rows.is_empty() {
        let mut rows = table(&[
            "#row",
            "window",
            "tenant",
            "meter",
            "#rev",
            "#value",
            "state",
            "made",
            "#attempts",
            "why",
            "what to do",
        ]);
        billing.rows.iter().for_each(|row| {
            rows.add_row(outbox_row(row));
        });
        say!("\n{rows}");
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
    say!("\n{held}");
}

fn print_errors(view: &StatusView) {
    for UnreadReport { id, at, detail } in &view.unread_reports {
        say!("could not be read of what Stripe tells: {id}, last tried {at}: {detail}");
    }
    if view.errors.is_empty() {
        return;
    }
    let mut errors =
        table(&["Stripe found wrong later", "code", "#events", "#new", "first told", "last told", "in its words"]);
    for error in &view.errors {
        let meter = if error.event_name.is_empty() { "(no meter of that name)" } else { &error.event_name };
        errors.add_row([
            meter.to_owned(),
            error.code.clone(),
            error.errors.to_string(),
            error.unseen.to_string(),
            error.first_at.to_string(),
            error.last_at.to_string(),
            error.message.clone(),
        ]);
    }
    say!("\n{errors}");
    if view.unseen_errors() > 0 {
        say!("once they are seen to: weir stripe seen --why …");
    }
}

fn outbox_row(row: &OutboxRow) -> [String; 11] {
    let why = [row.reason.as_deref(), row.detail.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ");
    [
        row.id.to_string(),
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
