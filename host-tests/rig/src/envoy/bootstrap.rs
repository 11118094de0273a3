//! An Envoy configuration as a value: a file that people read is loaded as it is, and only what a machine must choose
//! (ports, addresses, the path of the code) is changed in memory. So the shipped files need no placeholders, and what a
//! test runs is what a user runs.

use serde_json::{Value, json};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

const WASM_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const LISTENER_TYPE: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const STRUCT_TYPE: &str = "type.googleapis.com/google.protobuf.Struct";

/// An Envoy bootstrap configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Bootstrap(Value);

/// Why a configuration could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The file is not there.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// The operating system's error.
        error: std::io::Error,
    },
    /// The text is no YAML.
    #[error("the Envoy configuration is no YAML: {0}")]
    Yaml(String),
    /// It has no cluster of that name.
    #[error("the Envoy configuration has no cluster `{0}` with an endpoint")]
    NoCluster(String),
    /// It has no Wasm filter.
    #[error("the Envoy configuration has no HTTP filter of type {WASM_TYPE}")]
    NoWasmFilter,
}

impl Bootstrap {
    /// Reads YAML (or JSON).
    ///
    /// # Errors
    /// [`BootstrapError::Yaml`].
    pub fn from_yaml(text: &str) -> Result<Self, BootstrapError> {
        serde_saphyr::from_str(text).map(Self).map_err(|error| BootstrapError::Yaml(error.to_string()))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`BootstrapError::File`], [`BootstrapError::Yaml`].
    pub fn from_file(path: &Path) -> Result<Self, BootstrapError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| BootstrapError::File { path: path.display().to_string(), error })?;
        Self::from_yaml(&text)
    }

    /// Every listener and the admin interface get a free loopback port; listeners inside Envoy have none.
    #[must_use]
    pub fn on_free_ports(mut self) -> Self {
        let free = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
        for listener in
            self.0.pointer_mut("/static_resources/listeners").and_then(Value::as_array_mut).into_iter().flatten()
        {
            if listener.get("internal_listener").is_none() {
                listener["address"] = free.clone();
            }
        }
        self.0["admin"] = json!({"address": free});
        self
    }

    /// Points a cluster at `address`.
    ///
    /// # Errors
    /// [`BootstrapError::NoCluster`].
    pub fn cluster(mut self, name: &str, address: SocketAddr) -> Result<Self, BootstrapError> {
        let socket = self
            .cluster_mut(name)
            .and_then(|cluster| cluster.pointer_mut("/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address"))
            .ok_or_else(|| BootstrapError::NoCluster(name.to_owned()))?;
        *socket = socket_address(address);
        Ok(self)
    }

    /// Points a cluster at several addresses, among which it spreads.
    ///
    /// # Errors
    /// As [`Bootstrap::cluster`].
    pub fn endpoints(mut self, name: &str, addresses: &[SocketAddr]) -> Result<Self, BootstrapError> {
        let endpoints = self
            .cluster_mut(name)
            .and_then(|cluster| cluster.pointer_mut("/load_assignment/endpoints/0/lb_endpoints"))
            .ok_or_else(|| BootstrapError::NoCluster(name.to_owned()))?;
        let endpoint = |address: &SocketAddr| json!({"endpoint": {"address": socket_address(*address)}});
        *endpoints = addresses.iter().map(endpoint).collect();
        Ok(self)
    }

    fn cluster_mut(&mut self, name: &str) -> Option<&mut Value> {
        let clusters = self.0.pointer_mut("/static_resources/clusters").and_then(Value::as_array_mut)?;
        clusters.iter_mut().find(|cluster| cluster["name"] == name)
    }

    /// Every Wasm filter loads its code from `path`.
    ///
    /// # Errors
    /// [`BootstrapError::NoWasmFilter`].
    pub fn code(self, path: &Path) -> Result<Self, BootstrapError> {
        self.each_wasm_filter(|config| config["vm_config"]["code"] = json!({"local": {"filename": path}}))
    }

    /// Every Wasm filter gets this configuration.
    ///
    /// # Errors
    /// [`BootstrapError::NoWasmFilter`].
    pub fn configuration(self, value: &Value) -> Result<Self, BootstrapError> {
        self.each_wasm_filter(|config| config["configuration"] = json!({"@type": STRUCT_TYPE, "value": value}))
    }

    /// Changes the `PluginConfig` of every Wasm filter.
    ///
    /// # Errors
    /// [`BootstrapError::NoWasmFilter`].
    pub fn each_wasm_filter(mut self, mut change: impl FnMut(&mut Value)) -> Result<Self, BootstrapError> {
        let mut found = false;
        visit(&mut self.0, &mut |value| {
            if value["@type"] == WASM_TYPE {
                found = true;
                change(&mut value["config"]);
            }
        });
        if found { Ok(self) } else { Err(BootstrapError::NoWasmFilter) }
    }

    /// Its listeners, as a file that Envoy watches has them.
    #[must_use]
    pub fn listeners(&self) -> Value {
        let listeners = self.0.pointer("/static_resources/listeners").and_then(Value::as_array);
        let typed = |listener: &Value| {
            let mut listener = listener.clone();
            listener["@type"] = json!(LISTENER_TYPE);
            listener
        };
        json!({"resources": listeners.into_iter().flatten().map(typed).collect::<Vec<_>>()})
    }

    /// Takes its listeners from a watched file instead of its own.
    #[must_use]
    pub(crate) fn listeners_from(self, path: &Path) -> Self {
        self.edit(|config| {
            config["static_resources"]["listeners"] = json!([]);
            config["dynamic_resources"] = json!({"lds_config": {"path_config_source": {"path": path}}});
            // Envoy asks for a name as soon as anything is dynamic.
            config["node"] = json!({"id": "rig", "cluster": "rig"});
        })
    }

    /// Changes anything else.
    #[must_use]
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.0);
        self
    }
}

/// As JSON, which Envoy reads as well as YAML.
impl fmt::Display for Bootstrap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Calls `act` for every object of the tree.
fn visit(value: &mut Value, act: &mut impl FnMut(&mut Value)) {
    if value.is_object() {
        act(value);
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| visit(item, act)),
        Value::Object(fields) => fields.values_mut().for_each(|field| visit(field, act)),
        _ => {}
    }
}

fn socket_address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "
static_resources:
  listeners:
    - name: edge
      address: {socket_address: {address: 0.0.0.0, port_value: 8080}}
      filter: {'@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, config: {name: weir}}
  clusters:
    - name: llm
      load_assignment:
        endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: llm, port_value: 443}}}}]}]
";

    #[test]
    fn listeners_and_admin_get_free_ports() {
        let bootstrap = Bootstrap::from_yaml(SMALL).unwrap().on_free_ports();
        let ports = ["/static_resources/listeners/0/address", "/admin/address"];
        assert!(ports.iter().all(|at| bootstrap.0.pointer(at).unwrap()["socket_address"]["port_value"] == 0));
    }

    #[test]
    fn a_cluster_is_pointed_elsewhere() {
        let bootstrap = Bootstrap::from_yaml(SMALL).unwrap().cluster("llm", ([127, 0, 0, 1], 4321).into()).unwrap();
        assert!(bootstrap.to_string().contains(r#"{"address":"127.0.0.1","port_value":4321}"#));
    }

    #[test]
    fn a_cluster_that_is_not_there_is_named() {
        let error = Bootstrap::from_yaml(SMALL).unwrap().cluster("weir", ([127, 0, 0, 1], 1).into()).unwrap_err();
        assert_eq!(error.to_string(), "the Envoy configuration has no cluster `weir` with an endpoint");
    }

    #[test]
    fn the_filter_gets_its_code_and_its_configuration() {
        let bootstrap = Bootstrap::from_yaml(SMALL).unwrap();
        let bootstrap =
            bootstrap.code(Path::new("/srv/weir.wasm")).unwrap().configuration(&json!({"version": 1})).unwrap();
        assert!(bootstrap.to_string().contains(r#""value":{"version":1}"#));
        assert!(bootstrap.to_string().contains(r#""code":{"local":{"filename":"/srv/weir.wasm"}}"#));
    }
}
