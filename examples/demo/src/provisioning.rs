//! A tenant that comes in one call, against the same stand-in for Stripe.

use crate::settings;
use crate::stack::Stack;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::time::Duration;
use weir_rig::aggregator::Aggregator;
use weir_rig::clock;
use weir_rig::stripe::{Account, Price, Scheme};

/// A tenant of a pool is live within this time.
const LIVE_MAX: Duration = Duration::from_secs(30);

/// Lets a tenant come, shows how long that took, and returns what is wrong with it.
pub(crate) fn show(stack: &Stack) -> anyhow::Result<Vec<String>> {
    let scheme = Scheme::PerUnit("1".to_owned());
    let price = Price { currency: "usd", event_name: None, lookup_key: None, scheme, active: true };
    let price = stack.stripe.stripe().add_price(price);
    let mut config = settings::weir(&stack.stripe.url())?;
    for field in ["tenants", "budgets", "price_plans"] {
        config.as_object_mut().context("weir.yaml")?.remove(field);
    }
    config["tenants_database"] = json!(true);
    config["provisioning"] = json!({"stripe": {"prices": {"starter": [price]}}});
    let env = settings::server_env(&Account::sandbox().secret_key)?;
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let server = Aggregator::start(&config, &[], &env)?;
    let begun = clock::instant();
    let output = server.command(&["tenants", "provision", "newcomer", "--plan", "starter", "--json"])?;
    let took = begun.elapsed();
    let view: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("weir tenants provision: {}", String::from_utf8_lossy(&output.stderr)))?;
    let customers = stack.stripe.stripe().customers().len();
    println!(
        "  weir tenants provision: a tenant with Stripe customer, subscription and key is live after {} ms",
        took.as_millis()
    );
    let is_good = view["state"] == "done" && view["keys"][0]["key"].is_string() && customers == 1 && took < LIVE_MAX;
    Ok(if is_good { Vec::new() } else { vec![format!("provisioning: {customers} customers, {took:?}: {view}")] })
}
