//! What tenants are known by, and which of it would turn up in answers that mean something else.
use weir_contract::directory::{IDENTIFIER_MAX_BYTES, IDENTIFIERS_MAX};

use super::TenantEntry;

/// Words of ordinary answers that are names of companies, too, or that tenants are often called by.
const COMMON_WORDS: [&str; 96] = [
    "admin",
    "agent",
    "alpha",
    "amazon",
    "analytics",
    "answer",
    "apple",
    "assistant",
    "atlas",
    "avocado",
    "beta",
    "block",
    "blue",
    "bolt",
    "box",
    "bridge",
    "budget",
    "canvas",
    "capital",
    "chase",
    "chat",
    "chrome",
    "circle",
    "client",
    "cloud",
    "company",
    "compass",
    "content",
    "coral",
    "customer",
    "data",
    "default",
    "delta",
    "demo",
    "design",
    "discover",
    "echo",
    "edge",
    "energy",
    "example",
    "express",
    "finance",
    "focus",
    "gap",
    "general",
    "global",
    "google",
    "green",
    "health",
    "indeed",
    "insight",
    "internal",
    "legal",
    "linear",
    "local",
    "match",
    "media",
    "meta",
    "model",
    "monday",
    "news",
    "notion",
    "nova",
    "office",
    "open",
    "oracle",
    "orange",
    "otter",
    "people",
    "pilot",
    "plaid",
    "platform",
    "prime",
    "product",
    "production",
    "ramp",
    "school",
    "search",
    "segment",
    "server",
    "service",
    "shell",
    "slack",
    "square",
    "staging",
    "stripe",
    "studio",
    "support",
    "system",
    "target",
    "team",
    "tenant",
    "test",
    "text",
    "user",
    "visa",
];

/// Refuses what no gateway would take.
pub(crate) fn check(tenant: &TenantEntry) -> Result<(), String> {
    let id = &tenant.id;
    if tenant.identifiers.len() > IDENTIFIERS_MAX {
        return Err(format!("tenant {id}: {} identifiers, at most {IDENTIFIERS_MAX}", tenant.identifiers.len()));
    }
    let is_wrong = |text: &&String| text.len() > IDENTIFIER_MAX_BYTES || !text.chars().any(char::is_alphanumeric);
    match tenant.identifiers.iter().position(|text| is_wrong(&text)) {
        Some(at) => Err(format!(
            "tenant {id}: identifiers[{at}] has no letter or digit, or more than {IDENTIFIER_MAX_BYTES} bytes"
        )),
        None => Ok(()),
    }
}

/// Ids and identifiers that are ordinary words: where answers are redacted, each of them is taken out of the answers of
/// everybody else.
pub fn warnings(tenants: &[TenantEntry]) -> Vec<String> {
    let is_common = |text: &str| COMMON_WORDS.contains(&&*text.trim().to_lowercase());
    let of = |tenant: &TenantEntry| {
        let id = tenant.id.as_str();
        let ids = is_common(id).then(|| format!("tenant {id}: its id is a common word"));
        let others = tenant.identifiers.iter().enumerate().filter(|(_, text)| is_common(text));
        let others = others.map(|(at, text)| format!("tenant {id}: identifiers[{at}] {text:?} is a common word"));
        ids.into_iter().chain(others).collect::<Vec<_>>()
    };
    let consequence = "a gateway with `redact` takes it out of the answers of all other tenants";
    tenants.iter().flat_map(of).map(|warning| format!("{warning}; {consequence}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(identifiers: &[&str]) -> TenantEntry {
        let list = identifiers.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ");
        serde_json::from_str(&format!(r#"{{"id": "apple", "plan": "p", "identifiers": [{list}]}}"#)).expect("a tenant")
    }

    #[test]
    fn what_no_gateway_takes_is_refused() {
        assert_eq!(check(&tenant(&["Acme Corp", "acme.example"])), Ok(()));
        for wrong in ["", " - ", &"x".repeat(129)] {
            assert!(check(&tenant(&["Acme", wrong])).unwrap_err().contains("identifiers[1]"));
        }
        assert!(check(&tenant(&["Acme"; 65])).unwrap_err().contains("at most 64"));
    }

    #[test]
    fn common_words_are_warned_of() {
        let warnings = warnings(&[tenant(&["Acme Corp", "Target"])]);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("its id") && warnings[1].contains("identifiers[1] \"Target\""), "{warnings:?}");
        assert!(COMMON_WORDS.is_sorted());
    }
}
