//! Bearer tokens: who may do what.
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use weir_contract::directory::KeyHash;
use weir_contract::id::is_gateway_name;

use weir_settings::secret::{SecretError, SecretSource};

/// The most tokens of one server. Every request is compared with each.
pub const TOKENS_MAX: usize = 64;
/// The fewest characters of a token that is read from environment or file: 128 bits in base64.
pub const TOKEN_MIN_CHARS: usize = 22;

/// What a token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// `POST /v1/events`.
    Ingest,
    /// `GET /v1/directory`.
    Directory,
    /// `POST /v1/readings`.
    Readings,
    /// Everything else.
    Admin,
}

/// A token as it is written. Exactly one of `sha256`, `env` and `file` says what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// For logs and people.
    pub name: String,
    /// What it opens.
    pub scopes: Vec<Scope>,
    /// Its events must come from this gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// SHA-256 of it, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<KeyHash>,
    /// The environment variable it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The file it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// Why a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There are too many.
    #[error("{0} tokens; at most {TOKENS_MAX}")]
    TooMany(usize),
    /// It is not said what it is, or twice.
    #[error("{0}: give exactly one of sha256, env and file")]
    Source(String),
    /// It opens nothing.
    #[error("{0}: give it scopes: ingest, directory, readings, admin")]
    NoScope(String),
    /// It is too short to be safe.
    #[error("{0}: shorter than {TOKEN_MIN_CHARS} characters; `weir keys new` makes one")]
    Short(String),
    /// Its gateway cannot exist.
    #[error("{0}: gateway is 1 to 64 of A-Z a-z 0-9 . _ -")]
    Gateway(String),
    /// Its secret is not there.
    #[error("{name}: {source}")]
    Secret {
        /// The token's name.
        name: String,
        /// What is wrong.
        source: SecretError,
    },
}

/// One token, known by its hash only.
#[derive(Clone, Debug)]
pub struct Token {
    /// For logs and people.
    pub name: String,
    /// The gateway it is bound to.
    pub gateway: Option<Box<str>>,
    scopes: Vec<Scope>,
    hash: KeyHash,
}

impl Token {
    /// A token for the process's own use.
    pub fn of(name: &str, scopes: Vec<Scope>, secret: &str) -> Self {
        Token { name: name.to_owned(), gateway: None, scopes, hash: KeyHash::of(secret.as_bytes()) }
    }

    /// Whether it opens `scope`.
    pub fn opens(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// All tokens of a server.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// Reads what the configuration names; relative files lie in `base`.
    pub fn read(configs: &[TokenConfig], base: &Path) -> Result<Self, TokenError> {
        if configs.len() > TOKENS_MAX {
            return Err(TokenError::TooMany(configs.len()));
        }
        configs.iter().map(|config| read(config, base)).collect::<Result<_, _>>().map(Tokens)
    }

    /// Adds one.
    pub fn with(mut self, token: Token) -> Self {
        self.0.push(token);
        self
    }

    /// The token a client presents, if it is one of these. Takes as long whichever it is.
    pub fn find(&self, presented: &[u8]) -> Option<&Token> {
        let hash = KeyHash::of(presented);
        let mut found = None;
        for token in &self.0 {
            if bool::from(token.hash.0.ct_eq(&hash.0)) {
                found = Some(token);
            }
        }
        found
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn read(config: &TokenConfig, base: &Path) -> Result<Token, TokenError> {
    let name = || config.name.clone();
    if config.scopes.is_empty() {
        return Err(TokenError::NoScope(name()));
    }
    if config.gateway.as_deref().is_some_and(|gateway| !is_gateway_name(gateway)) {
        return Err(TokenError::Gateway(name()));
    }
    let secret = |source: SecretSource| {
        let secret = source.read(base).map_err(|source| TokenError::Secret { name: name(), source })?;
        if secret.expose().len() < TOKEN_MIN_CHARS {
            return Err(TokenError::Short(name()));
        }
        Ok(KeyHash::of(secret.expose().as_bytes()))
    };
    let hash = match (config.sha256, &config.env, &config.file) {
        (Some(hash), None, None) => hash,
        (None, Some(variable), None) => secret(SecretSource::Env(variable.clone()))?,
        (None, None, Some(file)) => secret(SecretSource::File(file.clone()))?,
        _ => return Err(TokenError::Source(name())),
    };
    let gateway = config.gateway.as_deref().map(Into::into);
    Ok(Token { name: name(), gateway, scopes: config.scopes.clone(), hash })
}

/// The operating system gives no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes: {0}")]
pub struct NoRandomness(getrandom::Error);

/// 256 random bits in hex.
pub fn random_token() -> Result<String, NoRandomness> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(hex::encode(bytes))
}
