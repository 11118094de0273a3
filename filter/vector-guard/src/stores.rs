//! The tables: every operation of each store's HTTP API that tenants may use. What is not in a table is refused.
mod chroma;
mod milvus;
mod pinecone;
mod qdrant;
mod weaviate;

use crate::Store;
use crate::rule::Operation;

/// The operations of a store.
pub(crate) fn operations(store: Store) -> &'static [Operation] {
    match store {
        Store::Qdrant => qdrant::OPERATIONS,
        Store::Pinecone => pinecone::OPERATIONS,
        Store::Chroma => chroma::OPERATIONS,
        Store::Milvus => milvus::OPERATIONS,
        Store::Weaviate => weaviate::OPERATIONS,
    }
}
