//! Everything that runs: started in the order in which it depends on each other, ended in the other.

use crate::settings::{self, Meter, Tenant};
use anyhow::Context as _;
use weir_rig::aggregator::Aggregator;
use weir_rig::clock;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::llm::Llm;
use weir_rig::stripe::{Account, StripeServer};
use weir_rig::workspace;

/// The running stack. Dropping it ends every process and closes every port.
#[derive(Debug)]
pub(crate) struct Stack {
    // Rust drops fields in this order: senders before their receivers.
    pub(crate) envoy: Envoy,
    pub(crate) aggregator: Aggregator,
    pub(crate) stripe: StripeServer,
    pub(crate) llm: Llm,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) meters: Vec<Meter>,
}

impl Stack {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let (tenants, meters) = (settings::tenants()?, settings::meters()?);
        let llm = Llm::start().context("the stand-in LLM provider")?;
        let stripe = start_stripe(&tenants, &meters).context("the stand-in for Stripe")?;
        let aggregator = start_aggregator(&stripe)?;
        let bootstrap = Bootstrap::from_yaml(settings::ENVOY)?
            .on_free_ports()
            .cluster("upstream", llm.address())?
            .cluster("weir", aggregator.address())?
            .code(&workspace::weir_wasm()?)?
            .configuration(&settings::filter()?)?;
        let envoy = Envoy::start(&bootstrap, &Options::default())?;
        Ok(Self { envoy, aggregator, stripe, llm, tenants, meters })
    }
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
    let (gateway_token, admin_token) = (settings::gateway_token()?, settings::admin_token()?);
    let key = Account::sandbox().secret_key;
    let env = [
        ("WEIR_GATEWAY_TOKEN", gateway_token.as_str()),
        ("WEIR_ADMIN_TOKEN", admin_token.as_str()),
        ("STRIPE_SECRET_KEY", key.as_str()),
    ];
    let config = settings::weir(&stripe.url())?;
    Ok(Aggregator::start(&config, &[("tenants.yaml", settings::TENANTS)], &env)?)
}
