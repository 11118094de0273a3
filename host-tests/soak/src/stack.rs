//! What runs: a stand-in provider, `weir serve`, the proxy in front of it, and Envoy with `weir.wasm`.

use crate::proxy::Proxy;
use crate::traffic::{BAD, GOOD, key};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use weir_contract::directory::KeyHash;
use weir_rig::aggregator::Aggregator;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::llm::Llm;
use weir_rig::workspace;

/// Signs events in logs.
const SIGNING_KEY: &str = "a signing key for a soak, of more than 32 bytes";
const GATEWAY_TOKEN: &str = "soak-gateway-token-0123456789abcdef";
const ADMIN_TOKEN: &str = "soak-admin-token-0123456789abcdefgh";

/// The running stack. Dropping it ends every process.
#[derive(Debug)]
pub struct Stack {
    // Rust drops fields in this order: senders before their receivers.
    /// The gateway.
    pub envoy: Envoy,
    /// What its events go through.
    pub proxy: Proxy,
    /// The ledger.
    pub aggregator: Aggregator,
    /// The provider.
    pub llm: Llm,
}

/// The settings of a stack.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The file in `envoy/`.
    pub file: &'a str,
    /// How Envoy is run.
    pub options: Options,
    /// Changes to the filter's `events`.
    pub events: Value,
    /// Where the access log goes, if the file has one.
    pub access_log: Option<&'a Path>,
    /// Of the proxy.
    pub seed: u64,
    /// Who answers instead of the stand-in provider, if anybody does.
    pub upstream: Option<SocketAddr>,
    /// What is changed in the filter beside its `events`.
    pub filter: Value,
}

impl Stack {
    /// Starts everything.
    ///
    /// # Errors
    /// When something is not built or does not start; the message says what.
    pub fn start(plan: &Plan<'_>) -> anyhow::Result<Self> {
        let llm = Llm::start().context("the stand-in provider")?;
        llm.keep_book();
        let env = [
            ("WEIR_GATEWAY_TOKEN", GATEWAY_TOKEN),
            ("WEIR_ADMIN_TOKEN", ADMIN_TOKEN),
            ("WEIR_SIGNING_KEY", SIGNING_KEY),
        ];
        let aggregator = Aggregator::start(&weir(), &[], &env)?;
        let proxy = Proxy::start(aggregator.address(), plan.seed)?;
        let mut bootstrap = Bootstrap::from_file(&workspace::root().join("envoy").join(plan.file))?
            .on_free_ports()
            .cluster("upstream", plan.upstream.unwrap_or(llm.address()))?
            .cluster("weir", proxy.address())?
            .code(&workspace::weir_wasm()?)?
            .configuration(&filter(plan))?;
        if let Some(path) = plan.access_log {
            bootstrap = bootstrap.edit(|config| log_to(config, path));
        }
        let envoy = Envoy::start(&bootstrap, &plan.options)?;
        Ok(Self { envoy, proxy, aggregator, llm })
    }

    /// The sum over all workers of one of the filter's counters.
    ///
    /// # Errors
    /// When Envoy does not answer.
    pub fn metric(&self, name: &str) -> anyhow::Result<u64> {
        Ok(self.envoy.stats(name)?.values().sum())
    }

    /// Runs a command of `weir` and reads the JSON it prints.
    ///
    /// # Errors
    /// When it fails.
    pub fn weir(&self, args: &[&str]) -> anyhow::Result<Value> {
        let output = self.aggregator.command(args)?;
        // 3: the work is done, and something needs a person; what, the JSON says.
        let done = matches!(output.status.code(), Some(0 | 3));
        anyhow::ensure!(done, "weir {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).with_context(|| format!("weir {}: no JSON", args.join(" ")))
    }

    /// Whether the ledger has the event of that id.
    ///
    /// # Errors
    /// When the aggregator does not answer.
    pub(crate) fn has_event(&self, id: &str) -> anyhow::Result<bool> {
        Ok(self.aggregator.get(&format!("/v1/events/{id}"), ADMIN_TOKEN)?.status == 200)
    }
}

/// Meters that keep the provider's own numbers and estimates apart, and count every request however it ended.
fn weir() -> Value {
    let tokens = |name: &str, sum: &str, usage: &str| json!({"name": name, "sum": sum, "where": {"usage": [usage]}});
    json!({
        "tokens": [
            {"name": "gateway", "scopes": ["ingest"], "env": "WEIR_GATEWAY_TOKEN"},
            {"name": "admin", "scopes": ["admin"], "env": "WEIR_ADMIN_TOKEN"},
        ],
        "signing_key": {"env": "WEIR_SIGNING_KEY"},
        "meters": [
            {"name": "requests", "sum": "requests"},
            tokens("complete_input", "input_tokens", "complete"),
            tokens("complete_output", "output_tokens", "complete"),
            tokens("complete_cache_read", "cache_read_tokens", "complete"),
            tokens("complete_reasoning", "reasoning_tokens", "complete"),
            tokens("estimated_input", "input_tokens", "estimated"),
            tokens("estimated_output", "output_tokens", "estimated"),
        ],
    })
}

fn filter(plan: &Plan<'_>) -> Value {
    let tenant = |id: &str| {
        let hash = KeyHash::of(key(id).as_bytes());
        json!({"id": id, "plan": "p", "keys": [{"id": format!("key_{id}"), "sha256": hash}]})
    };
    let mut filter = json!({
        "version": 1, "gateway": "soak",
        "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
        "tenants": [tenant(GOOD), tenant(BAD)],
        "plans": {"p": {}},
        "events": {"cluster": "weir", "token": GATEWAY_TOKEN, "flush": "200ms", "signing_key": SIGNING_KEY},
    });
    for (field, value) in plan.events.as_object().into_iter().flatten() {
        filter["events"][field] = value.clone();
    }
    for (field, value) in plan.filter.as_object().into_iter().flatten() {
        filter[field] = value.clone();
    }
    filter
}

/// Points every file access log at `path`.
fn log_to(config: &mut Value, path: &Path) {
    match config {
        Value::Object(fields) => {
            let is_log =
                fields.get("@type").and_then(Value::as_str).is_some_and(|kind| kind.ends_with(".FileAccessLog"));
            if is_log {
                fields.insert("path".to_owned(), json!(path));
                if let Some(format) = fields.get_mut("log_format").and_then(|format| format.get_mut("json_format")) {
                    (format["details"], format["upstream"]) =
                        (json!("%RESPONSE_CODE_DETAILS%"), json!("%UPSTREAM_HOST%"));
                    format["answer_id"] = json!("%RESP(X-REQUEST-ID)%");
                }
            }
            fields.values_mut().for_each(|value| log_to(value, path));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| log_to(item, path)),
        _ => {}
    }
}
