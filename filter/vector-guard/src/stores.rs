//! The tables: every operation of each store's HTTP API that tenants may use. What is not in a table is refused.
mod chroma;
mod milvus;
mod pinecone;
mod qdrant;
mod weaviate;

use crate::Store;
use crate::rule::Operation;

/// The operations of a store.
pub(crate) fn operations(store: Store) -> &'static [Operation] {
    match store {
        Store::Qdrant => qdrant::OPERATIONS,
        Store::Pinecone => pinecone::OPERATIONS,
        Store::Chroma => chroma::OPERATIONS,
        Store::Milvus => milvus::OPERATIONS,
        Store::Weaviate => weaviate::OPERATIONS,
    }
}

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests {
    use std::fmt::Write as _;

    use super::operations;
    use crate::rule::{Answer, Kind, Operation, Segment};
    use crate::{By, Store};

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vector-stores.md");
    const STORES: [(Store, &str); 5] = [
        (Store::Qdrant, "Qdrant, REST API of 1.16 to 1.18"),
        (Store::Pinecone, "Pinecone, data plane 2025-10"),
        (Store::Chroma, "Chroma, API v2 of 1.x"),
        (Store::Milvus, "Milvus, RESTful API v2 of 2.6"),
        (Store::Weaviate, "Weaviate, REST API v1 of 1.3x"),
    ];

    fn path(operation: &Operation) -> String {
        let segment = |segment: &Segment| match segment {
            Segment::Is(name) => (*name).to_owned(),
            Segment::Collection => "{collection}".to_owned(),
            Segment::Namespace => "{own}".to_owned(),
            Segment::Any => "{any}".to_owned(),
        };
        operation.path.iter().map(|part| format!("/{}", segment(part))).collect()
    }

    fn row(operation: &Operation) -> String {
        let by = |by: &By| match by {
            By::Filter => "filter",
            By::Namespace => "namespace",
            By::Collection => "collection",
        };
        let offered: Vec<&str> = operation.offered.iter().map(by).collect();
        let asked = match operation.kind {
            Kind::Search => "search",
            Kind::Read => "read",
            Kind::Write => "write",
            Kind::Free => "",
        };
        let answer = match operation.answer {
            Answer::Plain => "passes",
            Answer::Records(_) | Answer::Record(_) | Answer::Columns(_) => "each record is checked",
            Answer::Names(_) => "one's own names",
            Answer::OfNamespace => "its namespace is checked",
        };
        let (name, method, path) = (operation.name, operation.method, path(operation));
        format!("| `{method} {path}` | `{name}` | {} | {asked} | {answer} |", offered.join(", "))
    }

    /// `make guard-table` writes the page.
    #[test]
    fn the_page_lists_every_operation() {
        let page = std::fs::read_to_string(PAGE).expect("the page");
        let (head, _) = page.split_once("\n## ").expect("a head");
        let mut expected = head.to_owned();
        for (store, title) in STORES {
            expected.push_str(&format!(
                "\n## {title}\n\n| request | name in audits | offered by | asks for | answer |\n|---|---|---|---|---|\n"
            ));
            for operation in operations(store) {
                writeln!(expected, "{}", row(operation)).expect("text");
            }
        }
        if std::env::var_os("WEIR_WRITE_TABLE").is_some() {
            std::fs::write(PAGE, &expected).expect("the page");
        }
        assert_eq!(std::fs::read_to_string(PAGE).expect("the page"), expected, "run `make guard-table`");
    }
}
