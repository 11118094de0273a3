//! Members that name what all tenants share at a provider: a stored answer, a file, a vector store.
//!
//! What tenants may not reach by a path they must not reach by a name in a body. A few such members stand at the root
//! ([`super::members`]); those in here may stand anywhere in it, except below members whose content users make up: tools'
//! schemas and arguments, metadata. There a `file_id` is only a word.
use weir_config::shared::Shared;
use weir_llm_usage::json::Unescaped;

use crate::initials::Initials;

/// The longest name that is looked at, in bytes.
const NAME_MAX_BYTES: usize = 32;

/// What a member means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Its string, or its list of strings, names something shared.
    Names(Shared),
    /// Its string is an address: it may be one of a file at the provider.
    Address,
    /// Users make up what stands below it.
    MadeUp,
}

/// What a member of that name means. `raw`: what stands between the quotes, among it escapes or not.
#[inline]
pub(super) fn meaning(raw: &[u8], is_escaped: bool) -> Option<Meaning> {
    if is_escaped || INITIALS.may_have(raw) { of_written(raw, is_escaped) } else { None }
}

fn of_written(raw: &[u8], is_escaped: bool) -> Option<Meaning> {
    let unescaped = if is_escaped { Unescaped::read(raw) } else { None };
    let name = unescaped.as_ref().map_or(raw, Unescaped::get);
    let mut lower = [0; NAME_MAX_BYTES];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    of_lower(lower)
}

/// By the name in lower case, as careless readers compare it.
fn of_lower(name: &[u8]) -> Option<Meaning> {
    NAMES.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, meaning)| *meaning)
}

const FILES: Meaning = Meaning::Names(Shared::Files);
const VECTOR_STORES: Meaning = Meaning::Names(Shared::VectorStores);
const INITIALS: Initials = Initials::of(&NAMES);

/// Names in lower case and their meanings.
const NAMES: [(&str, Meaning); 46] = [
    ("file_id", FILES),
    ("file_ids", FILES),
    ("fileid", FILES),
    ("fileids", FILES),
    ("skill_id", FILES),
    ("container", FILES),
    ("container_id", FILES),
    ("containerid", FILES),
    ("dataset_id", FILES),
    ("vector_store_id", VECTOR_STORES),
    ("vector_store_ids", VECTOR_STORES),
    ("filesearchstorenames", VECTOR_STORES),
    ("file_search_store_names", VECTOR_STORES),
    ("ragcorpus", VECTOR_STORES),
    ("rag_corpus", VECTOR_STORES),
    ("ragcorpora", VECTOR_STORES),
    ("rag_corpora", VECTOR_STORES),
    ("datastore", VECTOR_STORES),
    ("data_store", VECTOR_STORES),
    ("library_ids", VECTOR_STORES),
    ("collection_ids", VECTOR_STORES),
    ("fileuri", Meaning::Address),
    ("file_uri", Meaning::Address),
    ("gcsuri", Meaning::Address),
    ("gcs_uri", Meaning::Address),
    ("uri", Meaning::Address),
    // Vertex AI Search; elsewhere the name of some engine.
    ("engine", Meaning::Address),
    ("metadata", Meaning::MadeUp),
    ("properties", Meaning::MadeUp),
    ("parameters", Meaning::MadeUp),
    ("input_schema", Meaning::MadeUp),
    ("inputschema", Meaning::MadeUp),
    ("schema", Meaning::MadeUp),
    ("args", Meaning::MadeUp),
    ("arguments", Meaning::MadeUp),
    ("input", Meaning::MadeUp),
    ("response", Meaning::MadeUp),
    ("json", Meaning::MadeUp),
    ("data", Meaning::MadeUp),
    ("examples", Meaning::MadeUp),
    ("default", Meaning::MadeUp),
    ("enum", Meaning::MadeUp),
    ("const", Meaning::MadeUp),
    ("labels", Meaning::MadeUp),
    ("$defs", Meaning::MadeUp),
    ("definitions", Meaning::MadeUp),
];

/// How many bytes of an address are looked at: where it points to stands at its beginning.
pub(super) const ADDRESS_LOOKED_AT_BYTES: usize = 256;

/// Whether an address is one of a file in the account at the provider, or in its cloud. `quoted`: with its quotes.
pub(super) fn is_of_account(quoted: &[u8]) -> bool {
    let raw = quoted.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(quoted);
    let unescaped: Option<String> =
        if memchr::memchr(b'\\', raw).is_some() { serde_json::from_slice(quoted).ok() } else { None };
    begins_at_account(unescaped.as_ref().map_or(raw, |text| text.as_bytes()))
}

/// The same of an address without escapes, by its beginning.
pub(super) fn begins_at_account(address: &[u8]) -> bool {
    let start = address.get(..ADDRESS_LOOKED_AT_BYTES).unwrap_or(address).to_ascii_lowercase();
    let stored = [&b"gs://"[..], b"s3://", b"files/", b"projects/"].iter().any(|known| start.starts_with(known));
    stored || (start.starts_with(b"http") && memchr::memmem::find(&start, b"googleapis.com/").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn meaning(raw: &[u8]) -> Option<Meaning> {
        super::meaning(raw, raw.contains(&b'\\'))
    }

    #[test]
    fn a_name_is_known_in_every_spelling() {
        for name in ["file_id", "File_ID", "container_id", "containerId", "file\\u005fid", "\\u0046ILE_ID"] {
            assert_eq!(meaning(name.as_bytes()), Some(Meaning::Names(Shared::Files)), "{name}");
        }
        assert_eq!(meaning(b"fileSearchStoreNames"), Some(Meaning::Names(Shared::VectorStores)));
        assert_eq!(meaning(b"inputSchema"), Some(Meaning::MadeUp));
        for name in ["file_idx", "content", "", "A name that is longer than any of those that are known here"] {
            assert_eq!(meaning(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn names_of_every_message_mean_nothing() {
        for name in ["type", "text", "content", "role"] {
            assert_eq!(meaning(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn an_address_is_the_accounts_where_its_storage_is() {
        for address in [
            "gs://bucket/a.png",
            "gs:\\/\\/bucket",
            "S3://b/x",
            "files/abc",
            "projects/p/locations/l/collections/c/engines/e",
            "https://generativelanguage.googleapis.com/v1beta/files/a",
        ] {
            assert!(is_of_account(format!("\"{address}\"").as_bytes()), "{address}");
        }
        for address in
            ["https://www.youtube.com/watch?v=x", "https://example.com/files/x", "data:image/png;base64,AA", ""]
        {
            assert!(!is_of_account(format!("\"{address}\"").as_bytes()), "{address}");
        }
    }
}
