//! What is done with tenants' own keys at a provider.
use std::rc::Rc;

use weir_config::routing::{self, Dialect};
use weir_config::tenant_key::KeyHeader;
use weir_contract::Timestamp;
use weir_llm_usage::Provider;

use super::{KeyFault, OwnKeys};

/// What a route or a provider of the catalogue does with tenants' own keys.
#[derive(Debug, PartialEq, Eq)]
pub struct OwnKeyRule {
    /// The provider whose key it is.
    pub provider: Provider,
    /// The gateway's clusters that lead to it; none where each attempt has its provider's own.
    pub(crate) clusters: Box<[Box<str>]>,
    /// The header that carries the key.
    pub header: KeyHeader,
    /// Whether a tenant without a key is refused.
    pub required: bool,
}

impl OwnKeyRule {
    /// The key with which a request of the tenant goes up; None: the operator's serves it.
    ///
    /// # Errors
    /// Why neither does.
    pub(crate) fn key<'k>(
        &self,
        tenant: &str,
        own_keys: Option<&'k Rc<OwnKeys>>,
        now: Timestamp,
    ) -> Result<Option<&'k str>, KeyFault> {
        let key = own_keys.map_or(Err(KeyFault::Missing), |keys| keys.at(tenant, self.provider.as_str(), now));
        match key {
            Ok(key) => Ok(Some(key)),
            Err(KeyFault::Missing) if !self.required => Ok(None),
            Err(_) if own_keys.is_some_and(|keys| keys.house_key) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Whether a cluster leads to the provider.
    pub(crate) fn leads_to(&self, cluster: &[u8]) -> bool {
        self.clusters.iter().any(|known| known.as_bytes() == cluster)
    }
}

/// The names of providers at which a tenant can have a key of its own.
pub fn names() -> impl Iterator<Item = &'static str> {
    Provider::ALL.into_iter().filter(|provider| *provider != Provider::Bedrock).map(Provider::as_str)
}

/// The provider of a name, where tenants can have keys of their own. The error says why not.
pub fn provider(name: &str) -> Result<Provider, String> {
    match Provider::from_name(name) {
        Some(Provider::Bedrock) => {
            Err("tenants have no keys of their own at Bedrock: those of AWS do not go along with a request but sign it (SigV4), which weir \
                 does not do; let the operator's API key of Bedrock's serve there, without a key of the tenants'"
                .to_owned())
        }
        Some(provider) => Ok(provider),
        None => Err(format!("it is none of: {}", names().collect::<Vec<_>>().join(", "))),
    }
}

/// The header in which a provider expects a key.
pub fn usual_header(provider: Provider) -> KeyHeader {
    match provider {
        Provider::Anthropic => KeyHeader::XApiKey,
        Provider::AzureOpenAi => KeyHeader::ApiKey,
        Provider::Google => KeyHeader::XGoogApiKey,
        _ => KeyHeader::Authorization,
    }
}

/// The header in which a provider of the catalogue expects a tenant's key. Google's and others' compatible endpoints take a bearer token,
/// whatever their own APIs take.
pub fn header_of(of: &routing::Provider, key: &routing::ProviderKey, provider: Provider) -> KeyHeader {
    let usual = match (of.dialect, provider) {
        (Dialect::Anthropic, Provider::Anthropic) => KeyHeader::XApiKey,
        (_, Provider::AzureOpenAi) => KeyHeader::ApiKey,
        _ => KeyHeader::Authorization,
    };
    key.header.unwrap_or(usual)
}

/// The keys that belong to providers with a dialect; the error says which would.
fn speaks(dialect: Dialect, provider: Provider) -> Result<(), String> {
    use Provider::{
        Anthropic, AzureOpenAi, Cohere, DeepSeek, Google, Groq, HuggingFace, Mistral, Ollama, OpenAi, OpenRouter, XAi,
    };
    let (name, fits): (&str, &[Provider]) = match dialect {
        Dialect::OpenAi | Dialect::Vllm => (
            "Chat Completions",
            &[OpenAi, AzureOpenAi, Google, Cohere, DeepSeek, Groq, HuggingFace, Mistral, Ollama, OpenRouter, XAi],
        ),
        Dialect::Anthropic => ("Messages", &[Anthropic, AzureOpenAi, DeepSeek, OpenRouter, XAi, Ollama]),
        Dialect::Mistral => ("Mistral's API", &[Mistral]),
        Dialect::Ollama => ("Ollama's API", &[Ollama]),
        Dialect::VertexAnthropic => ("Vertex AI", &[Google]),
        Dialect::BedrockAnthropic => ("Bedrock", &[]),
    };
    if fits.contains(&provider) {
        return Ok(());
    }
    let names: Vec<&str> = fits.iter().map(|provider| provider.as_str()).collect();
    Err(match names.is_empty() {
        true => format!(
            "no tenant's key serves at {name}: leave `tenant_key` out, so that the operator's key serves, or have another provider for \
             requests with keys of tenants"
        ),
        false => format!(
            "this provider speaks {name} (`dialect`), and a key of {} would go to a server that is none of its own; expected one of: {}",
            provider.as_str(),
            names.join(", ")
        ),
    })
}

/// What a provider of the catalogue does; None where it says nothing of tenants' own keys. The error is the field and its problem.
pub(crate) fn of_provider(of: &routing::Provider) -> Result<Option<Rc<OwnKeyRule>>, (&'static str, String)> {
    let Some(key) = &of.tenant_key else { return Ok(None) };
    let provider = provider(&key.provider).map_err(|problem| ("tenant_key.provider", problem))?;
    speaks(of.dialect, provider).map_err(|problem| ("tenant_key.provider", problem))?;
    let header = header_of(of, key, provider);
    Ok(Some(Rc::new(OwnKeyRule { provider, clusters: Box::default(), header, required: key.required })))
}
