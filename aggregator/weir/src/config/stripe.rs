//! The settings of `stripe`: reporting to Stripe.
use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_billing::outbox::policy::Late;
use weir_billing::outbox::report::Pace;
use weir_ledger::meters::Meters;
use weir_settings::duration::Millis;
use weir_settings::secret::{Secret, SecretSource};

use super::{Config, ConfigError};

/// Stripe.
pub(crate) const DEFAULT_STRIPE_URL: &str = "https://api.stripe.com";
/// The default address of Stripe's streams.
pub(crate) const DEFAULT_STREAM_URL: &str = "https://meter-events.stripe.com";
/// The most webhook secrets; every call is checked with each.
const WEBHOOK_SECRETS_MAX: usize = 8;
/// The default rate of calls to Stripe: a fortieth of the limit of a live account, and all of a sandbox's.
pub(crate) const DEFAULT_CALLS_PER_SECOND: u32 = 25;
/// Stripe's limit on meter events, per second.
const CALLS_PER_SECOND_MAX: u32 = 1_000;
/// The default number of calls under way: at 200 ms a call, enough for [`DEFAULT_CALLS_PER_SECOND`].
pub(crate) const DEFAULT_CONCURRENCY: u32 = 8;
/// The most calls under way at once.
const CONCURRENCY_MAX: u32 = 256;
/// Stripe's own default.
pub(crate) const DEFAULT_INVOICE_DELAY: Millis = Millis(60 * 60 * 1000);
/// The longest time that Stripe can keep an invoice open.
const INVOICE_DELAY_MAX: Millis = Millis(72 * 60 * 60 * 1000);

/// Reporting to Stripe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StripeFile {
    /// The key, `sk_…` or `rk_…`.
    pub secret_key: SecretSource,
    /// Stripe's address. Absent: `https://api.stripe.com`.
    pub url: Option<String>,
    /// The account's name, `acct_…`; part of every identifier.
    pub account: Option<String>,
    /// Stripe's `event_name` for each meter that is billed.
    pub meters: BTreeMap<String, String>,
    /// How often the server reports, at least `1s`. Absent: only on `weir report`.
    pub report_every: Option<Millis>,
    /// How to treat usage after its invoice is final: `hold` it for a person, or bill it in the `next_period`. Absent:
    /// `hold`.
    pub late: Option<Late>,
    /// How long after the end of a billing period its invoice stays open, at most `72h`; as set at Stripe. Absent:
    /// `1h`.
    pub invoice_delay: Option<Millis>,
    /// The most calls started per second, 1 to 1000. Absent: 25.
    pub calls_per_second: Option<u32>,
    /// The most calls under way at once, 1 to 256. Absent: 8.
    pub concurrency: Option<u32>,
    /// The Stripe interface that receives the sums. Absent: `v1`.
    pub api: Option<StripeApi>,
    /// The address of `v2` streams. Absent: Stripe's own, or `url` if that is not Stripe's.
    pub stream_url: Option<String>,
    /// The secrets of the webhook, `whsec_…`, at most 8; give two during a rotation. Absent: webhook calls are refused.
    #[serde(default)]
    pub webhook_secrets: Vec<SecretSource>,
}

/// Stripe's interfaces for meter events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StripeApi {
    /// One call per sum, with errors in its answer. Up to 1,000 calls a second.
    #[default]
    V1,
    /// Streams: a hundred sums per call, checked later. Errors arrive by webhook only.
    V2,
}

/// The settings of `stripe:`, after validation.
#[derive(Clone, Debug)]
pub struct StripeConfig {
    /// The place of the key. It is read only when used, so that `weir usage` needs none.
    pub secret_key: SecretSource,
    /// Stripe's address.
    pub url: String,
    /// The account's name.
    pub account: Option<String>,
    /// Stripe's `event_name` for each meter.
    pub event_names: BTreeMap<String, String>,
    /// How often the server reports, in milliseconds.
    pub report_every_ms: Option<u64>,
    /// How to treat usage after its invoice is final.
    pub late: Late,
    /// How long after the end of a billing period its invoice stays open, in milliseconds.
    pub invoice_delay_ms: u64,
    /// The rate of calls.
    pub pace: Pace,
    /// The interface that receives the sums.
    pub api: StripeApi,
    /// The address of streams.
    pub stream_url: String,
    /// The places of the webhook's secrets.
    pub webhook_secrets: Vec<SecretSource>,
}

impl Config {
    /// Reads the Stripe key.
    pub fn stripe_key(&self, stripe: &StripeConfig) -> Result<Secret, ConfigError> {
        let field = "stripe.secret_key";
        stripe.secret_key.read(&self.base).map_err(|source| ConfigError::Secret { field, source })
    }

    /// Reads the secrets of the webhook.
    pub fn webhook_secrets(&self, stripe: &StripeConfig) -> Result<Vec<Secret>, ConfigError> {
        let field = "stripe.webhook_secrets";
        let read =
            |source: &SecretSource| source.read(&self.base).map_err(|source| ConfigError::Secret { field, source });
        stripe.webhook_secrets.iter().map(read).collect()
    }
}

pub(super) fn check(path: &Path, file: StripeFile, meters: &Meters) -> Result<StripeConfig, ConfigError> {
    let wrong = |field, problem| Err(ConfigError::Field { path: path.to_owned(), field, problem });
    if let Some(meter) = file.meters.keys().find(|meter| !meters.names().contains(meter)) {
        let known = meters.names().join(", ");
        return wrong("stripe.meters", format!("there is no meter {meter:?}; there are {known}"));
    }
    let url = file.url.unwrap_or_else(|| DEFAULT_STRIPE_URL.to_owned());
    let stream_url = file
        .stream_url
        .unwrap_or_else(|| if url == DEFAULT_STRIPE_URL { DEFAULT_STREAM_URL.to_owned() } else { url.clone() });
    for (field, url) in [("stripe.url", &url), ("stripe.stream_url", &stream_url)] {
        if reqwest::Url::parse(url).map_or(true, |url| !matches!(url.scheme(), "http" | "https")) {
            return wrong(field, format!("{url:?} is no http or https address"));
        }
    }
    if file.webhook_secrets.len() > WEBHOOK_SECRETS_MAX {
        return wrong("stripe.webhook_secrets", format!("at most {WEBHOOK_SECRETS_MAX}"));
    }
    let calls_per_second = file.calls_per_second.unwrap_or(DEFAULT_CALLS_PER_SECOND);
    if !(1..=CALLS_PER_SECOND_MAX).contains(&calls_per_second) {
        return wrong("stripe.calls_per_second", format!("must be 1 to {CALLS_PER_SECOND_MAX}"));
    }
    let concurrency = file.concurrency.unwrap_or(DEFAULT_CONCURRENCY);
    if !(1..=CONCURRENCY_MAX).contains(&concurrency) {
        return wrong("stripe.concurrency", format!("must be 1 to {CONCURRENCY_MAX}"));
    }
    let invoice_delay = file.invoice_delay.unwrap_or(DEFAULT_INVOICE_DELAY);
    if invoice_delay.0 > INVOICE_DELAY_MAX.0 {
        return wrong("stripe.invoice_delay", "must be at most 72h: no invoice of Stripe stays open longer".to_owned());
    }
    Ok(StripeConfig {
        secret_key: file.secret_key,
        url,
        account: file.account,
        event_names: file.meters,
        late: file.late.unwrap_or_default(),
        invoice_delay_ms: invoice_delay.0,
        report_every_ms: file.report_every.map(|every| every.0.max(1_000)),
        pace: Pace { concurrency: concurrency as usize, calls_per_second },
        api: file.api.unwrap_or_default(),
        stream_url,
        webhook_secrets: file.webhook_secrets,
    })
}
