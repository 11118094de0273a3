//! The page of the documentation that lists what the tables offer; `WEIR_WRITE_DOCS=1 cargo test -p weir-vector-guard page` writes it.
use std::fmt::Write as _;

use super::operations;
use crate::rule::{Kind, Operation, Parameter, Segment};
use crate::{By, Store};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vector-store-operations.md");
const HEAD: &str = "# Operations of vector stores

What tenants may do on a route that [guards a vector store](data-apart.md#vector-stores), by the way in which they are kept apart.
Everything else is refused with 403 `operation_not_permitted`. A test writes this page from the guard's own tables.
";

const STORES: [(Store, &str, &[By], &str); 5] = [
    (
        Store::Qdrant,
        "Qdrant",
        &[By::Filter, By::Collection],
        "Refused: gRPC, aliases, snapshots, shards, cluster, telemetry, metrics, clearing payloads, payloads set below a `key`; by filter, \
         the settings of the collection, which all share.",
    ),
    (
        Store::Pinecone,
        "Pinecone",
        &[By::Namespace],
        "Refused: gRPC, the control plane, imports, statistics of the index, and describing one namespace. Texts can be written \
         (`records.upsert`), but not searched for (`records/…/search`): embed the query, and search by its vector.",
    ),
    (
        Store::Chroma,
        "Chroma",
        &[By::Filter, By::Namespace],
        "Refused: counting records, renaming and forking a collection, counting collections, attached functions, reset.",
    ),
    (
        Store::Milvus,
        "Milvus",
        &[By::Filter, By::Namespace, By::Collection],
        "Refused: gRPC, databases, aliases, users, roles, resource groups, jobs; by filter, `entities/upsert`, and `entities/insert` \
         unless `primary_field` is set; by namespace, listing, loading, releasing and dropping partitions: the operator drops what a \
         tenant leaves behind.",
    ),
    (
        Store::Weaviate,
        "Weaviate",
        &[By::Namespace],
        "Refused: gRPC and GraphQL, and with them every search by vector and the official clients' reads; references, the schema of all \
         classes, backups, nodes, users and roles. The operator creates the class with multi-tenancy, and each tenant in it \
         (`POST /v1/schema/Doc/tenants`), which is refused here; or sets `autoTenantCreation`.",
    ),
];

const fn name(by: By) -> &'static str {
    match by {
        By::Filter => "filter",
        By::Namespace => "namespace",
        By::Collection => "collection",
    }
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Search => "search, audited",
        Kind::Read => "read",
        Kind::Write => "write",
        Kind::Free => "",
    }
}

fn path(operation: &Operation) -> String {
    let segment = |segment: &Segment| match segment {
        Segment::Is(name) => (*name).to_owned(),
        Segment::Collection => "{collection}".to_owned(),
        Segment::Namespace => "{namespace}".to_owned(),
        Segment::Any => "{name}".to_owned(),
    };
    let path: Vec<String> = operation.path.iter().map(segment).collect();
    format!("{} /{}", operation.method, path.join("/"))
}

fn parameters(operation: &Operation) -> String {
    let one = |(name, parameter): &(&str, Parameter)| match parameter {
        Parameter::Any => format!("`{name}`"),
        Parameter::Tenant | Parameter::Namespace => format!("`{name}` (mapped)"),
    };
    operation.query.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for (store, title, ways, refused) in STORES {
        let names: Vec<&str> = ways.iter().map(|by| name(*by)).collect();
        let rule = "|---".repeat(ways.len() + 4);
        let head = format!("| operation | request | query | {} | |", names.join(" | "));
        let _written = write!(page, "\n## {title}\n\n{refused}\n\n{head}\n{rule}|\n");
        for operation in operations(store) {
            let offered = ways.iter().map(|by| if operation.offered.contains(by) { "yes" } else { "no" });
            let offered: Vec<&str> = offered.collect();
            let (path, query, kind) = (path(operation), parameters(operation), kind(operation.kind));
            let offered = offered.join(" | ");
            let _written = writeln!(page, "| `{}` | `{path}` | {query} | {offered} | {kind} |", operation.name);
        }
    }
    page
}

#[test]
fn the_page_lists_every_operation() {
    let page = page();
    if std::env::var_os("WEIR_WRITE_DOCS").is_some() {
        std::fs::write(PAGE, &page).expect("the page can be written");
    }
    let written = std::fs::read_to_string(PAGE).expect("the page is there");
    assert!(written == page, "docs/vector-store-operations.md is old; WEIR_WRITE_DOCS=1 writes it anew");
}
