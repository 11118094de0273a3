//! Names of one tenant's own: `docs` becomes `tenant_acme_docs`, and no two tenants' names are ever the same.
//!
//! The tenant's part has no underscore, so that the second one ends it. Letters and digits stand for themselves, but for `z`: it
//! begins an escape of two hex digits, as every other character does.
use std::fmt::Write as _;

use crate::{Guard, Store};

/// The longest name that a store takes, in bytes: Qdrant, Milvus and Chroma allow 255, 255 and 512.
const NAME_MAX_BYTES: usize = 255;

/// What the names of a tenant begin with.
pub(crate) fn prefix(tenant: &str) -> String {
    let mut prefix = String::with_capacity(tenant.len() + 8);
    prefix.push_str("tenant_");
    for byte in tenant.bytes() {
        match byte {
            b'a'..=b'y' | b'0'..=b'9' => prefix.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(prefix, "z{byte:02x}")),
        }
    }
    prefix.push('_');
    prefix
}

/// A tenant's name for `name`; None where the store would not take it.
pub fn mapped(tenant: &str, name: &str) -> Option<String> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let mapped = prefix(tenant) + name;
    (is_plain && mapped.len() <= NAME_MAX_BYTES).then_some(mapped)
}

/// A tenant's part of a collection. Chroma's tenant is a single name; what the client calls it does not matter.
pub(crate) fn part(guard: &Guard, tenant: &str, name: &str) -> Option<String> {
    mapped(tenant, if guard.store == Store::Chroma { "" } else { name })
}

/// Whether Weaviate takes a tenant's id as the name of a tenant.
pub(crate) fn is_weaviates(tenant: &str) -> bool {
    tenant.len() <= 64 && tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// What a tenant calls `name`; None if it is not its own.
pub(crate) fn unmapped<'n>(tenant: &str, name: &'n str) -> Option<&'n str> {
    name.strip_prefix(&*prefix(tenant))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_name_is_mapped_and_back_and_no_two_tenants_share_one() {
        assert_eq!(mapped("acme", "docs").as_deref(), Some("tenant_acme_docs"));
        assert_eq!(unmapped("acme", "tenant_acme_docs"), Some("docs"));
        assert_eq!(unmapped("acme", "tenant_acmeco_docs"), None);
        let tenants = ["a", "a_b", "A", "az5fb", "z", "a.b", "a-b", "jazz"];
        let names = ["", "b", "b_c", "_", "5fb_c"];
        let mut seen = std::collections::BTreeSet::new();
        for tenant in tenants {
            for name in names {
                let mapped = mapped(tenant, name).expect("a name");
                assert_eq!(unmapped(tenant, &mapped), Some(name));
                assert!(seen.insert(mapped), "{tenant} {name}");
            }
        }
    }

    #[test]
    fn what_a_store_may_read_in_another_way_is_no_name() {
        for name in ["a/b", "a%2fb", "a b", "ü", "a\"", &"x".repeat(256)] {
            assert_eq!(mapped("acme", name), None, "{name}");
        }
    }
}
