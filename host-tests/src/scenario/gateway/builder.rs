//! Setting up a gateway.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::Gateway;
use crate::host::clock::Clock;
use crate::host::logs::LogBook;
use crate::host::shared::SharedStore;
use crate::host::vm::Process;
use crate::host::worker::{Blueprint, StartError};
use crate::host::{FailurePolicy, FilterModule, Profile, Quirk, Settings};
use crate::scenario::{protobuf, yaml};

/// The filter that `make wasm` builds, relative to the workspace's root.
const FILTER_PATH: &str = "build/weir.wasm";

/// The default start of a gateway's clock.
const DEFAULT_START: &str = "2026-11-21T03:14:15Z";

/// A configuration in bytes, from JSON or text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config(pub(super) Vec<u8>);

impl From<Value> for Config {
    fn from(value: Value) -> Self {
        Self(value.to_string().into_bytes())
    }
}

impl From<&Value> for Config {
    fn from(value: &Value) -> Self {
        Self(value.to_string().into_bytes())
    }
}

impl From<&str> for Config {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Config {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

/// The settings of a gateway to start. Made by [`Gateway::envoy`] and [`Gateway::kong`].
#[derive(Clone, Debug)]
pub struct GatewayBuilder {
    settings: Settings,
    module: Option<FilterModule>,
    configs: Vec<Vec<u8>>,
    workers: usize,
    start: String,
    expects_traps: bool,
}

impl GatewayBuilder {
    pub(super) fn new(profile: Profile) -> Self {
        Self {
            settings: Settings::of(profile),
            module: None,
            configs: Vec::new(),
            workers: 1,
            start: DEFAULT_START.into(),
            expects_traps: false,
        }
    }

    /// The host, for a scenario that names differences between gateways.
    pub fn profile(&self) -> Profile {
        self.settings.profile
    }

    /// Uses another filter than `build/weir.wasm`.
    #[must_use]
    pub fn filter(mut self, module: FilterModule) -> Self {
        self.module = Some(module);
        self
    }

    /// Sets the filter's configuration: JSON or text.
    #[must_use]
    pub fn config(mut self, config: impl Into<Config>) -> Self {
        self.configs = vec![config.into().0];
        self
    }

    /// Sets the filter's configuration as the gateway passes YAML on: Envoy as a `google.protobuf.Struct`, Kong as
    /// JSON.
    #[must_use]
    pub fn config_in_yaml(self, config: &Value) -> Self {
        if self.settings.quirks.has(Quirk::StructIsProtobuf) {
            return self.config(Config(protobuf::encode_struct(config)));
        }
        if self.settings.quirks.has(Quirk::EmptyListsAreObjects) {
            return self.config(through_lua(config));
        }
        self.config(config)
    }

    /// Writes YAML for this host's reader, so that a reader of YAML 1.2 understands the same.
    pub fn yaml(&self, text: &str) -> String {
        if self.settings.quirks.has(Quirk::YamlWordsAreTruthValues) { yaml::in_words_of_1_2(text) } else { text.into() }
    }

    /// Adds a filter chain with this configuration, in a root context of its own in the same VMs.
    #[must_use]
    pub fn also_config(mut self, config: impl Into<Config>) -> Self {
        self.configs.push(config.into().0);
        self
    }

    /// Sets the number of worker threads; the default is 1.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the start of its clock, RFC 3339.
    #[must_use]
    pub fn at(mut self, instant: &str) -> Self {
        self.start = instant.into();
        self
    }

    /// Sets the seed of its randomness.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Sets its node id.
    #[must_use]
    pub fn node_id(mut self, node_id: &str) -> Self {
        self.settings.node_id = node_id.into();
        self
    }

    /// Envoy: sets `allow_on_headers_stop_iteration` of the filter's configuration; on by default.
    #[must_use]
    pub fn allow_on_headers_stop_iteration(mut self, allow: bool) -> Self {
        self.settings.allow_on_headers_stop_iteration = allow;
        self
    }

    /// Envoy: sets the reaction to a trap.
    #[must_use]
    pub fn failure_policy(mut self, policy: FailurePolicy) -> Self {
        self.settings.failure_policy = policy;
        self
    }

    /// Envoy: sets the bytes buffered per stream and direction.
    #[must_use]
    pub fn buffer_max_bytes(mut self, bytes: usize) -> Self {
        self.settings.buffer_max_bytes = bytes;
        self
    }

    /// Sets a variable of the environment that the gateway hands to the filter.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.settings.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Kong: sets the bytes of a request body kept in memory.
    #[must_use]
    pub fn body_buffer_bytes(mut self, bytes: usize) -> Self {
        self.settings.body_buffer_bytes = bytes;
        self
    }

    /// Kong: nginx passes responses on as they come (`proxy_buffering off`).
    #[must_use]
    pub fn unbuffered_responses(mut self) -> Self {
        self.settings.buffers_responses = false;
        self
    }

    /// Kong: no `error_page` catches what nginx answers itself.
    #[must_use]
    pub fn without_error_page(mut self) -> Self {
        self.settings.has_error_page = false;
        self
    }

    /// How many metrics the filter can define.
    #[must_use]
    pub fn metrics_max(mut self, metrics: usize) -> Self {
        self.settings.metrics_max = metrics;
        self
    }

    /// Kong: `nginx_wasm_shm_kv` is not set.
    #[must_use]
    pub fn without_shared_zone(mut self) -> Self {
        self.settings.has_shared_zone = false;
        self
    }

    /// Names an upstream that the gateway's configuration lacks.
    #[must_use]
    pub fn without_cluster(mut self, name: &str) -> Self {
        self.settings.unknown_clusters.insert(name.into());
        self
    }

    /// Removes a quirk.
    #[must_use]
    pub fn without_quirk(mut self, quirk: Quirk) -> Self {
        self.settings.quirks = self.settings.quirks.without(quirk);
        self
    }

    /// Keeps traps from failing the test; read them with [`Gateway::traps`].
    #[must_use]
    pub fn expect_traps(mut self) -> Self {
        self.expects_traps = true;
        self
    }

    /// Starts the gateway.
    ///
    /// # Panics
    /// If the filter is not built or refuses its configuration.
    #[track_caller]
    pub fn start(self) -> Gateway {
        self.try_start().unwrap_or_else(|error| panic!("the gateway does not start: {error}"))
    }

    /// Starts the gateway with a configuration that the filter may refuse.
    ///
    /// # Errors
    /// [`StartError`], the error with which a real gateway would abort.
    ///
    /// # Panics
    /// If the filter is not built.
    #[track_caller]
    pub fn try_start(mut self) -> Result<Gateway, StartError> {
        if self.configs.is_empty() {
            self.configs.push(Vec::new());
        }
        let module = self.module.take().unwrap_or_else(built_filter);
        let process =
            Process { shared: SharedStore::default(), clock: Clock::at(&self.start), logs: LogBook::default() };
        let blueprint = Blueprint { module, settings: Arc::new(self.settings), process };
        Gateway::start(blueprint, self.configs, self.workers, self.expects_traps)
    }
}

/// A configuration that was a Lua table on its way: an empty one is written as an object, whatever it was.
fn through_lua(value: &Value) -> Value {
    match value {
        Value::Array(items) if items.is_empty() => Value::Object(serde_json::Map::new()),
        Value::Array(items) => items.iter().map(through_lua).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), through_lua(value))).collect(),
        plain => plain.clone(),
    }
}

/// The filter that `make wasm` built, or the one that `WEIR_WASM` names.
#[track_caller]
fn built_filter() -> FilterModule {
    #[allow(clippy::disallowed_methods, reason = "the one setting of the harness: which build to test")]
    let named = std::env::var("WEIR_WASM").ok().map(PathBuf::from);
    let path = named.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(FILTER_PATH));
    FilterModule::load(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// Answers that the harness gives to calls by itself, by upstream.
pub(super) type Answerers = BTreeMap<String, Box<dyn Fn(&super::Call<'_>) -> crate::scenario::Response + Send + Sync>>;
