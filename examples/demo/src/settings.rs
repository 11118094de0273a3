//! What the demo runs on: the files beside it, embedded, so that the binary needs no folder to start in.

use std::fs::File;
use std::io::Read as _;
use std::sync::OnceLock;

use anyhow::Context as _;
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;

/// Tenants, keys, customers.
const TENANTS: &str = include_str!("../tenants.yaml");
/// The shipped configuration of Envoy.
pub(crate) const ENVOY: &str = include_str!("../../../envoy/sidecar.yaml");
const FILTER: &str = include_str!("../filter.yaml");
const WEIR: &str = include_str!("../weir.yaml");

/// The secrets of this run. Nobody else knows them.
#[derive(Debug)]
struct Secrets {
    issuer: String,
    gateway: String,
    signing: String,
    sealing: String,
    admin: String,
    links: String,
    /// The end of every tenant's key.
    keys: String,
}

fn secrets() -> anyhow::Result<&'static Secrets> {
    static SECRETS: OnceLock<Secrets> = OnceLock::new();
    if let Some(secrets) = SECRETS.get() {
        return Ok(secrets);
    }
    let fresh = Secrets {
        issuer: draw()?,
        gateway: draw()?,
        signing: draw()?,
        sealing: draw()?,
        admin: draw()?,
        links: draw()?,
        keys: draw()?,
    };
    Ok(SECRETS.get_or_init(|| fresh))
}

/// 256 random bits in hex.
fn draw() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes).context("/dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// One of our meters, and Stripe's name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meter {
    pub(crate) name: String,
    pub(crate) event_name: String,
}

/// A tenant that pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) plan: String,
    pub(crate) customer: String,
}

/// The filter's configuration, with the tenants in it.
pub(crate) fn filter() -> anyhow::Result<Value> {
    let mut filter = parse(FILTER, "filter.yaml")?;
    let mut tenants = tenants_file()?["tenants"].take();
    // Gateways do not need to know who pays.
    for tenant in tenants.as_array_mut().into_iter().flatten() {
        tenant.as_object_mut().map(|fields| fields.remove("stripe_customer"));
    }
    filter["tenants"] = tenants;
    Ok(filter)
}

/// The aggregator's configuration, with Stripe at `stripe_url`.
pub(crate) fn weir(stripe_url: &str) -> anyhow::Result<Value> {
    let mut weir = parse(WEIR, "weir.yaml")?;
    weir["stripe"]["url"] = json!(stripe_url);
    Ok(weir)
}

/// The tenants, with the hashes of the drawn keys.
pub(crate) fn tenants_file() -> anyhow::Result<Value> {
    let mut file = parse(TENANTS, "tenants.yaml")?;
    for tenant in file["tenants"].as_array_mut().into_iter().flatten() {
        let id = tenant["id"].as_str().context("tenants.yaml: id")?.to_owned();
        // An index would put null where there are no keys.
        for key in tenant.get_mut("keys").and_then(Value::as_array_mut).into_iter().flatten() {
            key["sha256"] = json!(KeyHash::of(api_key(&id, &key_end()?).as_bytes()));
        }
    }
    Ok(file)
}

/// The end of every tenant's key.
pub(crate) fn key_end() -> anyhow::Result<String> {
    Ok(secrets()?.keys.clone())
}

/// The API key of a tenant.
pub(crate) fn api_key(tenant: &str, end: &str) -> String {
    format!("sk_weir_demo_{tenant}_{end}")
}

/// The token of the demo's administrator.
pub(crate) fn admin_token() -> anyhow::Result<String> {
    Ok(secrets()?.admin.clone())
}

/// The key that signs links to tenants' own pages.
pub(crate) fn link_key() -> anyhow::Result<String> {
    Ok(secrets()?.links.clone())
}

/// What `weir serve` has in its environment.
pub(crate) fn server_env(stripe_key: &str) -> anyhow::Result<Vec<(String, String)>> {
    let Secrets { gateway, signing, admin, links, .. } = secrets()?;
    Ok(env(&[
        ("DEMO_LINK_KEY", links),
        ("WEIR_GATEWAY_TOKEN", gateway),
        ("WEIR_SIGNING_KEY", signing),
        ("WEIR_ADMIN_TOKEN", admin),
        ("STRIPE_SECRET_KEY", stripe_key),
    ]))
}

/// What Envoy has in its environment, and hands to weir.
pub(crate) fn gateway_env() -> anyhow::Result<Vec<(String, String)>> {
    let Secrets { gateway, signing, sealing, issuer, .. } = secrets()?;
    Ok(env(&[
        ("WEIR_GATEWAY_TOKEN", gateway),
        ("WEIR_SIGNING_KEY", signing),
        ("WEIR_SEALED_IDS_KEY", sealing),
        ("DEMO_ISSUER_SECRET", issuer),
    ]))
}

fn env(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The secret under which the demo's tokens are signed, their issuer and their audience.
pub(crate) fn issuer() -> anyhow::Result<(String, String, String)> {
    let filter = parse(FILTER, "filter.yaml")?;
    let jwt = &filter["identity"]["sources"][0]["jwt"];
    let text = |value: &Value| value.as_str().map(str::to_owned).context("filter.yaml: identity.sources[0].jwt");
    Ok((secrets()?.issuer.clone(), text(&jwt["issuer"])?, text(&jwt["audiences"][0])?))
}

/// The meters that are billed.
pub(crate) fn meters() -> anyhow::Result<Vec<Meter>> {
    let weir = parse(WEIR, "weir.yaml")?;
    let meters = weir["stripe"]["meters"].as_object().context("weir.yaml: stripe.meters")?;
    let meter = |(name, event_name): (&String, &Value)| {
        Some(Meter { name: name.clone(), event_name: event_name.as_str()?.to_owned() })
    };
    Ok(meters.iter().filter_map(meter).collect())
}

/// All tenants.
pub(crate) fn tenants() -> anyhow::Result<Vec<Tenant>> {
    let file = parse(TENANTS, "tenants.yaml")?;
    let tenants = file["tenants"].as_array().context("tenants.yaml: tenants")?;
    let tenant = |entry: &Value| {
        let text = |field: &str| entry[field].as_str().map(str::to_owned);
        Some(Tenant { id: text("id")?, plan: text("plan")?, customer: text("stripe_customer")? })
    };
    Ok(tenants.iter().filter_map(tenant).collect())
}

fn parse(text: &str, name: &str) -> anyhow::Result<Value> {
    serde_saphyr::from_str(text).map_err(|error| anyhow::anyhow!("{name}: {error}"))
}
