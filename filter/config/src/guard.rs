//! How a route guards a vector store that tenants share.
use serde::{Deserialize, Serialize};

/// Keeps tenants apart in a vector store. Weir forces the tenant into each request, checks each answer, and refuses what it
/// cannot prove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// The store behind the route.
    pub store: Store,
    /// How tenants are kept apart in it.
    pub by: By,
    /// With `by: filter`, the member of a record that names its tenant; weir writes it and asks for it. Put an index on it.
    #[serde(default = "default_field")]
    pub field: String,
    /// The path below which the store's own paths stand: `/qdrant`. Absent: they stand at the top.
    #[serde(default)]
    pub root: String,
    /// With Milvus by filter, the name of the collection's primary key. Absent: nothing can be inserted, since a row with the key of
    /// another tenant's takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_field: Option<String>,
}

/// A store whose HTTP API weir knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// Qdrant 1.16 or later; by `filter` or `collection`.
    Qdrant,
    /// Pinecone's data plane; by `namespace`.
    Pinecone,
    /// Chroma's API v2; by `filter` or `namespace`, which needs `sealed_ids.keys`.
    Chroma,
    /// Milvus's RESTful API v2; by `filter`, `namespace` or `collection`.
    Milvus,
    /// Weaviate's REST API over classes with multi-tenancy; by `namespace`.
    Weaviate,
}

/// How tenants are kept apart in a vector store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// All share a collection; each record carries its tenant, and each search asks for it.
    Filter,
    /// Each has a part of its own: Pinecone's namespace, Chroma's tenant, Milvus's partition, Weaviate's tenant.
    Namespace,
    /// Each has collections of its own: `docs` is `tenant_acme_docs` in the store.
    Collection,
}

fn default_field() -> String {
    "tenant_id".to_owned()
}
