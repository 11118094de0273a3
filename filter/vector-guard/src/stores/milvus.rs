//! Milvus's RESTful API v2, by the reference of 2.6.
//!
//! By filter, expressions are put in brackets, and rows are marked. Milvus deletes and shows rows by their primary key, so that a row
//! with the key of another tenant's would take its place: rows are inserted whose key the store gives, or whose key is a text, which
//! gets the tenant's prefix. An upsert is refused. By namespace, each tenant has partitions of its own. By collection, it has
//! collections of its own. Refused: other databases, aliases, users, roles, jobs, and statistics of what is shared.
use crate::By;
use crate::rule::{Answer, Ensure, Kind, Operation, Rule, Segment, Shape, Step};

const ALL: &[By] = &[By::Filter, By::Namespace, By::Collection];
const NOT_BY_FILTER: &[By] = &[By::Namespace, By::Collection];
const BY_COLLECTION: &[By] = &[By::Collection];

const V2: Segment = Segment::Is("v2");
const DB: Segment = Segment::Is("vectordb");
const ENTITIES: Segment = Segment::Is("entities");
const COLLECTIONS: Segment = Segment::Is("collections");
const ROWS: Answer = Answer::Records(&[Step::Member("data"), Step::Each]);

const NAME: (&str, Rule) = ("collectionName", Rule::Collection);
// Official clients name the database that is taken without a name.
const DATABASE: (&str, Rule) = ("dbName", Rule::Is("default"));
const FILTER: (&str, Rule) = ("filter", Rule::Filter);
const VALUES: (&str, Rule) = ("exprParams", Rule::Any);
const LIMIT: (&str, Rule) = ("limit", Rule::Scalar);
const OFFSET: (&str, Rule) = ("offset", Rule::Scalar);
const SHOWN: (&str, Rule) = ("outputFields", Rule::Columns);
const PARTITIONS: (&str, Rule) = ("partitionNames", Rule::Partitions);
const PARTITION: (&str, Rule) = ("partitionName", Rule::Namespace);
const CONSISTENCY: (&str, Rule) = ("consistencyLevel", Rule::Scalar);
const NAMED: Ensure = Ensure::Present("collectionName");
const FOUND: &[Ensure] =
    &[NAMED, Ensure::Filter("filter"), Ensure::Columns("outputFields"), Ensure::Partitions("partitionNames")];

static SEARCH: Rule = Rule::Object(&Shape {
    members: &[
        NAME,
        DATABASE,
        ("data", Rule::Vector),
        ("annsField", Rule::Scalar),
        FILTER,
        VALUES,
        LIMIT,
        OFFSET,
        ("groupingField", Rule::Scalar),
        ("groupSize", Rule::Scalar),
        ("strictGroupSize", Rule::Scalar),
        SHOWN,
        ("searchParams", Rule::Any),
        PARTITIONS,
        CONSISTENCY,
    ],
    ensure: FOUND,
});
static ONE_SEARCH: Rule = Rule::Object(&Shape {
    members: &[
        ("data", Rule::Vector),
        ("annsField", Rule::Scalar),
        FILTER,
        VALUES,
        ("groupingField", Rule::Scalar),
        ("metricType", Rule::Scalar),
        LIMIT,
        OFFSET,
        ("ignoreGrowing", Rule::Scalar),
        ("params", Rule::Any),
    ],
    ensure: &[Ensure::Filter("filter")],
});
static HYBRID: Rule = Rule::Object(&Shape {
    members: &[
        NAME,
        DATABASE,
        ("search", Rule::List(&ONE_SEARCH)),
        ("rerank", Rule::Any),
        LIMIT,
        OFFSET,
        ("groupingField", Rule::Scalar),
        SHOWN,
        PARTITIONS,
        CONSISTENCY,
    ],
    ensure: &[NAMED, Ensure::Present("search"), Ensure::Columns("outputFields"), Ensure::Partitions("partitionNames")],
});
static QUERY: Rule = Rule::Object(&Shape {
    members: &[
        NAME,
        DATABASE,
        FILTER,
        VALUES,
        LIMIT,
        OFFSET,
        ("outputFields", Rule::ColumnsOrCount),
        PARTITIONS,
        CONSISTENCY,
    ],
    ensure: FOUND,
});
static GET: Rule = Rule::Object(&Shape {
    members: &[NAME, DATABASE, ("id", Rule::Keys), SHOWN, PARTITIONS, CONSISTENCY],
    ensure: &[NAMED, Ensure::Present("id"), Ensure::Columns("outputFields"), Ensure::Partitions("partitionNames")],
});
static DELETE: Rule = Rule::Object(&Shape {
    members: &[NAME, DATABASE, FILTER, VALUES, PARTITION],
    ensure: &[NAMED, Ensure::Present("filter"), Ensure::Namespace("partitionName")],
});
static WRITE: Rule = Rule::Object(&Shape {
    members: &[NAME, DATABASE, ("data", Rule::OneOrList(&Rule::Row)), PARTITION],
    ensure: &[NAMED, Ensure::Present("data"), Ensure::Namespace("partitionName")],
});
static NAMED_ONLY: Rule = Rule::Object(&Shape { members: &[NAME, DATABASE], ensure: &[NAMED] });
static PARTITION_ONLY: Rule = Rule::Object(&Shape {
    members: &[NAME, DATABASE, PARTITION],
    ensure: &[NAMED, Ensure::Namespace("partitionName")],
});
static CREATE: Rule = Rule::Object(&Shape {
    members: &[
        NAME,
        DATABASE,
        ("dimension", Rule::Scalar),
        ("metricType", Rule::Scalar),
        ("idType", Rule::Scalar),
        ("autoID", Rule::Scalar),
        ("primaryFieldName", Rule::Scalar),
        ("vectorFieldName", Rule::Scalar),
        ("schema", Rule::Any),
        ("indexParams", Rule::Any),
        ("params", Rule::Any),
    ],
    ensure: &[NAMED],
});
static NOTHING: Rule = Rule::Object(&Shape { members: &[DATABASE], ensure: &[] });
static INDEX: Rule = Rule::Object(&Shape {
    members: &[NAME, DATABASE, ("indexParams", Rule::Any), ("indexName", Rule::Scalar)],
    ensure: &[NAMED],
});

const fn post(
    name: &'static str,
    path: &'static [Segment],
    kind: Kind,
    offered: &'static [By],
    body: &'static Rule,
    answer: Answer,
) -> Operation {
    Operation { name, method: "POST", path, kind, offered, query: &[], body: Some(body), answer }
}

const fn own(name: &'static str, path: &'static [Segment], kind: Kind, body: &'static Rule) -> Operation {
    post(name, path, kind, BY_COLLECTION, body, Answer::Plain)
}

const fn entities(last: &'static str) -> [Segment; 4] {
    [V2, DB, ENTITIES, Segment::Is(last)]
}

const fn collections(last: &'static str) -> [Segment; 4] {
    [V2, DB, COLLECTIONS, Segment::Is(last)]
}

const fn of(folder: &'static str, last: &'static str) -> [Segment; 4] {
    [V2, DB, Segment::Is(folder), Segment::Is(last)]
}

/// Every operation that is offered.
pub(super) static OPERATIONS: &[Operation] = &[
    post("entities.search", &entities("search"), Kind::Search, ALL, &SEARCH, ROWS),
    post("entities.hybrid_search", &entities("hybrid_search"), Kind::Search, ALL, &HYBRID, ROWS),
    post("entities.advanced_search", &entities("advanced_search"), Kind::Search, ALL, &HYBRID, ROWS),
    post("entities.query", &entities("query"), Kind::Search, ALL, &QUERY, ROWS),
    post("entities.get", &entities("get"), Kind::Read, ALL, &GET, ROWS),
    post("entities.insert", &entities("insert"), Kind::Write, ALL, &WRITE, Answer::Plain),
    post("entities.upsert", &entities("upsert"), Kind::Write, NOT_BY_FILTER, &WRITE, Answer::Plain),
    post("entities.delete", &entities("delete"), Kind::Write, ALL, &DELETE, Answer::Plain),
    post("collections.has", &collections("has"), Kind::Free, ALL, &NAMED_ONLY, Answer::Plain),
    post("collections.describe", &collections("describe"), Kind::Free, ALL, &NAMED_ONLY, Answer::Plain),
    post("collections.get_load_state", &collections("get_load_state"), Kind::Free, ALL, &NAMED_ONLY, Answer::Plain),
    own("collections.create", &collections("create"), Kind::Write, &CREATE),
    own("collections.drop", &collections("drop"), Kind::Write, &NAMED_ONLY),
    own("collections.load", &collections("load"), Kind::Write, &NAMED_ONLY),
    own("collections.release", &collections("release"), Kind::Write, &NAMED_ONLY),
    own("collections.get_stats", &collections("get_stats"), Kind::Read, &NAMED_ONLY),
    post(
        "collections.list",
        &collections("list"),
        Kind::Read,
        BY_COLLECTION,
        &NOTHING,
        Answer::Names(&[Step::Member("data"), Step::Each]),
    ),
    own("indexes.create", &of("indexes", "create"), Kind::Write, &INDEX),
    own("indexes.list", &of("indexes", "list"), Kind::Read, &NAMED_ONLY),
    own("indexes.describe", &of("indexes", "describe"), Kind::Read, &INDEX),
    own("indexes.drop", &of("indexes", "drop"), Kind::Write, &INDEX),
    post(
        "partitions.list",
        &of("partitions", "list"),
        Kind::Read,
        &[By::Namespace],
        &NAMED_ONLY,
        Answer::Names(&[Step::Member("data"), Step::Each]),
    ),
    post("partitions.has", &of("partitions", "has"), Kind::Free, &[By::Namespace], &PARTITION_ONLY, Answer::Plain),
    post(
        "partitions.create",
        &of("partitions", "create"),
        Kind::Write,
        &[By::Namespace],
        &PARTITION_ONLY,
        Answer::Plain,
    ),
];
