//! Chroma's HTTP API v2, by the OpenAPI description of 1.x.
//!
//! A collection is named by its UUID, and the server (1.5.9) does not ask whether it is of the tenant and the database in the
//! path. So records are kept apart in both ways: every id gets the tenant's prefix, every metadata its mark, every `where` its
//! condition. By namespace, tenants have collections of their own besides, under a Chroma tenant of their own, and their UUIDs
//! are sealed. Refused: by filter, counting and changing a collection, which all share; forks, attached functions, reset, and
//! everything about tenants and databases of others.
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
const C: Segment = Segment::CollectionId;
const BY_NAME: Segment = Segment::Collection;

const PAGE: &[(&str, Parameter)] = &[("limit", Parameter::Any), ("offset", Parameter::Any)];
const LEVEL: &[(&str, Parameter)] = &[("read_level", Parameter::Any)];
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
static CHANGE: Rule = Rule::Object(&Shape {
    members: &[("new_name", Rule::Scalar), ("new_metadata", Rule::Any), ("new_configuration", Rule::Any)],
    ensure: &[],
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

/// An operation whose answer shows collections.
const fn showing(operation: Operation) -> Operation {
    Operation { answer: Answer::Collections, ..operation }
}

const fn records(last: &'static str) -> [Segment; 9] {
    [API, V2, TENANTS, T, DATABASES, D, COLLECTIONS, C, Segment::Is(last)]
}

const LIST: [Segment; 7] = [API, V2, TENANTS, T, DATABASES, D, COLLECTIONS];
const NAMED: [Segment; 8] = [API, V2, TENANTS, T, DATABASES, D, COLLECTIONS, BY_NAME];
const ONE: [Segment; 8] = [API, V2, TENANTS, T, DATABASES, D, COLLECTIONS, C];
const BY_ID: [Segment; 9] = [API, V2, TENANTS, T, DATABASES, D, COLLECTIONS, Segment::Is("by-id"), C];
const COUNT: [Segment; 7] = [API, V2, TENANTS, T, DATABASES, D, Segment::Is("collections_count")];

/// Every operation that is offered.
pub(super) static OPERATIONS: &[Operation] = &[
    on_records("collections.query", &records("query"), Kind::Search, &QUERY, Answer::Columns(FOUND)),
    on_records("collections.get", &records("get"), Kind::Search, &GET, Answer::Columns(GOT)),
    on_records("collections.add", &records("add"), Kind::Write, &WRITE, Answer::Plain),
    on_records("collections.upsert", &records("upsert"), Kind::Write, &WRITE, Answer::Plain),
    on_records("collections.update", &records("update"), Kind::Write, &WRITE, Answer::Plain),
    on_records("collections.delete", &records("delete"), Kind::Write, &DELETE, Answer::Plain),
    Operation { query: LEVEL, ..about("collections.count", "GET", &records("count"), Kind::Read, OWN, None) },
    showing(about("collections.describe", "GET", &NAMED, Kind::Free, BOTH, None)),
    showing(about("collections.by_id", "GET", &BY_ID, Kind::Free, BOTH, None)),
    showing(about("collections.list", "GET", &LIST, Kind::Free, OWN, None)),
    showing(about("collections.create", "POST", &LIST, Kind::Write, OWN, Some(&CREATE))),
    about("collections.change", "PUT", &ONE, Kind::Write, OWN, Some(&CHANGE)),
    about("collections.drop", "DELETE", &NAMED, Kind::Write, OWN, None),
    about("databases.count", "GET", &COUNT, Kind::Read, OWN, None),
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
