//! Resources that all tenants of one provider account share, as a route names them.
use serde::{Deserialize, Serialize};

/// A kind of resource that the tenants of one provider account share, and that a route may permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Shared {
    /// Files, uploads, containers, skills.
    Files,
    /// Assistants, threads, conversations, chat kits.
    Assistants,
    /// Batches.
    Batches,
    /// Fine-tuning, tuned models, evaluations, and deleting a model.
    FineTuning,
    /// Answers, completions and videos that the provider has stored: retrieving, listing and deleting them.
    StoredResponses,
    /// Vector stores, corpora, cached contents.
    VectorStores,
    /// Keys, users, projects and bills of the account itself.
    Organization,
    /// Any other resource below the provider's paths.
    Unlisted,
}
