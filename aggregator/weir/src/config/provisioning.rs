//! The settings of provisioning: what happens beside the tenant's record when a tenant comes or goes.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::placement::Isolation;
use weir_settings::duration::Millis;
use weir_settings::secret::SecretSource;
use weir_steer::receiver::WebhookFile;

use super::ConfigError;
use super::home::TenantsHome;

/// How long an outside system may take where the file does not say.
const WAIT: Millis = Millis(5 * 60_000);
/// The longest time that an outside system may take.
const WAIT_MAX: Millis = Millis(60 * 60_000);
/// How long a tenant that has left is kept where the file does not say.
const RETENTION: Millis = Millis(30 * 24 * 3_600_000);
/// The most prices of one subscription: Stripe's bound.
const PRICES_MAX: usize = 20;
/// The largest dimension of vectors that a store takes.
const DIMENSION_MAX: u32 = 65_535;

/// What happens when a tenant comes or goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProvisioningFile {
    /// Makes a Stripe customer, and a subscription for the plans that are named. Needs `stripe`. Absent: neither is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripe: Option<BillingFile>,
    /// Makes a collection in a vector store. Absent: none is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<CollectionFile>,
    /// Waits for an outside system. Absent: for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentFile>,
    /// Who is told that a tenant comes or goes, by JSON signed as Standard Webhooks says. Absent: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookFile>,
    /// How long a tenant that has left is kept, suspended, before its keys and its part of the vault are gone. Absent: `30d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Millis>,
}

/// Customers and subscriptions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BillingFile {
    /// The prices of each plan's subscription, `price_…`, at most 20. A plan that is not named has no subscription.
    #[serde(default)]
    pub prices: BTreeMap<String, Vec<String>>,
    /// Where billing periods begin: with the tenant (`start`), or on the first of each month in UTC (`month`). Absent: `start`.
    #[serde(default)]
    pub anchor: AnchorRule,
}

/// Where billing periods begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnchorRule {
    /// With the tenant.
    #[default]
    Start,
    /// On the first of each month in UTC.
    Month,
}

/// A vector store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VectorStore {
    /// Qdrant.
    Qdrant,
    /// Chroma, version 2 of its API.
    Chroma,
    /// Weaviate: a class.
    Weaviate,
    /// Milvus, version 2 of its RESTful API.
    Milvus,
    /// Pinecone: a serverless index.
    Pinecone,
}

/// A collection of each tenant's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CollectionFile {
    /// Which store it is.
    pub store: VectorStore,
    /// Its address; for Pinecone `https://api.pinecone.io`.
    pub url: String,
    /// The place of its key. Absent: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretSource>,
    /// The name by which a guarded tenant knows it: `docs` is `tenant_acme_docs` in the store. 1 to 40 of `a-z 0-9 _`.
    pub name: String,
    /// The dimension of its vectors.
    pub dimension: u32,
    /// How vectors are compared. Absent: `cosine`.
    #[serde(default)]
    pub metric: VectorMetric,
    /// Pinecone's cloud and region, as `aws/us-east-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<String>,
    /// The isolation of the tenants that have one. Absent: all tenants have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub isolation: Vec<Isolation>,
}

/// How vectors are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VectorMetric {
    /// By their angle.
    #[default]
    Cosine,
    /// By their scalar product.
    Dot,
    /// By their distance.
    Euclid,
}

/// An outside system that prepares something for a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnvironmentFile {
    /// Where it is asked, as Standard Webhooks says. It answers 202 until it is ready, then 200; `{"endpoint": TEXT}` in that
    /// answer becomes the tenant's endpoint.
    pub webhook: WebhookFile,
    /// How long it may take, at most `1h`. Absent: `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Millis>,
    /// The isolation of the tenants that need it. Absent: `silo`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub isolation: Vec<Isolation>,
}

/// The settings of provisioning, after validation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provisioning {
    /// Customers and subscriptions.
    pub(crate) stripe: Option<BillingFile>,
    /// A collection of each tenant's own.
    pub(crate) collection: Option<CollectionFile>,
    /// An outside system.
    pub(crate) environment: Option<Environment>,
    /// Who is told.
    pub(crate) webhook: Option<WebhookFile>,
    /// How long a tenant that has left is kept, in milliseconds.
    pub(crate) retention_ms: u64,
}

/// An outside system that prepares something for a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Environment {
    /// Where it is asked.
    pub(crate) webhook: WebhookFile,
    /// How long it may take, in milliseconds.
    pub(crate) wait_ms: u64,
    /// The isolation of the tenants that need it.
    pub(crate) isolation: BTreeSet<&'static str>,
}

impl CollectionFile {
    /// Whether tenants of this isolation have a collection.
    pub(crate) fn is_for(&self, isolation: Option<Isolation>) -> bool {
        self.isolation.is_empty() || self.isolation.contains(&isolation.unwrap_or(Isolation::Pool))
    }
}

impl Environment {
    /// Whether tenants of this isolation need it.
    pub(crate) fn is_for(&self, isolation: Option<Isolation>) -> bool {
        self.isolation.contains(isolation.unwrap_or(Isolation::Pool).as_str())
    }
}

/// Checks what the shape cannot say.
pub(super) fn check(
    path: &Path,
    home: &TenantsHome,
    has_stripe: bool,
    file: Option<ProvisioningFile>,
) -> Result<Provisioning, ConfigError> {
    let wrong = |field, problem: &str| ConfigError::Field { path: path.to_owned(), field, problem: problem.to_owned() };
    let Some(file) = file else { return Ok(Provisioning { retention_ms: RETENTION.0, ..Provisioning::default() }) };
    if *home != TenantsHome::Database {
        return Err(wrong("provisioning", "tenants of a file come by editing it: say `tenants_database: true`"));
    }
    if let Some(billing) = &file.stripe {
        if !has_stripe {
            return Err(wrong("provisioning.stripe", "there is no `stripe` in the configuration"));
        }
        if billing.prices.values().any(|prices| !(1..=PRICES_MAX).contains(&prices.len())) {
            return Err(wrong("provisioning.stripe.prices", "a subscription has 1 to 20 prices"));
        }
        if billing.prices.values().flatten().any(|price| !price.starts_with("price_")) {
            return Err(wrong("provisioning.stripe.prices", "a price is Stripe's id of it, `price_…`"));
        }
    }
    if let Some(problem) = file.collection.as_ref().and_then(problem_of) {
        return Err(wrong("provisioning.collection", problem));
    }
    let webhooks = [file.webhook.as_ref(), file.environment.as_ref().map(|environment| &environment.webhook)];
    if webhooks.into_iter().flatten().any(|webhook| !is_address(&webhook.url)) {
        return Err(wrong("provisioning", "a webhook's `url` is an http or https address"));
    }
    let environment = file.environment.map(|environment| {
        let isolation = if environment.isolation.is_empty() { vec![Isolation::Silo] } else { environment.isolation };
        let isolation = isolation.into_iter().map(Isolation::as_str).collect();
        Environment { webhook: environment.webhook, wait_ms: environment.wait.unwrap_or(WAIT).0, isolation }
    });
    if environment.as_ref().is_some_and(|environment| environment.wait_ms > WAIT_MAX.0) {
        return Err(wrong("provisioning.environment.wait", "at most 1h"));
    }
    Ok(Provisioning {
        stripe: file.stripe,
        collection: file.collection,
        environment,
        webhook: file.webhook,
        retention_ms: file.retention.unwrap_or(RETENTION).0,
    })
}

fn problem_of(collection: &CollectionFile) -> Option<&'static str> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let has_cloud = collection.cloud.as_ref().is_some_and(|cloud| cloud.split('/').count() == 2);
    if !is_address(&collection.url) {
        Some("`url` is an http or https address")
    } else if !(1..=40).contains(&collection.name.len()) || !collection.name.bytes().all(is_plain) {
        Some("`name` is 1 to 40 of a-z 0-9 _")
    } else if !(1..=DIMENSION_MAX).contains(&collection.dimension) {
        Some("`dimension` is 1 to 65535")
    } else if (collection.store == VectorStore::Pinecone) != has_cloud {
        Some("`cloud` is Pinecone's, as `aws/us-east-1`, and no other store's")
    } else {
        None
    }
}

fn is_address(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}
