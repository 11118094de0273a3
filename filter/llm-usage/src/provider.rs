//! Who answered, as the shape of the answer tells it.

/// A provider, or the family of its API where the shape tells no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// OpenAI, and every compatible service that shows no sign of its own.
    OpenAi,
    /// Azure OpenAI, by its content filter results.
    AzureOpenAi,
    /// Anthropic.
    Anthropic,
    /// Google Gemini and Vertex AI.
    Google,
    /// Amazon Bedrock.
    Bedrock,
    /// Cohere.
    Cohere,
    /// DeepSeek, by its cache hits.
    DeepSeek,
    /// Groq, by `x_groq`.
    Groq,
    /// Hugging Face text generation inference.
    HuggingFace,
    /// Mistral. Its shape is OpenAI's: told only by configuration.
    Mistral,
    /// Ollama's own API.
    Ollama,
    /// OpenRouter, by `provider`.
    OpenRouter,
    /// Voyage, by its models' names.
    Voyage,
    /// xAI, by its costs and sources.
    XAi,
}

impl Provider {
    /// Every provider, in the order of their declaration.
    pub const ALL: [Provider; 14] = [
        Provider::OpenAi,
        Provider::AzureOpenAi,
        Provider::Anthropic,
        Provider::Google,
        Provider::Bedrock,
        Provider::Cohere,
        Provider::DeepSeek,
        Provider::Groq,
        Provider::HuggingFace,
        Provider::Mistral,
        Provider::Ollama,
        Provider::OpenRouter,
        Provider::Voyage,
        Provider::XAi,
    ];

    /// The name in events and configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Provider::OpenAi => "openai",
            Provider::AzureOpenAi => "azure_openai",
            Provider::Anthropic => "anthropic",
            Provider::Google => "google",
            Provider::Bedrock => "bedrock",
            Provider::Cohere => "cohere",
            Provider::DeepSeek => "deepseek",
            Provider::Groq => "groq",
            Provider::HuggingFace => "huggingface",
            Provider::Mistral => "mistral",
            Provider::Ollama => "ollama",
            Provider::OpenRouter => "openrouter",
            Provider::Voyage => "voyage",
            Provider::XAi => "xai",
        }
    }

    /// The provider of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Provider::ALL.into_iter().find(|provider| provider.as_str() == name)
    }

    /// Whether every answer of this kind must show its own marks; OpenAI's shape alone says only "compatible".
    pub(crate) const fn is_specific(self) -> bool {
        !matches!(self, Provider::OpenAi)
    }
}
