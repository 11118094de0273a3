//! Pinecone's data plane, by the OpenAPI description of 2025-10.
//!
//! Each tenant has namespaces of its own: `tenant_acme_` and what the client names behind it. Refused: the control plane, imports,
//! statistics of the index (everybody's), and the deprecated `queries`.
use crate::By;
use crate::rule::{Answer, Ensure, Kind, Operation, Parameter, Rule, Segment, Shape, Step};

const OFFERED: &[By] = &[By::Namespace];
const VECTORS: Segment = Segment::Is("vectors");
const OF_NAMESPACE: (&str, Rule) = ("namespace", Rule::Namespace);
const NAMESPACE: &[Ensure] = &[Ensure::Namespace("namespace")];

static VECTOR: Rule = Rule::Object(&Shape {
    members: &[("id", Rule::Scalar), ("values", Rule::Any), ("sparseValues", Rule::Any), ("metadata", Rule::Payload)],
    ensure: &[Ensure::Present("id")],
});
static UPSERT: Rule =
    Rule::Object(&Shape { members: &[("vectors", Rule::List(&VECTOR)), OF_NAMESPACE], ensure: NAMESPACE });
static QUERY: Rule = Rule::Object(&Shape {
    members: &[
        OF_NAMESPACE,
        ("topK", Rule::Scalar),
        ("filter", Rule::Any),
        ("includeValues", Rule::Scalar),
        ("includeMetadata", Rule::Scalar),
        ("vector", Rule::Vector),
        ("sparseVector", Rule::Any),
        // A record of the namespace itself.
        ("id", Rule::Scalar),
        ("scanFactor", Rule::Scalar),
        ("maxCandidates", Rule::Scalar),
    ],
    ensure: NAMESPACE,
});
static UPDATE: Rule = Rule::Object(&Shape {
    members: &[
        ("id", Rule::Scalar),
        ("values", Rule::Any),
        ("sparseValues", Rule::Any),
        ("setMetadata", Rule::Any),
        OF_NAMESPACE,
        ("filter", Rule::Any),
        ("dryRun", Rule::Scalar),
    ],
    ensure: NAMESPACE,
});
static DELETE: Rule = Rule::Object(&Shape {
    members: &[("ids", Rule::List(&Rule::Scalar)), ("deleteAll", Rule::Scalar), OF_NAMESPACE, ("filter", Rule::Any)],
    ensure: NAMESPACE,
});
static FETCH_BY_METADATA: Rule = Rule::Object(&Shape {
    members: &[OF_NAMESPACE, ("filter", Rule::Any), ("limit", Rule::Scalar), ("paginationToken", Rule::Scalar)],
    ensure: NAMESPACE,
});
static CREATE: Rule = Rule::Object(&Shape {
    members: &[("name", Rule::Namespace), ("schema", Rule::Any)],
    ensure: &[Ensure::Present("name")],
});

const fn post(
    name: &'static str,
    path: &'static [Segment],
    kind: Kind,
    body: &'static Rule,
    answer: Answer,
) -> Operation {
    Operation { name, method: "POST", path, kind, offered: OFFERED, query: &[], body: Some(body), answer }
}

const fn get(
    name: &'static str,
    path: &'static [Segment],
    query: &'static [(&'static str, Parameter)],
    answer: Answer,
) -> Operation {
    Operation { name, method: "GET", path, kind: Kind::Read, offered: OFFERED, query, body: None, answer }
}

/// Every operation that is offered.
pub(super) static OPERATIONS: &[Operation] = &[
    post("query", &[Segment::Is("query")], Kind::Search, &QUERY, Answer::OfNamespace),
    post("vectors.upsert", &[VECTORS, Segment::Is("upsert")], Kind::Write, &UPSERT, Answer::Plain),
    post("vectors.update", &[VECTORS, Segment::Is("update")], Kind::Write, &UPDATE, Answer::Plain),
    post("vectors.delete", &[VECTORS, Segment::Is("delete")], Kind::Write, &DELETE, Answer::Plain),
    post(
        "vectors.fetch_by_metadata",
        &[VECTORS, Segment::Is("fetch_by_metadata")],
        Kind::Search,
        &FETCH_BY_METADATA,
        Answer::OfNamespace,
    ),
    get(
        "vectors.fetch",
        &[VECTORS, Segment::Is("fetch")],
        &[("ids", Parameter::Any), ("namespace", Parameter::Namespace)],
        Answer::OfNamespace,
    ),
    get(
        "vectors.list",
        &[VECTORS, Segment::Is("list")],
        &[
            ("prefix", Parameter::Any),
            ("limit", Parameter::Any),
            ("paginationToken", Parameter::Any),
            ("namespace", Parameter::Namespace),
        ],
        Answer::OfNamespace,
    ),
    get(
        "namespaces.list",
        &[Segment::Is("namespaces")],
        // The store counts and pages what begins with it.
        &[("prefix", Parameter::Namespace), ("limit", Parameter::Any), ("paginationToken", Parameter::Any)],
        Answer::Names(&[Step::Member("namespaces"), Step::Each]),
    ),
    post("namespaces.create", &[Segment::Is("namespaces")], Kind::Write, &CREATE, Answer::Plain),
    Operation {
        name: "namespaces.delete",
        method: "DELETE",
        path: &[Segment::Is("namespaces"), Segment::Namespace],
        kind: Kind::Write,
        offered: OFFERED,
        query: &[],
        body: None,
        answer: Answer::Plain,
    },
    // Text that the store turns into vectors: a record a line, and the path alone says where they go.
    post(
        "records.upsert",
        &[Segment::Is("records"), Segment::Is("namespaces"), Segment::Namespace, Segment::Is("upsert")],
        Kind::Write,
        &Rule::Opaque,
        Answer::Plain,
    ),
];
