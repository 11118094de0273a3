//! `weir gateway`: writes Envoy's listener, routes, clusters and filters for a catalogue, and compares a file with it.
mod bootstrap;
mod manifest;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::Value;
use weir_filter::config::routing::{Dialect, Provider};
use weir_filter::config::{Config as FilterConfig, Environment, Policy};
use weir_filter::hash::Keyed;
use weir_filter::policy::own_keys;
use weir_filter::routing::CHAINS_MAX;
use weir_filter::upstream::KEY_HEADERS;
use weir_settings::yaml::{self, YamlError};

use super::render::{complain, say};
use super::{EXIT_DONE, EXIT_FAILED};

/// The most differences that are printed.
const DIFFERENCES_MAX: usize = 50;

/// What is done for a gateway.
#[derive(Debug, Subcommand)]
pub(super) enum GatewayCommand {
    /// Print Envoy's configuration, or manifests of Istio or Envoy Gateway.
    #[command(
        after_help = "Examples: weir gateway generate gateway.yaml > envoy.json && envoy -c envoy.json\n          \
                            weir gateway generate --for istio gateway.yaml | kubectl apply -f -"
    )]
    Generate {
        /// What the gateway is to do.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Who runs Envoy.
        #[arg(long = "for", value_name = "RUNNER", default_value = "envoy")]
        runner: Runner,
        /// How it is written.
        #[arg(long, default_value = "json")]
        format: Format,
    },
    /// Compare a configuration of Envoy with what `generate` writes now.
    #[command(
        after_help = "Exit code 1 where they differ; each difference is printed with its path.\n\nExample: weir gateway check gateway.yaml envoy.json"
    )]
    Check {
        /// What the gateway is to do.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The configuration that Envoy runs with, or the manifests.
        #[arg(value_name = "ENVOY_FILE")]
        running: PathBuf,
        /// Who runs Envoy.
        #[arg(long = "for", value_name = "RUNNER", default_value = "envoy")]
        runner: Runner,
    },
}

/// Who runs Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Runner {
    /// Nobody: a static file.
    Envoy,
    /// Istio's ingress gateway: an `EnvoyFilter`.
    Istio,
    /// Envoy Gateway: an `EnvoyProxy` and an `EnvoyPatchPolicy`.
    EnvoyGateway,
}

/// How a configuration is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// JSON.
    Json,
    /// YAML, under a line that says what it was made of.
    Yaml,
}

/// A gateway, as people write it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gateway {
    /// Where Envoy listens.
    listen: SocketAddr,
    /// Where its admin interface listens.
    #[serde(default = "default_admin")]
    admin: SocketAddr,
    /// The module.
    #[serde(default = "default_wasm")]
    wasm: PathBuf,
    /// `weir serve`: `host:port`.
    weir: Address,
    /// Where requests go for which no model is chosen: `host:port`. Absent: they are answered 404.
    #[serde(default)]
    upstream: Option<Address>,
    /// How each provider of the catalogue is reached.
    providers: BTreeMap<String, Reached>,
    /// How long a provider may stay silent before another is tried, or a stream ends.
    #[serde(default = "default_silence_secs")]
    silence_max_seconds: u64,
    /// Where Istio's gateway is, for `--for istio`.
    #[serde(default)]
    istio: IstioPlace,
    /// Where Envoy Gateway's is, for `--for envoy-gateway`.
    #[serde(default)]
    envoy_gateway: EnvoyGatewayPlace,
    /// The filter's configuration, with its catalogue.
    filter: Value,
}

/// The gateway of Istio that is patched.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct IstioPlace {
    /// The name of the `EnvoyFilter`.
    name: String,
    /// Its namespace.
    namespace: String,
    /// The labels of the gateway's pods.
    labels: BTreeMap<String, String>,
}

impl Default for IstioPlace {
    fn default() -> Self {
        let labels = [("istio".to_owned(), "ingressgateway".to_owned())].into();
        IstioPlace { name: "weir".to_owned(), namespace: "istio-system".to_owned(), labels }
    }
}

/// The `Gateway` that Envoy Gateway runs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EnvoyGatewayPlace {
    /// The name of the manifests.
    name: String,
    /// Their namespace, which is the `Gateway`'s.
    namespace: String,
    /// The `Gateway`.
    gateway: String,
    /// Its listener.
    listener: String,
}

impl Default for EnvoyGatewayPlace {
    fn default() -> Self {
        let [name, namespace, gateway, listener] = ["weir", "default", "edge", "http"].map(str::to_owned);
        EnvoyGatewayPlace { name, namespace, gateway, listener }
    }
}

/// How a provider is reached.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reached {
    /// `host:port`.
    address: Address,
    /// Whether over TLS.
    #[serde(default = "yes")]
    tls: bool,
    /// The key of the house. Absent: none is sent.
    #[serde(default)]
    key: Option<Key>,
}

/// A key, and where it goes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    /// The file that holds it.
    #[serde(default)]
    file: Option<PathBuf>,
    /// Or the environment variable of Envoy that does.
    #[serde(default)]
    env: Option<String>,
    /// The header that takes it.
    header: String,
    /// What stands before it there: `Bearer `.
    #[serde(default)]
    prefix: Option<String>,
}

/// `host:port`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Address {
    host: String,
    port: u16,
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
        match parts {
            Some((host, port)) if !host.is_empty() => Ok(Address { host, port }),
            _ => Err(format!("{text:?}: expected host:port")),
        }
    }
}

fn default_admin() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9901))
}

fn default_wasm() -> PathBuf {
    "weir.wasm".into()
}

fn default_silence_secs() -> u64 {
    60
}

fn yes() -> bool {
    true
}

pub(super) fn run(command: GatewayCommand) -> anyhow::Result<u8> {
    match command {
        GatewayCommand::Generate { file, runner, format } => {
            say!("{}", written(&file, &generate(&file, runner)?, format)?);
            Ok(EXIT_DONE)
        }
        GatewayCommand::Check { file, running, runner } => check(&file, &running, runner),
    }
}

fn written(file: &Path, made: &Value, format: Format) -> anyhow::Result<String> {
    Ok(match format {
        Format::Json => serde_json::to_string_pretty(made)?,
        Format::Yaml => {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let yaml = serde_saphyr::to_string(made)?;
            format!(
                "# Written by `weir gateway generate {name}`: change that file, and write this one anew.\n{}",
                yaml.trim_end()
            )
        }
    })
}

fn generate(file: &Path, runner: Runner) -> anyhow::Result<Value> {
    of_text(file, &yaml::read_text(file)?, runner).map_err(|error| {
        // What is wrong in YAML says its place by itself.
        if error.is::<YamlError>() { error } else { error.context(file.display().to_string()) }
    })
}

/// Makes what a runner of Envoy takes of a gateway's text. An error that no place of the file is known for begins with the field.
pub(super) fn of_text(file: &Path, text: &str, runner: Runner) -> anyhow::Result<Value> {
    let gateway: Gateway = yaml::parse(file, text)?;
    let config: FilterConfig = weir_filter::config::parse(gateway.filter.to_string().as_bytes())
        .map_err(|error| anyhow::anyhow!("filter.{error}"))?;
    let policy = Policy::compile(config.clone(), &Environment::Elsewhere, Keyed::new([0; 16]))
        .map_err(|error| anyhow::anyhow!("filter.{error}"))?;
    let Some(routing) = &policy.routing else {
        bail!("filter.routing: there is none, so there is nothing to generate for");
    };
    check_reached(&gateway, &config.providers)?;
    let Some(chains) = routing.chains() else {
        bail!(
            "filter.routing: its rules try providers in more than {CHAINS_MAX} orders, each a route of Envoy; lower `attempts_max`, \
             or name candidates of fewer providers"
        );
    };
    let envoy = bootstrap::of(&gateway, &chains, &config);
    let made = match runner {
        Runner::Envoy => Some(envoy),
        Runner::Istio => manifest::istio(&envoy, &gateway.istio),
        Runner::EnvoyGateway => manifest::envoy_gateway(&envoy, &gateway.envoy_gateway),
    };
    made.ok_or_else(|| {
        anyhow::anyhow!("the configuration that this weir ships for Envoy has another form than expected")
    })
}

/// Refuses a provider that is not reached, and one that the catalogue does not have.
fn check_reached(gateway: &Gateway, providers: &[Provider]) -> anyhow::Result<()> {
    for provider in providers {
        let Some(reached) = gateway.providers.get(&provider.name) else {
            bail!("providers.{}: the catalogue has this provider; say how it is reached", provider.name);
        };
        if reached.key.as_ref().is_some_and(|key| key.file.is_some() == key.env.is_some()) {
            bail!("providers.{}.key: give either `file` or `env`", provider.name);
        }
        let is_taken_off = |key: &Key| KEY_HEADERS.iter().any(|name| name.eq_ignore_ascii_case(&key.header));
        if !reached.key.as_ref().is_none_or(is_taken_off) {
            let names = KEY_HEADERS.join(", ");
            bail!(
                "providers.{}.key.header: expected one of {names}; any other would reach the next provider when this one fails",
                provider.name
            );
        }
        let is_cloud = matches!(provider.dialect, Dialect::VertexAnthropic | Dialect::BedrockAnthropic);
        let is_bearer = |key: &Key| key.header.eq_ignore_ascii_case("authorization");
        if is_cloud && !reached.key.as_ref().is_none_or(is_bearer) {
            bail!(
                "providers.{}.key.header: Vertex AI and Bedrock take the key as a bearer token: `header: authorization, prefix: \"Bearer \"`",
                provider.name
            );
        }
        check_own_key(provider, reached)?;
    }
    match gateway.providers.keys().find(|name| !providers.iter().any(|provider| provider.name == **name)) {
        Some(name) => bail!("providers.{name}: the catalogue has no such provider"),
        None => Ok(()),
    }
}

/// Refuses a house key in another header than tenants' own: both would go up, and the provider would choose.
fn check_own_key(provider: &Provider, reached: &Reached) -> anyhow::Result<()> {
    let (Some(own), Some(key)) = (&provider.tenant_key, &reached.key) else { return Ok(()) };
    let of = own_keys::provider(&own.provider)
        .map_err(|problem| anyhow::anyhow!("filter.providers: {}: tenant_key.provider: {problem}", provider.name))?;
    let header = own_keys::header_of(provider, own, of);
    if !header.as_str().eq_ignore_ascii_case(&key.header) {
        bail!(
            "providers.{}.key.header: tenants' own keys go up in {}, and both would; name the same header, or `tenant_key.header`",
            provider.name,
            header.as_str()
        );
    }
    Ok(())
}

fn check(file: &Path, running: &Path, runner: Runner) -> anyhow::Result<u8> {
    let expected = generate(file, runner)?;
    let found: Value = yaml::parse(running, &yaml::read_text(running)?)?;
    let mut differences = Vec::new();
    compare(&expected, &found, String::new(), &mut differences);
    for difference in differences.iter().take(DIFFERENCES_MAX) {
        complain!("{}: {difference}", running.display());
    }
    if differences.is_empty() {
        say!("{}: as {} says", running.display(), file.display());
        return Ok(EXIT_DONE);
    }
    Ok(EXIT_FAILED)
}

/// Lists the paths at which two values differ.
fn compare(expected: &Value, found: &Value, path: String, out: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for name in expected.keys().chain(found.keys().filter(|name| !expected.contains_key(*name))) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let (expected, found) = (expected.get(name), found.get(name));
                compare(expected.unwrap_or(&Value::Null), found.unwrap_or(&Value::Null), path, out);
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (at, (expected, found)) in expected.iter().zip(found).enumerate() {
                compare(expected, found, format!("{path}[{at}]"), out);
            }
        }
        (expected, found) if expected == found => {}
        (Value::Null, _) => out.push(format!("{path}: it is not generated any more")),
        (_, Value::Null) => out.push(format!("{path}: it is missing")),
        _ => out.push(format!("{path}: it differs from what is generated")),
    }
}

#[cfg(test)]
mod tests;
