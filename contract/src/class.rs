//! Classes of requests.
use serde::{Deserialize, Serialize};

/// What kind of request it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A conversation with a model.
    Chat,
    /// A bare completion.
    Completion,
    /// Vectors for texts.
    Embedding,
    /// Retrieval-augmented generation.
    Rag,
    /// Images made or edited.
    Image,
    /// Speech or transcription.
    Audio,
    /// Documents put in order.
    Rerank,
    /// Content checked.
    Moderation,
    /// Many requests in one job.
    Batch,
    /// Model Context Protocol.
    Mcp,
    /// Anything else.
    #[default]
    Other,
}

impl Class {
    /// Every class, in the order of their declaration.
    pub const ALL: [Class; 11] = [
        Class::Chat,
        Class::Completion,
        Class::Embedding,
        Class::Rag,
        Class::Image,
        Class::Audio,
        Class::Rerank,
        Class::Moderation,
        Class::Batch,
        Class::Mcp,
        Class::Other,
    ];

    /// The name in events, headers and configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Chat => "chat",
            Class::Completion => "completion",
            Class::Embedding => "embedding",
            Class::Rag => "rag",
            Class::Image => "image",
            Class::Audio => "audio",
            Class::Rerank => "rerank",
            Class::Moderation => "moderation",
            Class::Batch => "batch",
            Class::Mcp => "mcp",
            Class::Other => "other",
        }
    }
}
