//! What the demo runs on: the files beside it, embedded, so that the binary needs no folder to start in.

use anyhow::Context as _;
use serde_json::{Value, json};

/// Tenants, keys, customers.
pub(crate) const TENANTS: &str = include_str!("../tenants.yaml");
/// The shipped configuration of Envoy.
pub(crate) const ENVOY: &str = include_str!("../../../envoy/sidecar.yaml");
const FILTER: &str = include_str!("../filter.yaml");
const WEIR: &str = include_str!("../weir.yaml");

/// Opens the aggregator's admin interface.
pub(crate) const ADMIN_TOKEN: &str = "demo-admin-token-0123456789abc";

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
    let mut tenants = parse(TENANTS, "tenants.yaml")?["tenants"].take();
    // Who pays is none of the gateway's business.
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

/// The token under which the gateway sends its events.
pub(crate) fn gateway_token() -> anyhow::Result<String> {
    let filter = parse(FILTER, "filter.yaml")?;
    Ok(filter["events"]["token"].as_str().context("filter.yaml: events.token")?.to_owned())
}

/// The secret under which the demo's tokens are signed, their issuer and their audience.
pub(crate) fn issuer() -> anyhow::Result<(String, String, String)> {
    let filter = parse(FILTER, "filter.yaml")?;
    let jwt = &filter["identity"]["sources"][0]["jwt"];
    let text = |value: &Value| value.as_str().map(str::to_owned).context("filter.yaml: identity.sources[0].jwt");
    Ok((text(&jwt["keys"][0]["secret"])?, text(&jwt["issuer"])?, text(&jwt["audiences"][0])?))
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
