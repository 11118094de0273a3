//! What all tenants of one provider account share, as a route names it.
use serde::{Deserialize, Serialize};

/// What an account shares, as a route permits it.
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
    /// Answers, completions and videos that the provider has stored: retrieving, listing, deleting them.
    StoredResponses,
    /// Vector stores, corpora, cached contents.
    VectorStores,
    /// Keys, users, projects and bills of the account itself.
    Organization,
    /// Whatever else a provider offers below its paths.
    Unlisted,
}
