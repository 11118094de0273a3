//! Keeps tenants apart in a vector store that they share.
//!
//! A [`Guard`] stands before one store. For each request it finds the operation in the store's table ([`stores`]), and then
//!
//! 1. [`Guard::call`] judges method, path and query, and maps the names in them;
//! 2. [`Call::body`] forces the tenant into the body: its filter is wrapped, its records are marked, its names are mapped, byte for
//!    byte the same outside of these edits;
//! 3. [`Call::answer`] checks the answer: records of others are taken out, and told.
//!
//! What a table does not know is refused: operations, members, query parameters, other spellings. So is whatever cannot be proven
//! to stay with the tenant. A body is read strictly ([`weir_llm_usage::json::tree`]), since a server may read what the standard leaves open in its own
//! way.
//!
//! The crate knows no HTTP: it takes bytes, and says what they become.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

mod answer;
mod collection_ids;
mod edit;
mod expression;
mod filter;
mod headers;
mod listing;
mod names;
mod path;
mod rule;
mod stores;
mod walk;

use std::collections::BTreeMap;

pub use answer::{Checked, Verdict};
pub use collection_ids::CollectionIds;
pub use headers::HeaderFate;
pub use listing::{Listed, listed};
pub use names::mapped as collection_of;
use rule::{Kind, Operation};
use walk::Walk;

/// A store whose HTTP API is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Qdrant, from 1.16 on.
    Qdrant,
    /// Pinecone's data plane, 2025-10.
    Pinecone,
    /// Chroma's API v2.
    Chroma,
    /// Milvus's RESTful API v2.
    Milvus,
    /// Weaviate's REST API v1, with multi-tenancy.
    Weaviate,
}

impl Store {
    /// Its name in configurations and audits.
    pub const fn as_str(self) -> &'static str {
        match self {
            Store::Qdrant => "qdrant",
            Store::Pinecone => "pinecone",
            Store::Chroma => "chroma",
            Store::Milvus => "milvus",
            Store::Weaviate => "weaviate",
        }
    }
}

/// What a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyNeed {
    /// The operation has none; a request that brings one is refused.
    None,
    /// It passes unread: the path alone says where it goes.
    Opaque,
    /// [`Call::body`] judges it.
    Read,
}

/// How tenants are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// All share a collection: each record carries a mark, and each filter asks for it.
    Filter,
    /// Each has a part of the collection: Pinecone's namespace, Chroma's tenant, Milvus's partition, Weaviate's tenant.
    Namespace,
    /// Each has collections of its own.
    Collection,
}

/// What guards a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The store.
    pub store: Store,
    /// How tenants are kept apart.
    pub by: By,
    /// The member of a record that names its tenant.
    pub field: Box<str>,
    /// The path below which the store's API stands, without a slash at its end.
    pub root: Box<str>,
    /// With Milvus by filter, the collection's primary key. None: nothing is inserted.
    pub primary_field: Option<Box<str>>,
    /// With Chroma by namespace, what seals the ids of collections.
    pub collection_ids: Option<CollectionIds>,
}

/// Why a guard cannot be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The store knows no such way.
    #[error("this store keeps tenants apart by {0}")]
    By(&'static str),
    /// The member's name is none that every store takes.
    #[error("a field is 1 to 64 letters, digits and underscores, and begins with a letter")]
    Field,
    /// The root is no plain path.
    #[error("a root is a path such as /qdrant, without a slash at its end")]
    Root,
    /// A primary key is named where none is needed, or it is the mark.
    #[error(
        "`primary_field` names the primary key of a Milvus collection that is guarded by filter, and is not `field`"
    )]
    PrimaryField,
    /// Chroma names a collection by its UUID, whosever it is, and nothing seals them.
    #[error(
        "by namespace, weir seals the ids of Chroma's collections: set `sealed_ids.keys`, and where there are two, one version is odd and the other even"
    )]
    CollectionIds,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The operation is unknown, or not offered to tenants.
    Operation,
    /// A query parameter is unknown, or stands there twice.
    Query,
    /// The body is no strict JSON, or has one name twice.
    Body,
    /// A member is unknown, missing, or of another type than the API's.
    Member,
    /// The filter is no filter of this store.
    Filter,
    /// A record is named by its id where nobody can tell whose it is.
    Id,
    /// The key of a new record may be that of another tenant's.
    Key,
    /// A name cannot be mapped to one of the tenant's own.
    Name,
    /// The member that marks a record would be taken away.
    Mark,
    /// A header names another place of the store.
    Header,
    /// The id of a collection is not one of the tenant's own.
    Collection,
}

/// What a request asks of the store, for metering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// Searches, fetches and counts.
    pub reads: u64,
    /// Changes.
    pub writes: u64,
    /// Records written.
    pub vectors: u64,
}

/// How much of a record's payload the client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// As much as the store shows.
    All,
    /// Everything but the mark, which was asked for to check it.
    WithoutMark,
    /// None of it.
    Nothing,
    /// How many records there are, and no record.
    Count,
}

/// A request's head.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The path, without the query.
    pub path: &'a [u8],
    /// The query.
    pub query: Option<&'a [u8]>,
    /// The value of `content-type`.
    pub content_type: Option<&'a [u8]>,
}

/// A request that a guard lets through.
#[derive(Clone, Debug)]
pub struct Call {
    guard: Guard,
    tenant: Box<str>,
    operation: &'static Operation,
    collection: Box<str>,
    target: Option<String>,
    shown: Vec<Shown>,
    units: Units,
}

impl Guard {
    /// Checks what the shape of a configuration cannot express.
    pub fn check(&self) -> Result<(), Unfit> {
        let known: &[By] = match self.store {
            Store::Qdrant => &[By::Filter, By::Collection],
            Store::Pinecone | Store::Weaviate => &[By::Namespace],
            Store::Chroma => &[By::Filter, By::Namespace],
            Store::Milvus => &[By::Filter, By::Namespace, By::Collection],
        };
        if !known.contains(&self.by) {
            return Err(Unfit::By(match self.store {
                Store::Qdrant => "filter or collection",
                Store::Pinecone | Store::Weaviate => "namespace",
                Store::Chroma => "filter or namespace",
                Store::Milvus => "filter, namespace or collection",
            }));
        }
        let is_word = self.store == Store::Milvus && expression::is_word(&self.field);
        if !is_field(&self.field) || is_word {
            return Err(Unfit::Field);
        }
        if let Some(key) = &self.primary_field {
            let is_needed = self.store == Store::Milvus && self.by == By::Filter;
            if !is_needed || !is_field(key) || *key == self.field {
                return Err(Unfit::PrimaryField);
            }
        }
        if self.seals_collections() && self.collection_ids.is_none() {
            return Err(Unfit::CollectionIds);
        }
        let is_path = self.root.is_empty() || (self.root.starts_with('/') && !self.root.ends_with('/'));
        let is_plain = self.root.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
        if is_path && is_plain { Ok(()) } else { Err(Unfit::Root) }
    }

    /// Whether collections have ids that the store gives, and each tenant has its own.
    fn seals_collections(&self) -> bool {
        self.store == Store::Chroma && self.by == By::Namespace
    }

    /// Judges a request by its head.
    pub fn call(&self, tenant: &str, head: &RequestHead<'_>) -> Result<Call, Refused> {
        if self.store == Store::Weaviate && !names::is_weaviates(tenant) {
            return Err(Refused::Name);
        }
        let speaks_grpc =
            |kind: &[u8]| kind.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"));
        if head.content_type.is_some_and(speaks_grpc) {
            return Err(Refused::Operation);
        }
        let (operation, found) = path::find(self, head)?;
        let (target, collection) = path::rewrite(self, tenant, operation, &found, head)?;
        let mut call = Call {
            guard: self.clone(),
            tenant: tenant.into(),
            operation,
            collection: collection.into(),
            target,
            shown: Vec::new(),
            units: Units::default(),
        };
        match operation.kind {
            Kind::Search | Kind::Read => call.units.reads = 1,
            Kind::Write => call.units.writes = 1,
            Kind::Free => {}
        }
        Ok(call)
    }
}

impl Call {
    /// The operation's name, for metrics and audits.
    pub fn operation(&self) -> &'static str {
        self.operation.name
    }

    /// The collection as the tenant names it; empty where there is none.
    pub fn collection(&self) -> &str {
        &self.collection
    }

    /// Path and query that go on instead of the client's.
    pub fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// What the request's body is.
    pub fn body_need(&self) -> BodyNeed {
        match self.operation.body {
            None => BodyNeed::None,
            Some(rule::Rule::Opaque) => BodyNeed::Opaque,
            Some(_) => BodyNeed::Read,
        }
    }

    /// The store's name, for audits.
    pub fn store(&self) -> &'static str {
        self.guard.store.as_str()
    }

    /// Whether it is a search, which is audited.
    pub fn is_search(&self) -> bool {
        self.operation.kind == Kind::Search
    }

    /// What it asks of the store.
    pub fn units(&self) -> Units {
        self.units
    }

    /// Whether the answer must be held and checked, unless it is an error.
    pub fn holds_answer(&self) -> bool {
        answer::holds(&self.guard, self.operation)
    }

    /// Whether an answer of this status must be held and checked; 0: the gateway does not tell it.
    pub fn holds_answer_of(&self, status: u16) -> bool {
        self.holds_answer() && (status < 400 || (status == 404 && self.hides_absence()))
    }

    /// The header that has the store speak the version of its API that the table knows, whatever the client says.
    pub fn version_header(&self) -> Option<(&'static str, &'static str)> {
        match self.guard.store {
            Store::Pinecone => Some(("x-pinecone-api-version", "2025-10")),
            Store::Qdrant | Store::Chroma | Store::Milvus | Store::Weaviate => None,
        }
    }

    /// Whether a record that does not exist must look as one of another tenant's does.
    pub fn hides_absence(&self) -> bool {
        self.names_records() && matches!(self.operation.answer, rule::Answer::Record(_))
    }

    /// Whether the client names records by their ids, which a store finds whosever they are: a foreign record in the answer is
    /// the client's guess, and no fault of the store's.
    pub fn names_records(&self) -> bool {
        let is_records = matches!(self.operation.answer, rule::Answer::Record(_) | rule::Answer::Records(_));
        self.guard.by == By::Filter && self.operation.kind == Kind::Read && is_records
    }

    /// Forces the tenant into a body. None: nothing in it changes.
    pub fn body(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Refused> {
        let Some(rule) = self.operation.body else { return Err(Refused::Body) };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return walk::empty(rule).map(|()| None);
        }
        let mut walk = Walk::new(&self.guard, &self.tenant, bytes)?;
        walk.root(rule)?;
        self.units.vectors = walk.marked;
        if self.operation.kind == Kind::Search || self.operation.kind == Kind::Read {
            self.units.reads = walk.asked.max(1);
        }
        if !walk.collection.is_empty() {
            self.collection = std::mem::take(&mut walk.collection).into();
        }
        self.shown = std::mem::take(&mut walk.shown);
        Ok(walk.edits.apply(bytes))
    }

    /// Checks an answer of this status.
    pub fn answer(&self, status: u16, bytes: &[u8]) -> Checked {
        answer::check(self, status, bytes)
    }
}

fn is_field(name: &str) -> bool {
    let mut rest = name.bytes();
    let starts = rest.next().is_some_and(|first| first.is_ascii_alphabetic());
    starts && name.len() <= 64 && rest.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Records that were taken out of an answer, by the owner that they name.
pub type Removed = BTreeMap<String, u64>;
