//! Weaviate's REST API v1, by the OpenAPI description of 1.3x, over classes with multi-tenancy.
//!
//! The store itself keeps tenants apart; the guard sees that every request names the tenant's own, and that every answer does.
//! Refused: GraphQL and gRPC, which name tenants in places that no table knows, the paths without a class, references between
//! objects, the schema of everybody, tenants' administration, backups, nodes, classifications, users and roles.
use crate::By;
use crate::rule::{Answer, Ensure, Kind, Operation, Parameter, Rule, Segment, Shape, Step};

const OFFERED: &[By] = &[By::Namespace];
const V1: Segment = Segment::Is("v1");
const OBJECTS: Segment = Segment::Is("objects");
const CLASS: Segment = Segment::Collection;
const ONE: &[Segment] = &[V1, OBJECTS, CLASS, Segment::Any];
const QUERY: &[(&str, Parameter)] = &[
    ("tenant", Parameter::Tenant),
    ("include", Parameter::Any),
    ("consistency_level", Parameter::Any),
    ("node_name", Parameter::Any),
];
const WRITTEN: &[(&str, Parameter)] = &[("consistency_level", Parameter::Any)];
const CHANGED: &[(&str, Parameter)] = &[("tenant", Parameter::Tenant), ("consistency_level", Parameter::Any)];
const LISTED: &[(&str, Parameter)] = &[
    ("class", Parameter::Any),
    ("tenant", Parameter::Tenant),
    ("limit", Parameter::Any),
    ("offset", Parameter::Any),
    ("after", Parameter::Any),
    ("include", Parameter::Any),
    ("sort", Parameter::Any),
    ("order", Parameter::Any),
];

static OBJECT: Rule = Rule::Object(&Shape {
    members: &[
        ("class", Rule::Collection),
        ("id", Rule::Scalar),
        ("properties", Rule::Any),
        ("vector", Rule::Any),
        ("vectors", Rule::Any),
        ("tenant", Rule::Tenant),
        ("vectorWeights", Rule::Any),
        ("creationTimeUnix", Rule::Scalar),
        ("lastUpdateTimeUnix", Rule::Scalar),
    ],
    ensure: &[Ensure::Present("class"), Ensure::Tenant("tenant")],
});
static OBJECTS_BATCH: Rule = Rule::Object(&Shape {
    members: &[("objects", Rule::List(&OBJECT)), ("fields", Rule::Any)],
    ensure: &[Ensure::Present("objects")],
});
static MATCH: Rule = Rule::Object(&Shape {
    members: &[("class", Rule::Collection), ("where", Rule::Any)],
    ensure: &[Ensure::Present("class")],
});
static DELETE_BATCH: Rule = Rule::Object(&Shape {
    members: &[
        ("match", Rule::OneOrList(&MATCH)),
        ("output", Rule::Scalar),
        ("dryRun", Rule::Scalar),
        ("deletionTimeUnixMilli", Rule::Scalar),
    ],
    ensure: &[Ensure::Present("match")],
});

const fn one(
    name: &'static str,
    method: &'static str,
    kind: Kind,
    query: &'static [(&'static str, Parameter)],
    body: Option<&'static Rule>,
    answer: Answer,
) -> Operation {
    Operation { name, method, path: ONE, kind, offered: OFFERED, query, body, answer }
}

const fn free(name: &'static str, path: &'static [Segment]) -> Operation {
    let (method, kind, offered, query) = ("GET", Kind::Free, OFFERED, &[]);
    Operation { name, method, path, kind, offered, query, body: None, answer: Answer::Plain }
}

/// Every operation that is offered.
pub(super) static OPERATIONS: &[Operation] = &[
    Operation {
        name: "objects.list",
        method: "GET",
        path: &[V1, OBJECTS],
        kind: Kind::Search,
        offered: OFFERED,
        query: LISTED,
        body: None,
        answer: Answer::Records(&[Step::Member("objects"), Step::Each]),
    },
    Operation {
        name: "objects.create",
        method: "POST",
        path: &[V1, OBJECTS],
        kind: Kind::Write,
        offered: OFFERED,
        query: WRITTEN,
        body: Some(&OBJECT),
        answer: Answer::Record(&[]),
    },
    one("objects.get", "GET", Kind::Read, QUERY, None, Answer::Record(&[])),
    one("objects.head", "HEAD", Kind::Read, QUERY, None, Answer::Plain),
    one("objects.replace", "PUT", Kind::Write, WRITTEN, Some(&OBJECT), Answer::Record(&[])),
    one("objects.update", "PATCH", Kind::Write, WRITTEN, Some(&OBJECT), Answer::Plain),
    one("objects.delete", "DELETE", Kind::Write, CHANGED, None, Answer::Plain),
    Operation {
        name: "batch.objects",
        method: "POST",
        path: &[V1, Segment::Is("batch"), OBJECTS],
        kind: Kind::Write,
        offered: OFFERED,
        query: WRITTEN,
        body: Some(&OBJECTS_BATCH),
        answer: Answer::Records(&[Step::Each]),
    },
    Operation {
        name: "batch.delete",
        method: "DELETE",
        path: &[V1, Segment::Is("batch"), OBJECTS],
        kind: Kind::Write,
        offered: OFFERED,
        query: CHANGED,
        body: Some(&DELETE_BATCH),
        answer: Answer::Plain,
    },
    free("meta", &[V1, Segment::Is("meta")]),
    free("live", &[V1, Segment::Is(".well-known"), Segment::Is("live")]),
    free("ready", &[V1, Segment::Is(".well-known"), Segment::Is("ready")]),
    free("openid", &[V1, Segment::Is(".well-known"), Segment::Is("openid-configuration")]),
    free("schema.class", &[V1, Segment::Is("schema"), Segment::Collection]),
];
