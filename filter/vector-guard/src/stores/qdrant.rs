//! Qdrant's REST API, by the OpenAPI description of 1.16 to 1.18 (the searches that 1.17 took away are there as well).
//!
//! By filter, a point of another tenant is not overwritten since `update_filter`, which 1.16 brought, is forced. Refused: whatever
//! concerns the whole collection or node (creating, snapshots, aliases, shards, cluster, telemetry, whose numbers are everybody's),
//! vectors of points named by id or taken from other collections (`lookup_from`, `with_lookup`), clearing payloads, which would
//! take the mark, and statistics over everybody's points (`params.idf`).
use crate::By;
use crate::rule::{Answer, Ensure, Kind, Operation, Parameter, Rule, Segment, Shape, Step};

const FILTER: By = By::Filter;
const COLLECTION: By = By::Collection;
const BOTH: &[By] = &[FILTER, COLLECTION];

const C: Segment = Segment::Is("collections");
const N: Segment = Segment::Collection;
const P: Segment = Segment::Is("points");

const READ: &[(&str, Parameter)] = &[("consistency", Parameter::Any), ("timeout", Parameter::Any)];
const WRITE: &[(&str, Parameter)] =
    &[("wait", Parameter::Any), ("ordering", Parameter::Any), ("timeout", Parameter::Any)];

const POINTS: Answer = Answer::Records(&[Step::Member("result"), Step::Member("points"), Step::Each]);
const RESULT: Answer = Answer::Records(&[Step::Member("result"), Step::Each]);
const GROUPS: Answer =
    Answer::Records(&[Step::Member("result"), Step::Member("groups"), Step::Each, Step::Member("hits"), Step::Each]);
const QUERY_BATCH: Answer =
    Answer::Records(&[Step::Member("result"), Step::EachSearch, Step::Member("points"), Step::Each]);
const SEARCH_BATCH: Answer = Answer::Records(&[Step::Member("result"), Step::EachSearch, Step::Each]);

const PARAMS: Rule = Rule::Either(&[
    Rule::Object(&Shape {
        members: &[
            ("hnsw_ef", Rule::Scalar),
            ("exact", Rule::Scalar),
            ("quantization", Rule::Any),
            ("indexed_only", Rule::Scalar),
            ("acorn", Rule::Any),
        ],
        ensure: &[],
    }),
    Rule::Scalar,
]);

const VECTORS: Rule = Rule::List(&Rule::Vector);
const PAIR: Rule =
    Rule::Object(&Shape { members: &[("positive", Rule::Vector), ("negative", Rule::Vector)], ensure: &[] });
const CONTEXT: Rule = Rule::OneOrList(&PAIR);
const RECOMMEND: Rule = Rule::Object(&Shape {
    members: &[("positive", VECTORS), ("negative", VECTORS), ("strategy", Rule::Scalar)],
    ensure: &[],
});
const DISCOVER: Rule = Rule::Object(&Shape { members: &[("target", Rule::Vector), ("context", CONTEXT)], ensure: &[] });

/// What is searched for: vectors, or a combination of what was fetched before. An id of a point is refused.
const QUERY: Rule = Rule::Either(&[
    Rule::Object(&Shape {
        members: &[("nearest", Rule::Vector), ("mmr", Rule::Any)],
        ensure: &[Ensure::Present("nearest")],
    }),
    Rule::Object(&Shape { members: &[("recommend", RECOMMEND)], ensure: &[] }),
    Rule::Object(&Shape { members: &[("discover", DISCOVER)], ensure: &[] }),
    Rule::Object(&Shape { members: &[("context", CONTEXT)], ensure: &[] }),
    Rule::Object(&Shape { members: &[("order_by", Rule::Any)], ensure: &[] }),
    Rule::Object(&Shape { members: &[("fusion", Rule::Scalar)], ensure: &[] }),
    Rule::Object(&Shape { members: &[("rrf", Rule::Any)], ensure: &[] }),
    Rule::Object(&Shape { members: &[("formula", Rule::Any), ("defaults", Rule::Any)], ensure: &[] }),
    Rule::Object(&Shape { members: &[("sample", Rule::Scalar)], ensure: &[] }),
    Rule::Vector,
]);

static PREFETCH_SHAPE: Shape = Shape {
    members: &[
        ("prefetch", Rule::OneOrList(&PREFETCH)),
        ("query", QUERY),
        ("using", Rule::Scalar),
        ("filter", Rule::Filter),
        ("params", PARAMS),
        ("score_threshold", Rule::Scalar),
        ("limit", Rule::Scalar),
    ],
    ensure: &[Ensure::Filter("filter")],
};
static PREFETCH: Rule = Rule::Object(&PREFETCH_SHAPE);

const SHARD: (&str, Rule) = ("shard_key", Rule::Any);
const OF_FILTER: (&str, Rule) = ("filter", Rule::Filter);
const LIMIT: (&str, Rule) = ("limit", Rule::Scalar);
const PAYLOAD: (&str, Rule) = ("with_payload", Rule::PayloadSelector);
const VECTOR: (&str, Rule) = ("with_vector", Rule::Any);
const OFFSET: (&str, Rule) = ("offset", Rule::Scalar);
const SEARCHED: &[Ensure] = &[Ensure::Filter("filter"), Ensure::PayloadSelector("with_payload")];

static QUERY_SHAPE: Shape = Shape {
    members: &[
        SHARD,
        ("prefetch", Rule::OneOrList(&PREFETCH)),
        ("query", QUERY),
        ("using", Rule::Scalar),
        OF_FILTER,
        ("params", PARAMS),
        ("score_threshold", Rule::Scalar),
        LIMIT,
        OFFSET,
        VECTOR,
        PAYLOAD,
    ],
    ensure: SEARCHED,
};
static QUERY_REQUEST: Rule = Rule::Object(&QUERY_SHAPE);
static QUERY_GROUPS: Rule = Rule::Object(&Shape {
    members: &[
        SHARD,
        ("prefetch", Rule::OneOrList(&PREFETCH)),
        ("query", QUERY),
        ("using", Rule::Scalar),
        OF_FILTER,
        ("params", PARAMS),
        ("score_threshold", Rule::Scalar),
        LIMIT,
        VECTOR,
        PAYLOAD,
        ("group_by", Rule::Scalar),
        ("group_size", Rule::Scalar),
    ],
    ensure: SEARCHED,
});

/// A vector by name, as the searches before `query` take it.
const NAMED: Rule = Rule::Either(&[
    Rule::Object(&Shape { members: &[("name", Rule::Scalar), ("vector", Rule::Vector)], ensure: &[] }),
    Rule::Vector,
]);
const SEARCH: &[(&str, Rule)] = &[
    SHARD,
    ("vector", NAMED),
    OF_FILTER,
    ("params", PARAMS),
    LIMIT,
    OFFSET,
    PAYLOAD,
    VECTOR,
    ("score_threshold", Rule::Scalar),
];
static SEARCH_REQUEST: Rule = Rule::Object(&Shape { members: SEARCH, ensure: SEARCHED });
static SEARCH_GROUPS: Rule = Rule::Object(&Shape {
    members: &[
        SHARD,
        ("vector", NAMED),
        OF_FILTER,
        ("params", PARAMS),
        LIMIT,
        PAYLOAD,
        VECTOR,
        ("score_threshold", Rule::Scalar),
        ("group_by", Rule::Scalar),
        ("group_size", Rule::Scalar),
    ],
    ensure: SEARCHED,
});
static RECOMMEND_REQUEST: Rule = Rule::Object(&Shape {
    members: &[
        SHARD,
        ("positive", VECTORS),
        ("negative", VECTORS),
        ("strategy", Rule::Scalar),
        OF_FILTER,
        ("params", PARAMS),
        LIMIT,
        OFFSET,
        PAYLOAD,
        VECTOR,
        ("score_threshold", Rule::Scalar),
        ("using", Rule::Scalar),
    ],
    ensure: SEARCHED,
});
static DISCOVER_REQUEST: Rule = Rule::Object(&Shape {
    members: &[
        SHARD,
        ("target", Rule::Vector),
        ("context", CONTEXT),
        OF_FILTER,
        ("params", PARAMS),
        LIMIT,
        OFFSET,
        PAYLOAD,
        VECTOR,
        ("using", Rule::Scalar),
    ],
    ensure: SEARCHED,
});

const fn searches(rule: &'static Rule) -> [(&'static str, Rule); 1] {
    [("searches", Rule::List(rule))]
}
static QUERIES: Rule =
    Rule::Object(&Shape { members: &searches(&QUERY_REQUEST), ensure: &[Ensure::Present("searches")] });
static SEARCHES: Rule =
    Rule::Object(&Shape { members: &searches(&SEARCH_REQUEST), ensure: &[Ensure::Present("searches")] });
static RECOMMENDS: Rule =
    Rule::Object(&Shape { members: &searches(&RECOMMEND_REQUEST), ensure: &[Ensure::Present("searches")] });
static DISCOVERS: Rule =
    Rule::Object(&Shape { members: &searches(&DISCOVER_REQUEST), ensure: &[Ensure::Present("searches")] });

static SCROLL: Rule = Rule::Object(&Shape {
    members: &[SHARD, OFFSET, LIMIT, OF_FILTER, PAYLOAD, VECTOR, ("order_by", Rule::Any)],
    ensure: &[Ensure::Filter("filter"), Ensure::AllShown("with_payload")],
});
static RETRIEVE: Rule = Rule::Object(&Shape {
    members: &[SHARD, ("ids", Rule::List(&Rule::Scalar)), PAYLOAD, VECTOR],
    ensure: &[Ensure::Present("ids"), Ensure::AllShown("with_payload")],
});
static COUNT: Rule =
    Rule::Object(&Shape { members: &[SHARD, OF_FILTER, ("exact", Rule::Scalar)], ensure: &[Ensure::Filter("filter")] });
static FACET: Rule = Rule::Object(&Shape {
    members: &[SHARD, ("key", Rule::Scalar), LIMIT, OF_FILTER, ("exact", Rule::Scalar)],
    ensure: &[Ensure::Filter("filter")],
});
static MATRIX: Rule = Rule::Object(&Shape {
    members: &[SHARD, OF_FILTER, ("sample", Rule::Scalar), LIMIT, ("using", Rule::Scalar)],
    ensure: &[Ensure::Filter("filter")],
});

const UPDATE_FILTER: (&str, Rule) = ("update_filter", Rule::Filter);
const UPDATE_MODE: (&str, Rule) = ("update_mode", Rule::Scalar);
static POINT: Rule = Rule::Object(&Shape {
    members: &[("id", Rule::Scalar), ("vector", Rule::Any), ("payload", Rule::Payload)],
    ensure: &[Ensure::Present("id"), Ensure::Payload("payload")],
});
static BATCH: Rule = Rule::Object(&Shape {
    members: &[("ids", Rule::List(&Rule::Scalar)), ("vectors", Rule::Any), ("payloads", Rule::Payloads)],
    ensure: &[Ensure::Present("ids"), Ensure::Payloads("payloads", "ids")],
});
const INSERTED: &[Ensure] = &[Ensure::Filter("update_filter")];
static UPSERT: Rule = Rule::Either(&[
    Rule::Object(&Shape {
        members: &[("points", Rule::List(&POINT)), SHARD, UPDATE_FILTER, UPDATE_MODE],
        ensure: INSERTED,
    }),
    Rule::Object(&Shape { members: &[("batch", BATCH_RULE), SHARD, UPDATE_FILTER, UPDATE_MODE], ensure: INSERTED }),
]);
const BATCH_RULE: Rule = Rule::Either(&[Rule::OneOrList(&BATCH)]);
static VECTORS_OF: Rule =
    Rule::Object(&Shape { members: &[("id", Rule::Scalar), ("vector", Rule::Any)], ensure: &[Ensure::Present("id")] });
static UPDATE_VECTORS: Rule =
    Rule::Object(&Shape { members: &[("points", Rule::List(&VECTORS_OF)), SHARD, UPDATE_FILTER], ensure: INSERTED });

const CHOSEN: &[Ensure] = &[Ensure::OneOf(&["points", "filter"])];
const IDS: (&str, Rule) = ("points", Rule::PointIds);
static DELETE_VECTORS: Rule =
    Rule::Object(&Shape { members: &[IDS, OF_FILTER, ("vector", Rule::List(&Rule::Scalar)), SHARD], ensure: CHOSEN });
static DELETE: Rule = Rule::Object(&Shape { members: &[IDS, OF_FILTER, SHARD], ensure: CHOSEN });
static SET_PAYLOAD: Rule =
    Rule::Object(&Shape { members: &[("payload", Rule::Payload), IDS, OF_FILTER, SHARD], ensure: CHOSEN });
static DELETE_PAYLOAD: Rule =
    Rule::Object(&Shape { members: &[("keys", Rule::PayloadKeys), IDS, OF_FILTER, SHARD], ensure: CHOSEN });
static OPERATION: Rule = Rule::Either(&[
    Rule::Object(&Shape { members: &[("upsert", Rule::OneOrList(&UPSERT))], ensure: &[] }),
    Rule::Object(&Shape { members: &[("delete", Rule::OneOrList(&DELETE))], ensure: &[] }),
    Rule::Object(&Shape { members: &[("set_payload", Rule::OneOrList(&SET_PAYLOAD))], ensure: &[] }),
    Rule::Object(&Shape { members: &[("overwrite_payload", Rule::OneOrList(&SET_PAYLOAD))], ensure: &[] }),
    Rule::Object(&Shape { members: &[("delete_payload", Rule::OneOrList(&DELETE_PAYLOAD))], ensure: &[] }),
    Rule::Object(&Shape { members: &[("update_vectors", Rule::OneOrList(&UPDATE_VECTORS))], ensure: &[] }),
    Rule::Object(&Shape { members: &[("delete_vectors", Rule::OneOrList(&DELETE_VECTORS))], ensure: &[] }),
]);
static OPERATIONS_BATCH: Rule = Rule::Object(&Shape {
    members: &[("operations", Rule::List(&OPERATION))],
    ensure: &[Ensure::Present("operations")],
});

/// What creates a collection or changes its settings. `init_from` would copy another's points.
static CREATE: Rule = Rule::Object(&Shape {
    members: &[
        ("vectors", Rule::Any),
        ("sparse_vectors", Rule::Any),
        ("shard_number", Rule::Scalar),
        ("replication_factor", Rule::Scalar),
        ("write_consistency_factor", Rule::Scalar),
        ("on_disk_payload", Rule::Scalar),
        ("hnsw_config", Rule::Any),
        ("wal_config", Rule::Any),
        ("optimizers_config", Rule::Any),
        ("optimizer_config", Rule::Any),
        ("quantization_config", Rule::Any),
        ("params", Rule::Any),
        ("strict_mode_config", Rule::Any),
        ("metadata", Rule::Any),
    ],
    ensure: &[],
});

const fn read(
    name: &'static str,
    path: &'static [Segment],
    body: Option<&'static Rule>,
    kind: Kind,
    answer: Answer,
) -> Operation {
    Operation { name, method: "POST", path, kind, offered: BOTH, query: READ, body, answer }
}

const fn search(name: &'static str, path: &'static [Segment], body: &'static Rule, answer: Answer) -> Operation {
    read(name, path, Some(body), Kind::Search, answer)
}

const fn write(name: &'static str, method: &'static str, path: &'static [Segment], body: &'static Rule) -> Operation {
    let kind = Kind::Write;
    Operation { name, method, path, kind, offered: BOTH, query: WRITE, body: Some(body), answer: Answer::Plain }
}

const fn own(
    name: &'static str,
    method: &'static str,
    path: &'static [Segment],
    kind: Kind,
    body: Option<&'static Rule>,
) -> Operation {
    let offered: &[By] = &[COLLECTION];
    Operation { name, method, path, kind, offered, query: WRITE, body, answer: Answer::Plain }
}

const fn free(name: &'static str, path: &'static [Segment]) -> Operation {
    let (method, kind, query, answer) = ("GET", Kind::Free, &[], Answer::Plain);
    Operation { name, method, path, kind, offered: BOTH, query, body: None, answer }
}

/// Every operation that is offered.
pub(super) static OPERATIONS: &[Operation] = &[
    search("points.query", &[C, N, P, Segment::Is("query")], &QUERY_REQUEST, POINTS),
    search("points.query.batch", &[C, N, P, Segment::Is("query"), Segment::Is("batch")], &QUERIES, QUERY_BATCH),
    search("points.query.groups", &[C, N, P, Segment::Is("query"), Segment::Is("groups")], &QUERY_GROUPS, GROUPS),
    search("points.search", &[C, N, P, Segment::Is("search")], &SEARCH_REQUEST, RESULT),
    search("points.search.batch", &[C, N, P, Segment::Is("search"), Segment::Is("batch")], &SEARCHES, SEARCH_BATCH),
    search("points.search.groups", &[C, N, P, Segment::Is("search"), Segment::Is("groups")], &SEARCH_GROUPS, GROUPS),
    search("points.recommend", &[C, N, P, Segment::Is("recommend")], &RECOMMEND_REQUEST, RESULT),
    search(
        "points.recommend.batch",
        &[C, N, P, Segment::Is("recommend"), Segment::Is("batch")],
        &RECOMMENDS,
        SEARCH_BATCH,
    ),
    search("points.discover", &[C, N, P, Segment::Is("discover")], &DISCOVER_REQUEST, RESULT),
    search(
        "points.discover.batch",
        &[C, N, P, Segment::Is("discover"), Segment::Is("batch")],
        &DISCOVERS,
        SEARCH_BATCH,
    ),
    search("points.scroll", &[C, N, P, Segment::Is("scroll")], &SCROLL, POINTS),
    read("points.retrieve", &[C, N, P], Some(&RETRIEVE), Kind::Read, RESULT),
    Operation {
        name: "points.get",
        method: "GET",
        path: &[C, N, P, Segment::Any],
        kind: Kind::Read,
        offered: BOTH,
        query: READ,
        body: None,
        answer: Answer::Record(&[Step::Member("result")]),
    },
    read("points.count", &[C, N, P, Segment::Is("count")], Some(&COUNT), Kind::Read, Answer::Plain),
    read("points.facet", &[C, N, Segment::Is("facet")], Some(&FACET), Kind::Read, Answer::Plain),
    search(
        "points.matrix.pairs",
        &[C, N, P, Segment::Is("search"), Segment::Is("matrix"), Segment::Is("pairs")],
        &MATRIX,
        Answer::Plain,
    ),
    search(
        "points.matrix.offsets",
        &[C, N, P, Segment::Is("search"), Segment::Is("matrix"), Segment::Is("offsets")],
        &MATRIX,
        Answer::Plain,
    ),
    write("points.upsert", "PUT", &[C, N, P], &UPSERT),
    write("points.delete", "POST", &[C, N, P, Segment::Is("delete")], &DELETE),
    write("points.vectors.update", "PUT", &[C, N, P, Segment::Is("vectors")], &UPDATE_VECTORS),
    write("points.vectors.delete", "POST", &[C, N, P, Segment::Is("vectors"), Segment::Is("delete")], &DELETE_VECTORS),
    write("points.payload.set", "POST", &[C, N, P, Segment::Is("payload")], &SET_PAYLOAD),
    write("points.payload.overwrite", "PUT", &[C, N, P, Segment::Is("payload")], &SET_PAYLOAD),
    write("points.payload.delete", "POST", &[C, N, P, Segment::Is("payload"), Segment::Is("delete")], &DELETE_PAYLOAD),
    write("points.batch", "POST", &[C, N, P, Segment::Is("batch")], &OPERATIONS_BATCH),
    Operation {
        name: "collections.exists",
        method: "GET",
        path: &[C, N, Segment::Is("exists")],
        kind: Kind::Free,
        offered: BOTH,
        query: &[],
        body: None,
        answer: Answer::Plain,
    },
    own("collections.get", "GET", &[C, N], Kind::Read, None),
    own("collections.create", "PUT", &[C, N], Kind::Write, Some(&CREATE)),
    own("collections.update", "PATCH", &[C, N], Kind::Write, Some(&CREATE)),
    own("collections.delete", "DELETE", &[C, N], Kind::Write, None),
    own("collections.index.create", "PUT", &[C, N, Segment::Is("index")], Kind::Write, Some(&Rule::Any)),
    own("collections.index.delete", "DELETE", &[C, N, Segment::Is("index"), Segment::Any], Kind::Write, None),
    Operation {
        name: "collections.list",
        method: "GET",
        path: &[C],
        kind: Kind::Read,
        offered: &[COLLECTION],
        query: &[],
        body: None,
        answer: Answer::Names(&[Step::Member("result"), Step::Member("collections"), Step::Each]),
    },
    // Clients look at it first: it names the version, and nobody's data.
    free("version", &[Segment::Is("")]),
    free("healthz", &[Segment::Is("healthz")]),
    free("readyz", &[Segment::Is("readyz")]),
    free("livez", &[Segment::Is("livez")]),
];
