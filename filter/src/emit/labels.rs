//! What requests say about themselves, for analysis only: nothing here decides what is billed.
use sha2::{Digest, Sha256};
use weir_config::{ConfigError, shape};
use weir_contract::TenantId;
use weir_contract::user::UserKey;

use super::trace::Trace;
use crate::head::Head;

/// The longest feature or prompt version that is taken from a header, in bytes.
pub(crate) const LABEL_MAX_BYTES: usize = 128;
/// The longest idempotency key that is hashed, in bytes; Stripe's own bound is 255.
pub(crate) const IDEMPOTENCY_KEY_MAX_BYTES: usize = 255;

/// Which headers are labels, and the key under which users are reported.
#[derive(Default)]
pub struct LabelRules {
    feature_header: Option<Box<str>>,
    prompt_version_header: Option<Box<str>>,
    user_key: Option<UserKey>,
}

impl std::fmt::Debug for LabelRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Labels(…)")
    }
}

/// The labels of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestLabels {
    /// The feature that a header names.
    pub feature: Option<Box<str>>,
    /// The prompt's version that a header names.
    pub prompt_version: Option<Box<str>>,
    /// SHA-256 of the caller's `Idempotency-Key`, hex.
    pub idempotency_key_hash: Option<Box<str>>,
    /// Its place in a trace of the caller's.
    pub trace: Option<Trace>,
}

impl LabelRules {
    /// Checks and compiles what the configuration says.
    pub fn compile(events: &shape::Events) -> Result<Self, ConfigError> {
        let header = |name: &Option<String>| name.as_ref().map(|name| name.to_ascii_lowercase().into());
        let user_key = events.user_key.as_ref().map(|key| {
            UserKey::new(key.expose().as_bytes()).map_err(|too_short| ConfigError::new("events.user_key", too_short))
        });
        Ok(LabelRules {
            feature_header: header(&events.feature_header),
            prompt_version_header: header(&events.prompt_version_header),
            user_key: user_key.transpose()?,
        })
    }

    /// The labels in a request's head.
    pub fn read(&self, head: &Head<'_>) -> RequestLabels {
        let label = |header: &Option<Box<str>>| text(head.value(header.as_deref()?)?);
        let key = head.idempotency_key;
        let key = key.filter(|key| !key.is_empty() && key.len() <= IDEMPOTENCY_KEY_MAX_BYTES);
        RequestLabels {
            feature: label(&self.feature_header),
            prompt_version: label(&self.prompt_version_header),
            idempotency_key_hash: key.map(|key| hex::encode(Sha256::digest(key)).into()),
            trace: head.traceparent.and_then(Trace::read),
        }
    }

    /// The end user as events report it: `hmac:` and 32 hex digits, different for the same name in two tenants. None
    /// without a key: then no user is reported.
    pub fn user(&self, tenant: &TenantId, user: &str) -> Option<String> {
        Some(self.user_key.as_ref()?.name(tenant, user))
    }
}

/// A label of printable ASCII; None for anything else.
fn text(value: &[u8]) -> Option<Box<str>> {
    let value = value.trim_ascii();
    let fits = !value.is_empty() && value.len() <= LABEL_MAX_BYTES;
    let plain = value.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    if fits && plain { std::str::from_utf8(value).ok().map(Into::into) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn labels(user_key: Option<&str>) -> Result<LabelRules, ConfigError> {
        let events = serde_json::json!({"cluster": "weir", "token": "t", "prompt_version_header": "X-Prompt-Version",
            "feature_header": "x-feature", "user_key": user_key});
        LabelRules::compile(&serde_json::from_value(events).expect("a shape"))
    }

    #[test]
    fn labels_come_from_the_configured_headers_and_only_as_plain_text() {
        let long = [b'v'; LABEL_MAX_BYTES + 1];
        for (value, expected) in [
            (&b"v12"[..], Some("v12")),
            (b" two words ", Some("two words")),
            (b"", None),
            (&long, None),
            (b"a\xff", None),
        ] {
            let pairs = [(&b"x-prompt-version"[..], value), (b"idempotency-key", b"k")];
            let label = labels(None).expect("good").read(&Head::read(&pairs));
            assert_eq!((label.prompt_version.as_deref(), label.feature), (expected, None), "{value:?}");
            let sha256_of_k = "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a";
            assert_eq!(label.idempotency_key_hash.as_deref(), Some(sha256_of_k));
        }
    }

    #[test]
    fn a_user_is_told_under_the_key_only_and_differs_by_tenant() {
        let tenant = |id| TenantId::new(id).expect("an id");
        let of = |key: Option<&str>, id| labels(key).expect("good").user(&tenant(id), "ann@example.com");
        let (one, two) = ("a key of more than thirty-two bytes", "another key of more than 32 bytes");
        assert_eq!(of(None, "acme"), None);
        let told = of(Some(one), "acme").expect("told");
        assert!(told.starts_with("hmac:") && told.len() == 37 && !told.contains("ann"), "{told}");
        assert_eq!(of(Some(one), "acme"), Some(told.clone()));
        assert!(of(Some(two), "acme") != Some(told.clone()) && of(Some(one), "globex") != Some(told));
        assert!(labels(Some("short")).is_err());
    }
}
