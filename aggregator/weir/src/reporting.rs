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

/// The error where no reporting is configured.
pub(crate) const NO_STRIPE: &str = "there is no `stripe` in the configuration, so there is nobody to report to";

/// Why reporting is not possible.
#[derive(Debug, thiserror::Error)]
pub enum ReportingError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Stripe cannot be set up.
    #[error(transparent)]
    Stripe(#[from] StripeError),
}

/// The tenants file's settings for billing.
pub fn tenants(directory: &Directory) -> Tenants {
    let snapshot = directory.current();
    Tenants {
        customers: snapshot.customers().clone(),
        anchors: snapshot.anchors().clone(),
        ids: snapshot.ids().clone(),
    }
}

/// The reporter to Stripe under `config`; None if Stripe is not configured.
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
    let file = store.home.ledger_identity()?;
    Ok(Some(Reporter::new(store.ledger.clone(), file, sink, policy, pace, clock)))
}

/// The scope of a comparison under `config`; [`customers`] adds customers.
pub fn scope(config: &Config, stripe: &StripeConfig, sink: &StripeSink) -> reconcile::Scope {
    reconcile::Scope {
        account: sink.account().clone(),
        event_names: stripe.event_names.clone(),
        customers: BTreeSet::new(),
        grace_ms: config.grace_ms,
        concurrency: stripe.pace.concurrency,
    }
}

/// The customers of all tenants.
pub fn customers(directory: &Directory) -> BTreeSet<String> {
    directory.current().customers().values().cloned().collect()
}
