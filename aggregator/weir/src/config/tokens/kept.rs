//! Tokens that are made by calls and commands, and kept in the database of tenants.
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_contract::directory::KeyHash;
use weir_contract::id::is_gateway_name;
use weir_tenants::store::change::ChangeError;
use weir_tenants::store::tokens::KeptToken;

use super::{NAME_MAX_CHARS, Scope, Token, TokenError, is_name, random_token};

/// The beginning of every token, by which people and scanners of leaked secrets know it.
const TOKEN_PREFIX: &str = "sk_weir_api_";

/// The tokens of the database. They are found by the hash of what a client presents, which nobody can steer towards a
/// stored one.
#[derive(Clone, Debug, Default)]
pub struct KeptTokens(HashMap<KeyHash, Token>);

impl KeptTokens {
    /// Those that are not revoked.
    pub fn new(kept: Vec<KeptToken>) -> Self {
        KeptTokens(kept.into_iter().filter_map(Token::kept).map(|token| (token.hash, token)).collect())
    }

    /// Finds the token that a client presents, if it has not expired.
    pub fn find(&self, presented: &[u8], now: Timestamp) -> Option<&Token> {
        self.find_hash(&KeyHash::of(presented), now)
    }

    /// Finds a token by its hash, if it has not expired.
    pub(crate) fn find_hash(&self, hash: &KeyHash, now: Timestamp) -> Option<&Token> {
        let found = self.0.get(hash)?;
        Some(found).filter(|token| token.expires.is_none_or(|expires| now < expires))
    }
}

/// A token to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Its name, unique for ever.
    pub name: String,
    /// The person who gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// What it opens.
    pub scopes: Vec<Scope>,
    /// The only gateway whose events it may send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// Where a token comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It stands in the configuration.
    Configuration,
    /// It was made by a call or a command.
    #[default]
    Made,
}

/// A token as it is listed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TokenView {
    /// Its name.
    pub name: String,
    /// The token itself, in the one answer that makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Where it comes from.
    pub from: Origin,
    /// The person who has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// What it opens.
    pub scopes: Vec<Scope>,
    /// The only gateway whose events it may send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// When the server was last asked with it, or a page was, since its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
}

impl TokenView {
    /// Its scopes, as people write them.
    pub fn opens(&self) -> String {
        self.scopes.iter().map(Scope::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl From<KeptToken> for TokenView {
    fn from(kept: KeptToken) -> Self {
        TokenView {
            name: kept.name,
            token: None,
            from: Origin::Made,
            person: kept.person,
            scopes: serde_json::from_value(kept.scopes).unwrap_or_default(),
            gateway: kept.gateway,
            created_at: Some(kept.created_at),
            created_by: Some(kept.created_by),
            expires: kept.expires,
            revoked_at: kept.revoked_at,
            last_used: None,
        }
    }
}

impl NewToken {
    /// Makes the token, and the secret that its owner is told once.
    pub fn make(self, by: &str, now: Timestamp) -> Result<(KeptToken, String), MakeError> {
        let wrong = |problem: String| Err(MakeError::Change(ChangeError::Invalid(problem)));
        if let Some(name) =
            [Some(&self.name), self.person.as_ref()].into_iter().flatten().find(|name| !is_name(name, NAME_MAX_CHARS))
        {
            return wrong(TokenError::Name(name.clone()).to_string());
        }
        if self.scopes.is_empty() {
            return wrong("`scopes` is empty: the token would open nothing".to_owned());
        }
        if self.gateway.as_deref().is_some_and(|gateway| !is_gateway_name(gateway)) {
            return wrong("`gateway` is 1 to 64 of A-Z a-z 0-9 . _ -".to_owned());
        }
        if self.expires.is_some_and(|expires| expires <= now) {
            return Err(ChangeError::Over("expires").into());
        }
        let secret = format!("{TOKEN_PREFIX}{}", random_token()?);
        let kept = KeptToken {
            name: self.name,
            sha256: KeyHash::of(secret.as_bytes()),
            person: self.person,
            scopes: serde_json::to_value(self.scopes).map_err(ChangeError::from)?,
            gateway: self.gateway,
            created_at: now,
            created_by: by.to_owned(),
            expires: self.expires,
            revoked_at: None,
        };
        Ok((kept, secret))
    }
}

/// Why a token is not made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// It is not valid.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// There is nothing to make it from.
    #[error(transparent)]
    Random(#[from] super::NoRandomness),
}
