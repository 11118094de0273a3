//! What Envoy holds of a request must be no less than what weir reads: else Envoy answers 413 for weir's sake.
use serde_json::Value;

use super::envoy::walk;

/// Every listener that holds too little, with its path in the document.
pub(super) fn problems(document: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(document, "", &mut |path, listener| {
        let Some(holds) = listener.get("per_connection_buffer_limit_bytes").and_then(Value::as_u64) else { return };
        walk(listener, "", &mut |_, value| {
            let config = super::of_envoy(value).and_then(|filter| filter.config().ok());
            if let Some(reads) = config.filter(|config| config.hold).map(|config| config.body_max_bytes)
                && reads > holds
            {
                let problem = format!(
                    "{holds} is less than the {reads} bytes of a body that weir reads, so that Envoy would answer 413; \
                     raise it, or lower body_max_bytes in weir's configuration"
                );
                found.push((format!("{path}.per_connection_buffer_limit_bytes"), problem));
            }
        });
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn listener(holds: u64, more: &Value) -> Value {
        let mut config = json!({"version": 1, "identity": {"sources": [{"api_key": {}}]}, "plans": {}});
        more.as_object().into_iter().flatten().for_each(|(name, value)| config[name] = value.clone());
        let configuration = json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": config});
        json!({"listeners": [{"per_connection_buffer_limit_bytes": holds,
                              "filters": [{"config": {"vm_config": {}, "configuration": configuration}}]}]})
    }

    #[test]
    fn a_buffer_smaller_than_what_is_read_is_told_with_the_remedy() {
        let found = problems(&listener(32_768, &json!({})));
        assert_eq!(found.len(), 1, "{found:?}");
        let (path, problem) = &found[0];
        assert_eq!(path, "listeners[0].per_connection_buffer_limit_bytes");
        assert!(problem.starts_with("32768 is") && problem.contains("1000000 bytes"), "{problem}");
        assert!(problem.contains("body_max_bytes"), "{problem}");
    }

    #[test]
    fn a_buffer_that_is_large_enough_or_unused_is_fine() {
        for good in [
            listener(1_000_000, &json!({})),
            listener(32_768, &json!({"body_max_bytes": 32_768})),
            listener(32_768, &json!({"hold": false})),
            json!({"clusters": [{"per_connection_buffer_limit_bytes": 1}]}),
        ] {
            assert_eq!(problems(&good), Vec::new(), "{good}");
        }
    }
}
