//! Chroma's HTTP API v2, by the OpenAPI description of 1.x.
//!
//! A collection is named by its UUID, and the server does not ask whose it is. So records are kept apart in both ways: every id
//! gets the tenant's prefix, every metadata its mark, every `where` its condition. By namespace, tenants have collections of their
//! own besides, under a Chroma tenant of their own. Refused: counting and renaming a collection, which is
//! named by its UUID alone, forks, attached functions, reset, and everything about tenants and databases of others.
use crate::By;
use crate::rule::{Answer, Ensure, Kind, Operation, Parameter, Rule, Segment, Shape};

const BOTH: &[By] = &[By::Filter, By::Namespace];
const OWN: &[By] = &[By::Namespace];

const API: Segment = Segment::Is("api");
const V2: Segment = Segment::Is("v2");
const TENANTS: Segment = Segment::Is("tenants");
const T: Segment = Segment::Namespace;
const DATABASES: Segment = Segment::Is("databases");
const D: Segment = Segment::Any;
const COLLECTIONS: Segment = Segment::Is("collections");
const C: Segment = Segment::Collection;

const PAGE: &[(&str, Parameter)] = &[("limit", Parameter::Any), ("offset", Parameter::Any)];
const GOT: &[&str] = &["ids", "embeddings", "documents", "uris", "metadatas"];
const FOUND: &[&str] = &["ids", "embeddings", "documents", "uris", "metadatas", "distances"];

const WRITTEN: &[(&str, Rule)] = &[
    ("ids", Rule::Ids),
    ("embeddings", Rule::Any),
    ("documents", Rule::Any),
    ("uris", Rule::Any),
    ("metadatas", Rule::Payloads),
];
static WRITE: Rule =
    Rule::Object(&Shape { members: WRITTEN, ensure: &[Ensure::Present("ids"), Ensure::Payloads("metadatas", "ids")] });
static GET: Rule = Rule::Object(&Shape {
    members: &[
        ("ids", Rule::Ids),
        ("where", Rule::Filter),
        ("where_document", Rule::Any),
        ("limit", Rule::Scalar),
        ("offset", Rule::Scalar),
        ("include", Rule::Any),
    ],
    ensure: &[Ensure::Filter("where")],
});
static QUERY: Rule = Rule::Object(&Shape {
    members: &[
        ("ids", Rule::Ids),
        ("where", Rule::Filter),
        ("where_document", Rule::Any),
        ("query_embeddings", Rule::Vector),
        ("n_results", Rule::Scalar),
        ("include", Rule::Any),
    ],
    ensure: &[Ensure::Filter("where"), Ensure::Present("query_embeddings")],
});
static DELETE: Rule = Rule::Object(&Shape {
    members: &[("ids", Rule::Ids), ("where", Rule::Filter), ("where_document", Rule::Any), ("limit", Rule::Scalar)],
    ensure: &[Ensure::Filter("where")],
});
static CREATE: Rule = Rule::Object(&Shape {
    members: &[
        ("name", Rule::Scalar),
        ("metadata", Rule::Any),
        ("configuration", Rule::Any),
        ("schema", Rule::Any),
        ("get_or_create", Rule::Scalar),
    ],
    ensure: &[Ensure::Present("name")],
});
static DATABASE: Rule = Rule::Object(&Shape { members: &[("name", Rule::Scalar)], ensure: &[Ensure::Present("name")] });
static TENANT: Rule =
    Rule::Object(&Shape { members: &[("name", Rule::Namespace)], ensure: &[Ensure::Present("name")] });

const fn on_records(
    name: &'static str,
    path: &'static [Segment],
    kind: Kind,
    body: &'static Rule,
    answer: Answer,
) -> Operation {
    Operation { name, method: "POST", path, kind, offered: BOTH, query: PAGE, body: Some(body), answer }
}

const fn about(
    name: &'static str,
    method: &'static str,
    path: &'static [Segment],
    kind: Kind,
    offered: &'static [By],
    body: Option<&'static Rule>,
) -> Operation {
    Operation { name, method, path, kind, offered, query: PAGE, body, answer: Answer::Plain }
}

const fn records(last: &'static str) -> [Segment; 9] {
    [API, V2, TENANTS, T, DATABASES, D, COLLECTIONS, C, Segment::Is(last)]
}

/// Every operation that is offered.
pub(super) static OPERATIONS: &[Operation] = &[
    on_records("collections.query", &records("query"), Kind::Search, &QUERY, Answer::Columns(FOUND)),
    on_records("collections.get", &records("get"), Kind::Search, &GET, Answer::Columns(GOT)),
    on_records("collections.add", &records("add"), Kind::Write, &WRITE, Answer::Plain),
    on_records("collections.upsert", &records("upsert"), Kind::Write, &WRITE, Answer::Plain),
    on_records("collections.update", &records("update"), Kind::Write, &WRITE, Answer::Plain),
    on_records("collections.delete", &records("delete"), Kind::Write, &DELETE, Answer::Plain),
    about("collections.describe", "GET", &[API, V2, TENANTS, T, DATABASES, D, COLLECTIONS, C], Kind::Free, BOTH, None),
    about("collections.list", "GET", &[API, V2, TENANTS, T, DATABASES, D, COLLECTIONS], Kind::Free, OWN, None),
    about(
        "collections.create",
        "POST",
        &[API, V2, TENANTS, T, DATABASES, D, COLLECTIONS],
        Kind::Write,
        OWN,
        Some(&CREATE),
    ),
    about("collections.drop", "DELETE", &[API, V2, TENANTS, T, DATABASES, D, COLLECTIONS, C], Kind::Write, OWN, None),
    about("databases.create", "POST", &[API, V2, TENANTS, T, DATABASES], Kind::Write, OWN, Some(&DATABASE)),
    about("databases.get", "GET", &[API, V2, TENANTS, T, DATABASES, D], Kind::Free, BOTH, None),
    about("databases.list", "GET", &[API, V2, TENANTS, T, DATABASES], Kind::Free, OWN, None),
    about("tenants.create", "POST", &[API, V2, TENANTS], Kind::Write, OWN, Some(&TENANT)),
    about("tenants.get", "GET", &[API, V2, TENANTS, T], Kind::Free, BOTH, None),
    about("heartbeat", "GET", &[API, V2, Segment::Is("heartbeat")], Kind::Free, BOTH, None),
    about("version", "GET", &[API, V2, Segment::Is("version")], Kind::Free, BOTH, None),
    about("preflight", "GET", &[API, V2, Segment::Is("pre-flight-checks")], Kind::Free, BOTH, None),
    about("identity", "GET", &[API, V2, Segment::Is("auth"), Segment::Is("identity")], Kind::Free, BOTH, None),
    about("healthcheck", "GET", &[API, V2, Segment::Is("healthcheck")], Kind::Free, BOTH, None),
];
