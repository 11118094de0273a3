//! `weir reconcile`.
use anyhow::Context;

use super::access::{self, Access};
use super::render::{json, say, table};
use super::stripe::sink;
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::config::Config;
use crate::reporting::{customers, scope};
use crate::store::Store;
use weir_billing::reconcile::{self, Difference, ReconcileRequest, ReconcileView, record};

pub(super) fn run(config: &Config, request: &ReconcileRequest, as_json: bool) -> anyhow::Result<u8> {
    let view: ReconcileView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.post("/v1/reconcile", request).await?,
            Access::Here(store) => here(config, &store, request).await?,
        })
    })?;
    if as_json {
        json(&view)?;
    } else {
        print(&view);
    }
    Ok(if view.attention { EXIT_ATTENTION } else { EXIT_DONE })
}

async fn here(config: &Config, store: &Store, request: &ReconcileRequest) -> anyhow::Result<ReconcileView> {
    let stripe =
        config.stripe.as_ref().context("there is no `stripe` in the configuration, so there is nobody to ask")?;
    let sink = sink(config, stripe)?;
    let directory = config.directory(access::clock().now())?;
    store.catch_up().await?;
    let scope = reconcile::Scope { customers: customers(&directory), ..scope(config, stripe, &sink) };
    let view = reconcile::run(&sink, store.home.ledger(), &scope, request, &*access::clock()).await?;
    if request.customer.is_none() {
        let noted = view.clone();
        store.ledger.call(move |ledger| record::write(ledger.db(), &noted)).await?;
    }
    Ok(view)
}

fn print(view: &ReconcileView) {
    say!(
        "{}: {} hours of {} customers' meters compared, {} to {}",
        view.account,
        view.windows,
        view.series,
        view.from,
        view.to
    );
    if view.differences.is_empty() {
        say!("no difference");
        return;
    }
    let mut rows = table(&["customer", "tenant", "meter", "hour", "#ours", "#Stripe's", "#difference", "why"]);
    for difference in &view.differences {
        rows.add_row(row(difference));
    }
    say!("\n{rows}");
    for (why, hours) in &view.by_cause {
        let needs = if why.needs_a_person() { "needs a person" } else { "on its way" };
        say!("{}: {hours} ({needs})", why.as_str());
    }
}

fn row(difference: &Difference) -> [String; 8] {
    let why = |cause: &weir_billing::reconcile::compare::CauseAmount| {
        let detail = cause.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
        format!("{}{detail} {:+}", cause.why.as_str(), cause.value)
    };
    let tenants: Vec<&str> = difference.tenants.iter().map(String::as_str).collect();
    [
        difference.customer.clone().unwrap_or_else(|| "(none)".to_owned()),
        tenants.join(" "),
        difference.event_name.clone(),
        difference.hour.map_or_else(|| "(all)".to_owned(), |hour| hour.to_string()),
        difference.ours.to_string(),
        difference.theirs.map_or_else(|| "-".to_owned(), |theirs| theirs.to_string()),
        difference.theirs.map_or_else(String::new, |theirs| (theirs - difference.ours).to_string()),
        difference.causes.iter().map(why).collect::<Vec<_>>().join("; "),
    ]
}
