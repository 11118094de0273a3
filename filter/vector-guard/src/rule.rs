//! The language of the stores' tables: operations, and what stands where in their bodies and answers.
use crate::By;

/// An operation of a store's API.
#[derive(Debug)]
pub(crate) struct Operation {
    /// Its name, for metrics and audits.
    pub(crate) name: &'static str,
    /// Its method.
    pub(crate) method: &'static str,
    /// Its path below the guard's root.
    pub(crate) path: &'static [Segment],
    /// What it asks of the store.
    pub(crate) kind: Kind,
    /// In which ways of keeping tenants apart it is offered.
    pub(crate) offered: &'static [By],
    /// The query parameters that it takes.
    pub(crate) query: &'static [(&'static str, Parameter)],
    /// What its body is; None: it has none.
    pub(crate) body: Option<&'static Rule>,
    /// What its answer is.
    pub(crate) answer: Answer,
}

/// What an operation asks of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A search, which is audited.
    Search,
    /// Another read.
    Read,
    /// A change.
    Write,
    /// Neither: liveness, versions.
    Free,
}

/// A segment of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// These letters.
    Is(&'static str),
    /// A collection's name, mapped where each tenant has its own.
    Collection,
    /// The id that the store has given a collection, sealed where each tenant has its own.
    CollectionId,
    /// The name of a part of a collection, mapped.
    Namespace,
    /// A name or id that says nothing about tenants.
    Any,
}

/// A query parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parameter {
    /// Passed on.
    Any,
    /// The tenant's own name in the place of the client's, put in where it is missing.
    Tenant,
    /// The name of a part of a collection, mapped, put in where it is missing.
    Namespace,
}

/// What a value in a body must be, and what becomes of it.
#[derive(Debug)]
pub(crate) enum Rule {
    /// A body that is not read: only the path says where it goes.
    Opaque,
    /// Anything.
    Any,
    /// A string, number, boolean or null.
    Scalar,
    /// This text, or null.
    Is(&'static str),
    /// A vector: lists of numbers, or an object that names no record.
    Vector,
    /// An object with these members, and no others.
    Object(&'static Shape),
    /// A list.
    List(&'static Rule),
    /// One, or a list of several.
    OneOrList(&'static Rule),
    /// The first of these that fits the type of the value.
    Either(&'static [Rule]),
    /// The client's filter: wrapped, so that it finds the tenant's records only.
    Filter,
    /// A list of ids, in the place of a filter: becomes a filter.
    PointIds,
    /// A list of ids, each of which is made the tenant's own.
    Ids,
    /// A record's payload: marked.
    Payload,
    /// A row of Milvus: marked, and its primary key is the tenant's own.
    Row,
    /// Primary keys of rows: those that are text are the tenant's own.
    Keys,
    /// The payloads of several records: each marked.
    Payloads,
    /// How much of a payload is shown: the mark always is, to be checked.
    PayloadSelector,
    /// Names of payload members to take away: never the mark.
    PayloadKeys,
    /// Names of the columns that an answer has: the mark's always.
    Columns,
    /// The same, or the number of rows that the filter finds.
    ColumnsOrCount,
    /// A collection's name, mapped where each tenant has its own.
    Collection,
    /// The name of a part of a collection, mapped.
    Namespace,
    /// The tenant's own name.
    Tenant,
    /// Several names of parts of a collection; only the tenant's own.
    Partitions,
}

/// The members of an object.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Those that it may have.
    pub(crate) members: &'static [(&'static str, Rule)],
    /// What is put in, or must be there.
    pub(crate) ensure: &'static [Ensure],
}

/// What an object gets where it lacks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ensure {
    /// A filter for the tenant's records, under this name.
    Filter(&'static str),
    /// A payload with the mark.
    Payload(&'static str),
    /// As many payloads with the mark as there are ids.
    Payloads(&'static str, &'static str),
    /// The mark as the only member shown.
    PayloadSelector(&'static str),
    /// Everything is shown.
    AllShown(&'static str),
    /// The mark's column.
    Columns(&'static str),
    /// The tenant's part of the collection.
    Namespace(&'static str),
    /// The tenant's own name.
    Tenant(&'static str),
    /// The tenant's partition, as the only one.
    Partitions(&'static str),
    /// Exactly one of these is there.
    OneOf(&'static [&'static str]),
    /// It is there.
    Present(&'static str),
}

impl Ensure {
    /// Whether only what asks for records has it.
    pub(crate) const fn is_of_searches(self) -> bool {
        matches!(self, Ensure::PayloadSelector(_) | Ensure::AllShown(_) | Ensure::Columns(_))
    }
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing in it is anybody's: acknowledgements, counts of what the filter found.
    Plain,
    /// Records at this place.
    Records(&'static [Step]),
    /// One record at this place; another tenant's does not exist.
    Record(&'static [Step]),
    /// Lists side by side under these names: ids, and what belongs to each.
    Columns(&'static [&'static str]),
    /// Names of collections or parts at this place; the tenant's own are shown, as it knows them.
    Names(&'static [Step]),
    /// A collection, or a list of them, with the ids that the store gives them.
    Collections,
    /// An object that says which part of the collection it is from.
    OfNamespace,
}

/// A step into an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The member of that name.
    Member(&'static str),
    /// Each element of a list.
    Each,
    /// Each element of a list, one for each search of a batch.
    EachSearch,
}
