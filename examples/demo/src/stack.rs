//! All processes of the demo, started in the order of their dependencies and stopped in reverse.

use crate::settings::{self, Meter, Tenant};
use anyhow::Context as _;
use serde_json::json;
use std::net::SocketAddr;
use weir_rig::aggregator::Aggregator;
use weir_rig::clock;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::llm::Llm;
use weir_rig::postgres::Postgres;
use weir_rig::redis::Redis;
use weir_rig::stripe::{Account, StripeServer};
use weir_rig::workspace;

/// The running stack. Dropping it ends every process and closes every port.
#[derive(Debug)]
pub(crate) struct Stack {
    // Rust drops fields in this order: senders before their receivers.
    pub(crate) envoy: Envoy,
    pub(crate) aggregator: Aggregator,
    pub(crate) others: Others,
    pub(crate) stripe: StripeServer,
    pub(crate) llm: Llm,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) meters: Vec<Meter>,
}

/// What a fleet has beside the gateway and the `weir serve` of every stack.
#[derive(Debug, Default)]
pub(crate) struct Others {
    pub(crate) envoy: Option<Envoy>,
    /// The first one owns at the beginning.
    pub(crate) nodes: Vec<Aggregator>,
    _servers: Option<(Redis, Postgres)>,
}

impl Stack {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let (tenants, meters) = (settings::tenants()?, settings::meters()?);
        let llm = Llm::start().context("the stand-in LLM provider")?;
        let stripe = start_stripe(&tenants, &meters).context("the stand-in for Stripe")?;
        let aggregator = start_aggregator(&stripe)?;
        let envoy = start_envoy(&llm, &[aggregator.address()])?;
        Ok(Self { envoy, aggregator, others: Others::default(), stripe, llm, tenants, meters })
    }

    /// Two gateways, three `weir serve`, a Redis and a PostgreSQL. Commands are given on the machine of a follower.
    pub(crate) fn fleet() -> anyhow::Result<Self> {
        let (tenants, meters) = (settings::tenants()?, settings::meters()?);
        let llm = Llm::start().context("the stand-in LLM provider")?;
        let stripe = start_stripe(&tenants, &meters).context("the stand-in for Stripe")?;
        let (redis, postgres) = (Redis::start().context("Redis")?, Postgres::start().context("PostgreSQL")?);
        let mut config = settings::weir(&stripe.url())?;
        config["log"] = json!(redis.url());
        config["ledger"] = json!(postgres.url());
        let env = settings::server_env(&Account::sandbox().secret_key)?;
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let file = settings::tenants_file()?.to_string();
        let node = |name| Aggregator::start_node(name, &config, &[("tenants.yaml", &file)], &env);
        let (owner, aggregator, third) = (node("a")?, node("b")?, node("c")?);
        let addresses = [owner.address(), aggregator.address(), third.address()];
        let envoy = start_envoy(&llm, &addresses)?;
        let others = Others {
            envoy: Some(start_envoy(&llm, &addresses)?),
            nodes: vec![owner, third],
            _servers: Some((redis, postgres)),
        };
        Ok(Self { envoy, aggregator, others, stripe, llm, tenants, meters })
    }

    /// The addresses of all gateways.
    pub(crate) fn gateways(&self) -> Vec<String> {
        std::iter::once(&self.envoy).chain(&self.others.envoy).map(Envoy::url).collect()
    }
}

/// A gateway that sends events to any of `nodes`.
fn start_envoy(llm: &Llm, nodes: &[SocketAddr]) -> anyhow::Result<Envoy> {
    let bootstrap = Bootstrap::from_yaml(settings::ENVOY)?
        .on_free_ports()
        .cluster("upstream", llm.address())?
        .endpoints("weir", nodes)?
        .code(&workspace::weir_wasm()?)?
        .configuration(&settings::filter()?)?;
    let env = settings::gateway_env()?;
    let names: Vec<&str> = env.iter().map(|(name, _)| name.as_str()).collect();
    let bootstrap = bootstrap.each_wasm_filter(|wasm| {
        wasm["vm_config"]["environment_variables"] = json!({"host_env_keys": names});
    })?;
    Ok(Envoy::start(&bootstrap, &Options { env, ..Options::default() })?)
}

fn start_stripe(tenants: &[Tenant], meters: &[Meter]) -> std::io::Result<StripeServer> {
    let server = StripeServer::start(Account::sandbox())?;
    let mut stripe = server.stripe();
    tenants.iter().for_each(|tenant| stripe.add_customer(&tenant.customer));
    meters.iter().for_each(|meter| stripe.add_meter(clock::now(), &meter.event_name));
    drop(stripe);
    Ok(server)
}

fn start_aggregator(stripe: &StripeServer) -> anyhow::Result<Aggregator> {
    let env = settings::server_env(&Account::sandbox().secret_key)?;
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let tenants = settings::tenants_file()?.to_string();
    let config = settings::weir(&stripe.url())?;
    Ok(Aggregator::start(&config, &[("tenants.yaml", &tenants)], &env)?)
}
