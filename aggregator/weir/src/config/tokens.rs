//! Bearer tokens and their scopes: those of the configuration, and [`kept`] ones.
pub mod kept;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use weir_contract::directory::KeyHash;
use weir_contract::id::is_gateway_name;
use weir_contract::{TenantId, Timestamp, placeholder};
use weir_steer::raise::AUTOMATIC;
use weir_tenants::store::tokens::KeptToken;

pub use kept::{KeptTokens, NewToken, Origin, TokenView};

use crate::text::{is_obeyed, is_unseen, looks_like};
use weir_settings::secret::{SecretError, SecretSource};

/// The most tokens of one server; every request is compared with each.
pub const TOKENS_MAX: usize = 64;
/// The shortest token read from environment or file, in characters: 128 bits in base64.
pub(crate) const TOKEN_MIN_CHARS: usize = 22;

/// The longest name of a token or a person, in characters.
const NAME_MAX_CHARS: usize = 64;
/// The name of the token that commands of the machine find in the data directory.
pub(crate) const COMMANDS: &str = "the commands of this machine";

/// Whether a token or a person can have this name: the audit and pages show it as it is. Weir's own acts stand in the audit as `weir`.
pub(crate) fn is_name(text: &str, max_chars: usize) -> bool {
    let is_taken = text == COMMANDS || looks_like(text, AUTOMATIC);
    let is_long = text.chars().count() > max_chars;
    !is_taken && !is_long && !text.trim().is_empty() && !text.contains(|c| is_obeyed(c) || is_unseen(c))
}

/// What a token opens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// `POST /v1/events`.
    Ingest,
    /// `GET /v1/directory`.
    Directory,
    /// Tenants' own keys at providers, on the pages of `GET /v1/directory`; beside `directory`.
    Byok,
    /// `POST /v1/readings`.
    Readings,
    /// `GET /metrics`, where the server does not listen on loopback only.
    Metrics,
    /// Every other `GET`: usage, ledger, events, quarantine, Stripe's status, the audit. It changes nothing.
    Viewer,
    /// The daily work: tenants and their keys, reports, comparisons with Stripe, refused events; and what `metrics`, `viewer` and
    /// `tenant` open.
    Operator,
    /// Everything else, and what `operator` opens.
    Admin,
    /// One tenant's own affairs: its entry, its usage, and its keys, but not their plans, environments and features.
    Tenant(TenantId),
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Scope::Ingest => "ingest",
            Scope::Directory => "directory",
            Scope::Byok => "byok",
            Scope::Readings => "readings",
            Scope::Metrics => "metrics",
            Scope::Viewer => "viewer",
            Scope::Operator => "operator",
            Scope::Admin => "admin",
            Scope::Tenant(id) => return write!(f, "tenant:{id}"),
        })
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(id) = text.strip_prefix("tenant:") {
            return TenantId::new(id).map(Scope::Tenant).map_err(|error| error.to_string());
        }
        serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|_| {
            "expected ingest, directory, byok, readings, metrics, viewer, operator, admin or tenant:ID".to_owned()
        })
    }
}

/// A token, given by exactly one of `sha256`, `env` and `file`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// The token's name, in logs and in the audit.
    pub name: String,
    /// The person who has it, for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// What the token may do.
    pub scopes: Vec<Scope>,
    /// The only gateway whose events it may send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The token's SHA-256, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<KeyHash>,
    /// The environment variable with the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The file with the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// Why a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There are too many.
    #[error("{0} tokens; at most {TOKENS_MAX}")]
    TooMany(usize),
    /// None of `sha256`, `env` and `file` is given, or several are.
    #[error("{0}: give exactly one of sha256, env and file")]
    Source(String),
    /// Its name or that of its person cannot be one.
    #[error(
        "{0:?}: `name` and `person` have 1 to {NAME_MAX_CHARS} characters that are seen; {AUTOMATIC:?}, what looks like \
         it, and {COMMANDS:?} are names that weir has itself"
    )]
    Name(String),
    /// It opens nothing.
    #[error("{0}: give it scopes: ingest, directory, byok, readings, metrics, viewer, operator, admin, {{tenant: ID}}")]
    NoScope(String),
    /// Everybody knows it.
    #[error(
        "{0}: its sha256 is that of a key in documentation or tutorials, which everybody knows; `weir keys new` makes one"
    )]
    Known(String),
    /// It is too short to be safe.
    #[error("{0}: shorter than {TOKEN_MIN_CHARS} characters; `weir keys new` makes one")]
    Short(String),
    /// The gateway's name is not valid.
    #[error("{0}: gateway is 1 to 64 of A-Z a-z 0-9 . _ -")]
    Gateway(String),
    /// The secret cannot be read.
    #[error("{name}: {source}")]
    Secret {
        /// The token's name.
        name: String,
        /// The problem.
        source: SecretError,
    },
}

/// A token, known by its hash only.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token's name, in logs and in the audit.
    pub name: String,
    /// The gateway that it is bound to.
    pub gateway: Option<Box<str>>,
    /// The person who has it.
    pub person: Option<Box<str>>,
    /// When it expires.
    pub expires: Option<Timestamp>,
    scopes: Vec<Scope>,
    hash: KeyHash,
}

impl Token {
    /// A token for the process's own use.
    pub fn of(name: &str, scopes: Vec<Scope>, secret: &str) -> Self {
        let hash = KeyHash::of(secret.as_bytes());
        Token { name: name.to_owned(), gateway: None, person: None, expires: None, scopes, hash }
    }

    /// A token of the database; None if it is revoked.
    pub fn kept(kept: KeptToken) -> Option<Self> {
        if kept.revoked_at.is_some() {
            return None;
        }
        Some(Token {
            name: kept.name,
            gateway: kept.gateway.map(Into::into),
            person: kept.person.map(Into::into),
            expires: kept.expires,
            // Scopes of a later version open nothing.
            scopes: serde_json::from_value(kept.scopes).unwrap_or_default(),
            hash: kept.sha256,
        })
    }

    /// Whether it is a token of this tenant itself.
    pub fn is_of(&self, tenant: &str) -> bool {
        self.scopes.iter().any(|scope| matches!(scope, Scope::Tenant(id) if id.as_str() == tenant))
    }

    /// The tenant whose own token it is.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.scopes.iter().find_map(|scope| if let Scope::Tenant(id) = scope { Some(id) } else { None })
    }

    /// Who acts, for the audit: the person and the token.
    pub fn who(&self) -> String {
        match &self.person {
            Some(person) => format!("{person}, with {}", self.name),
            None => self.name.clone(),
        }
    }

    /// Returns true if the token has `scope`.
    pub fn opens(&self, scope: &Scope) -> bool {
        let has = |scope| self.scopes.contains(&scope);
        let implied = match scope {
            Scope::Metrics | Scope::Viewer | Scope::Tenant(_) => has(Scope::Operator) || has(Scope::Admin),
            Scope::Operator => has(Scope::Admin),
            Scope::Ingest | Scope::Directory | Scope::Byok | Scope::Readings | Scope::Admin => false,
        };
        implied || self.scopes.contains(scope)
    }
}

/// All tokens of a server.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// Reads the configured tokens; relative files lie in `base`.
    pub fn read(configs: &[TokenConfig], base: &Path) -> Result<Self, TokenError> {
        if configs.len() > TOKENS_MAX {
            return Err(TokenError::TooMany(configs.len()));
        }
        configs.iter().map(|config| read(config, base)).collect::<Result<_, _>>().map(Tokens)
    }

    /// Adds a token.
    pub fn with(mut self, token: Token) -> Self {
        self.0.push(token);
        self
    }

    /// Finds the token that a client presents.
    pub fn find(&self, presented: &[u8]) -> Option<&Token> {
        self.find_hash(&KeyHash::of(presented))
    }

    /// Finds a token by its hash. Takes the same time for every token, so that timing reveals nothing.
    pub(crate) fn find_hash(&self, hash: &KeyHash) -> Option<&Token> {
        let mut found = None;
        for token in &self.0 {
            if bool::from(token.hash.0.ct_eq(&hash.0)) {
                found = Some(token);
            }
        }
        found
    }

    /// Whether there is a token of this name.
    pub fn knows(&self, name: &str) -> bool {
        name == COMMANDS || self.0.iter().any(|token| token.name == name)
    }

    /// The tokens of the configuration, as they are listed.
    pub fn views(&self) -> impl Iterator<Item = TokenView> {
        self.0.iter().filter(|token| token.name != COMMANDS).map(|token| TokenView {
            name: token.name.clone(),
            from: Origin::Configuration,
            person: token.person.as_deref().map(str::to_owned),
            scopes: token.scopes.clone(),
            gateway: token.gateway.as_deref().map(str::to_owned),
            ..TokenView::default()
        })
    }

    /// Returns true if there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn read(config: &TokenConfig, base: &Path) -> Result<Token, TokenError> {
    let name = || config.name.clone();
    let wrong = [Some(&config.name), config.person.as_ref()].into_iter().flatten();
    if let Some(wrong) = wrong.into_iter().find(|name| !is_name(name, NAME_MAX_CHARS)) {
        return Err(TokenError::Name(wrong.clone()));
    }
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
        (Some(hash), None, None) if placeholder::is_known_hash(&hash) => return Err(TokenError::Known(name())),
        (Some(hash), None, None) => hash,
        (None, Some(variable), None) => secret(SecretSource::Env(variable.clone()))?,
        (None, None, Some(file)) => secret(SecretSource::File(file.clone()))?,
        _ => return Err(TokenError::Source(name())),
    };
    let gateway = config.gateway.as_deref().map(Into::into);
    let person = config.person.as_deref().map(Into::into);
    Ok(Token { name: name(), gateway, person, expires: None, scopes: config.scopes.clone(), hash })
}

/// The operating system provides no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes: {0}")]
pub struct NoRandomness(getrandom::Error);

/// Returns 256 random bits in hex.
pub(crate) fn random_token() -> Result<String, NoRandomness> {
    random_bytes().map(hex::encode)
}

/// Returns 256 random bits.
pub(crate) fn random_bytes() -> Result<[u8; 32], NoRandomness> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}
