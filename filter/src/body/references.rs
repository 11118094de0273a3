//! Members that name what all tenants share at a provider: a stored answer, a file, a vector store.
//!
//! What tenants may not reach by a path they must not reach by a name in a body. A few such members stand at the root
//! ([`super::members`]); those in here may stand anywhere in it, except below members whose content users make up: tools'
//! schemas and arguments, metadata. There a `file_id` is only a word.
use weir_config::shared::Shared;
use weir_llm_usage::json::Unescaped;

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

/// What a member of that name means. `raw`: what stands between the quotes.
pub(super) fn meaning(raw: &[u8]) -> Option<Meaning> {
    let is_odd = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'\\';
    if !raw.iter().any(is_odd) {
        return of_lower(raw);
    }
    let unescaped = Unescaped::read(raw);
    let name = unescaped.as_ref().map_or(raw, Unescaped::get);
    let mut lower = [0; NAME_MAX_BYTES];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    of_lower(lower)
}

/// By the name in lower case, as careless readers compare it.
fn of_lower(name: &[u8]) -> Option<Meaning> {
    Some(match name {
        b"file_id" | b"file_ids" | b"fileid" | b"fileids" | b"skill_id" | b"container" | b"dataset_id" => {
            Meaning::Names(Shared::Files)
        }
        b"vector_store_id"
        | b"vector_store_ids"
        | b"filesearchstorenames"
        | b"file_search_store_names"
        | b"ragcorpus"
        | b"rag_corpus"
        | b"ragcorpora"
        | b"rag_corpora"
        | b"datastore"
        | b"data_store"
        | b"library_ids"
        | b"collection_ids" => Meaning::Names(Shared::VectorStores),
        b"fileuri" | b"file_uri" | b"gcsuri" | b"gcs_uri" | b"uri" => Meaning::Address,
        b"metadata" | b"properties" | b"parameters" | b"input_schema" | b"inputschema" | b"schema" | b"args"
        | b"arguments" | b"input" | b"response" | b"json" | b"data" | b"examples" | b"default" | b"enum" | b"const"
        | b"labels" | b"$defs" | b"definitions" => Meaning::MadeUp,
        _ => return None,
    })
}

/// How many bytes of an address are looked at: where it points to stands at its beginning.
const ADDRESS_LOOKED_AT_BYTES: usize = 256;

/// Whether an address is one of a file in the account at the provider, or in its cloud. `quoted`: with its quotes.
pub(super) fn is_of_account(quoted: &[u8]) -> bool {
    let raw = quoted.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(quoted);
    let unescaped: Option<String> =
        if memchr::memchr(b'\\', raw).is_some() { serde_json::from_slice(quoted).ok() } else { None };
    let address = unescaped.as_ref().map_or(raw, |text| text.as_bytes());
    let start = address.get(..ADDRESS_LOOKED_AT_BYTES).unwrap_or(address).to_ascii_lowercase();
    let stored = [&b"gs://"[..], b"s3://", b"files/"].iter().any(|known| start.starts_with(known));
    stored || (start.starts_with(b"http") && memchr::memmem::find(&start, b"googleapis.com/").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_name_is_known_in_every_spelling() {
        for name in ["file_id", "File_ID", "file\\u005fid", "\\u0046ILE_ID"] {
            assert_eq!(meaning(name.as_bytes()), Some(Meaning::Names(Shared::Files)), "{name}");
        }
        assert_eq!(meaning(b"fileSearchStoreNames"), Some(Meaning::Names(Shared::VectorStores)));
        assert_eq!(meaning(b"inputSchema"), Some(Meaning::MadeUp));
        for name in ["file_idx", "content", "", "A name that is longer than any of those that are known here"] {
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
