//! Checks that Envoy buffers more of a request than weir reads; otherwise Envoy answers 413.
//!
//! While a filter holds a body, Envoy adds the next read of the connection before it calls the filter again. The filter
//! therefore releases the body one read late, and a route must hold weir's limit and one more read.
use serde_json::Value;

use super::embedded::{self, walk};

/// The default size of one read of a connection, in bytes.
const CONNECTION_BYTES: u64 = 1 << 20;
/// How far one read may exceed that, in bytes: one slice of Envoy's buffers.
const SLICE_BYTES: u64 = 16 << 10;

/// All virtual hosts with too small a buffer: the path in the document, and the remedy.
pub(super) fn problems(document: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(document, "", &mut |path, listener| {
        if listener.get("filter_chains").is_none_or(Value::is_null) {
            return;
        }
        let connection = bytes(&listener["per_connection_buffer_limit_bytes"]).unwrap_or(CONNECTION_BYTES);
        walk(listener, path, &mut |path, manager| {
            if let Some(reads) = read_by_weir(&manager["http_filters"]) {
                let needs = reads.saturating_add(connection).saturating_add(SLICE_BYTES);
                found.extend(hosts(manager, path, connection, needs));
            }
        });
    });
    found
}

/// The largest body that a weir filter among these reads, in bytes.
fn read_by_weir(filters: &Value) -> Option<u64> {
    let configs = embedded::find(filters).into_iter().filter_map(|filter| filter.config.ok()?.config().ok());
    configs.filter(|config| config.hold).map(|config| config.body_max_bytes).max()
}

fn hosts(manager: &Value, path: &str, connection: u64, needs: u64) -> Vec<(String, String)> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for (at, host) in list(&manager["route_config"]["virtual_hosts"]).iter().enumerate() {
        // A route's own limit takes precedence, then its host's, then the connection's.
        let of_host = bytes(&host["request_body_buffer_limit"]).unwrap_or(connection);
        let of_route = |route: &Value| bytes(&route["request_body_buffer_limit"]).unwrap_or(of_host);
        let holds = list(&host["routes"]).iter().map(of_route).min().unwrap_or(of_host);
        if holds < needs {
            let problem = format!(
                "Envoy holds {holds} bytes of a body, and would answer 413 to one without a length that weir would let pass; \
                 set request_body_buffer_limit to {needs} or more (what weir reads, and one read of a connection), or lower \
                 body_max_bytes in weir's configuration"
            );
            found.push((format!("{path}.route_config.virtual_hosts[{at}]"), problem));
        }
    }
    found
}

/// A number of bytes. JSON may write 64-bit numbers as text.
fn bytes(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn edge(listener: &Value, host: &Value, more: &Value) -> Value {
        let with = |mut value: Value, more: &Value| {
            more.as_object().into_iter().flatten().for_each(|(name, field)| value[name] = field.clone());
            value
        };
        let config = with(json!({"version": 1, "identity": {"sources": [{"api_key": {}}]}, "plans": {}}), more);
        let configuration = json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": config});
        let filters = json!([{"typed_config": {"config": {"vm_config": {}, "configuration": configuration}}}]);
        let host = with(json!({"routes": [{"match": {"prefix": "/"}}]}), host);
        let manager = json!({"route_config": {"virtual_hosts": [host]}, "http_filters": filters});
        json!({"listeners": [with(json!({"filter_chains": [{"filters": [{"typed_config": manager}]}]}), listener)]})
    }

    #[test]
    fn a_host_that_holds_too_little_is_told_with_the_remedy() {
        for (listener, host) in [
            (json!({}), json!({})),
            (json!({}), json!({"request_body_buffer_limit": 2_000_000})),
            (json!({"per_connection_buffer_limit_bytes": 8_388_608}), json!({"request_body_buffer_limit": 4_194_304})),
            (
                json!({}),
                json!({"routes": [{}, {"request_body_buffer_limit": 1}], "request_body_buffer_limit": 16_777_216}),
            ),
        ] {
            let found = problems(&edge(&listener, &host, &json!({})));
            assert_eq!(found.len(), 1, "{listener} {host}: {found:?}");
            let place = "listeners[0].filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0]";
            assert!(found[0].0 == place && found[0].1.contains("set request_body_buffer_limit to "), "{found:?}");
        }
    }

    #[test]
    fn a_host_that_holds_enough_or_need_not_is_fine() {
        for (listener, host, filter) in [
            (json!({}), json!({"request_body_buffer_limit": "16777216"}), json!({})),
            (json!({}), json!({"routes": [{"request_body_buffer_limit": 16_777_216}]}), json!({})),
            (
                json!({"per_connection_buffer_limit_bytes": 32_768}),
                json!({"request_body_buffer_limit": 81_920}),
                json!({"body_max_bytes": 32_768}),
            ),
            (json!({}), json!({}), json!({"hold": false})),
        ] {
            assert_eq!(problems(&edge(&listener, &host, &filter)), Vec::new(), "{listener} {host} {filter}");
        }
    }
}
