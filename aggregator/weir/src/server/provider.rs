//! The way to the billing provider, for what asks it and what it tells.
use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::App;
use super::error::ApiError;
use crate::config::{Config, StripeConfig};
use crate::reporting::{ReportingError, scope};
use weir_billing::pace::Pacer;
use weir_billing::reconcile;
use weir_settings::secret::Secret;
use weir_stripe::StripeSink;

/// What answers for what was billed.
#[derive(Debug)]
pub struct ProviderAccess {
    pub(super) sink: StripeSink,
    pub(super) scope: reconcile::Scope,
    pub(super) secrets: Vec<Secret>,
    /// One comparison at a time: each asks thousands of questions.
    pub(super) comparing: Mutex<()>,
    /// What was last logged of billing periods.
    pub(super) told: std::sync::Mutex<Option<String>>,
}

impl ProviderAccess {
    /// As `config` says; what is asked is paced by `pacer` with what is reported.
    pub fn new(config: &Config, stripe: &StripeConfig, pacer: Arc<Pacer>) -> Result<Self, ReportingError> {
        let sink = StripeSink::new(&stripe.url, &config.stripe_key(stripe)?, stripe.account.as_deref())?
            .paced(pacer, stripe.pace.calls_per_second);
        Ok(ProviderAccess {
            scope: scope(config, stripe, &sink),
            secrets: config.webhook_secrets(stripe)?,
            sink,
            comparing: Mutex::default(),
            told: std::sync::Mutex::default(),
        })
    }

    /// Stripe's names of the meters that are reported.
    pub(super) fn event_names(&self) -> BTreeSet<String> {
        self.scope.event_names.values().cloned().collect()
    }
}

/// What answers, if there is a provider.
pub(super) fn configured(app: &App) -> Result<&ProviderAccess, ApiError> {
    let missing = "there is no `stripe` in the configuration, so there is nobody to ask";
    app.0.provider.as_ref().ok_or(ApiError::NotConfigured(missing))
}
