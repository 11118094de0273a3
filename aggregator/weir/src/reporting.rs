//! Puts a reporter together from configuration, tenants and data directory, for server and commands.
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::{Config, ConfigError, StripeApi, StripeConfig};
use crate::store::{Store, StoreError};
use weir_billing::BillingSink;
use weir_billing::outbox::policy::BillingPolicy;
use weir_billing::outbox::report::{Reporter, Tenants};
use weir_billing::reconcile;
use weir_clock::Clock;
use weir_stripe::{StripeError, StripeSink};
use weir_tenants::Directory;

/// What is said where nothing can be reported.
pub const NO_STRIPE: &str = "there is no `stripe` in the configuration, so there is nobody to report to";

/// Why nothing can be reported.
#[derive(Debug, thiserror::Error)]
pub enum ReportingError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Stripe.
    #[error(transparent)]
    Stripe(#[from] StripeError),
}

/// What the tenants file says of billing.
pub fn tenants(directory: &Directory) -> Tenants {
    let snapshot = directory.current();
    Tenants {
        customers: snapshot.customers().clone(),
        anchors: snapshot.anchors().clone(),
        ids: snapshot.ids().clone(),
    }
}

/// What reports to Stripe under `config`, if it says so.
pub fn reporter(
    config: &Config,
    store: &Store,
    clock: Arc<dyn Clock>,
) -> Result<Option<Reporter<StripeSink>>, ReportingError> {
    let Some(stripe) = &config.stripe else { return Ok(None) };
    let key = config.stripe_key(stripe)?;
    let sink = StripeSink::new(&stripe.url, &key, stripe.account.as_deref())?;
    let (sink, pace) = match stripe.api {
        StripeApi::V1 => (sink, stripe.pace),
        StripeApi::V2 => (sink.streaming(&stripe.stream_url, Arc::clone(&clock)), stripe.pace.streamed()),
    };
    let policy = BillingPolicy {
        ledger: store.ledger_id.clone(),
        account: sink.account().clone(),
        event_names: stripe.event_names.clone(),
        grace_ms: config.grace_ms,
        invoice_delay_ms: stripe.invoice_delay_ms,
        late: stripe.late,
        epoch: 0,
    };
    let file = store.home.ledger_file()?;
    Ok(Some(Reporter::new(store.ledger.clone(), file, sink, policy, pace, clock)))
}

/// What is compared under `config`; customers are added by [`customers`].
pub fn scope(config: &Config, stripe: &StripeConfig, sink: &StripeSink) -> reconcile::Scope {
    reconcile::Scope {
        account: sink.account().clone(),
        event_names: stripe.event_names.clone(),
        customers: BTreeSet::new(),
        grace_ms: config.grace_ms,
        concurrency: stripe.pace.concurrency,
    }
}

/// Every customer of the tenants.
pub fn customers(directory: &Directory) -> BTreeSet<String> {
    directory.current().customers().values().cloned().collect()
}
