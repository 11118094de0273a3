//! Identifies the tenant of a request.
//!
//! A *source* claims the credentials that have its shape: a JSON web token has three parts, a key has its prefix. So
//! both may share `Authorization: Bearer`, as the SDKs send them. A claimed credential that is invalid is refused,
//! whatever else the request carries: no request falls through to a weaker source. Credentials of two tenants are
//! refused, and so is a valid credential of a suspended tenant.
//!
//! [`credential`] finds credentials in the head. [`jws`] takes a token apart, [`jwt`] verifies it, [`cache`]
//! remembers it; its keys ([`key`]) come from the configuration or from [`keyring`], which fetches them; [`budget`]
//! bounds what signatures cost. [`digests`] remembers the SHA-256 of API keys. [`trusted`] is a header that another
//! gateway has set, [`subdomain`] a host that names a tenant.
pub mod budget;
pub mod cache;
pub mod credential;
pub mod digests;
pub mod jws;
pub mod jwt;
pub mod keyring;
pub mod port;
pub mod subdomain;
pub mod trusted;

use std::rc::Rc;

use weir_config::ConfigError;
pub use weir_config::algorithm;
use weir_config::shape::{self, Source, UnknownTenant};
use weir_contract::directory::TenantState;
use weir_contract::placement::Placement;
use weir_contract::stage::BudgetStage;
use weir_contract::{TenantId, Timestamp};
pub use weir_keys as key;

use crate::directory::{self, Directory, TenantEntry};
use crate::hash::Keyed;
use crate::head::Head;
use crate::limit::Limit;
use crate::plan::{Plan, Plans};
use crate::refusal::{Invalid, Refusal};
use budget::Budget;
use cache::{CachedToken, TokenCache};
use credential::Credential;
use digests::Digests;
use jwt::{Issuer, Unverified, VerifyContext};
use keyring::Keyring;
use port::Ports;
use subdomain::Subdomain;
use trusted::Trusted;

/// The configured sources of identity.
#[derive(Debug)]
pub struct Sources {
    issuers: Vec<Issuer>,
    keys: Vec<KeySource>,
    trusted: Vec<Trusted>,
    subdomain: Option<Subdomain>,
    unknown_tenant: UnknownTenant,
    /// Headers that carry credentials; they never reach the upstream.
    carriers: Vec<Rc<str>>,
}

/// The header that carries API keys, and their prefix.
#[derive(Debug)]
pub(crate) struct KeySource {
    header: Rc<str>,
    prefix: Box<str>,
}

/// The tenant of a request, and what its credential says.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The tenant.
    pub tenant: TenantId,
    /// Its plan.
    pub plan: Rc<Plan>,
    /// The key, issuer or header that identified it.
    pub credential_id: Rc<str>,
    /// The end user, as the token or the header names it.
    pub user: Option<Rc<str>>,
    /// The environment of usage under this credential.
    pub environment: Option<Rc<str>>,
    /// The product feature that this credential belongs to.
    pub feature: Option<Rc<str>>,
    /// What this credential may be used for ([`weir_contract::scopes`]); None for everything.
    pub scopes: Option<Rc<str>>,
    /// The tenant's budgets that are not within their first stage, if there are any.
    pub stages: Option<Rc<[BudgetStage]>>,
    /// The tenant's hard budgets, if it has some.
    pub hard_budgets: Option<Rc<[Limit]>>,
    /// Where the tenant is kept apart from others, if it is.
    pub placement: Option<Rc<Placement>>,
}

/// A refusal, and the tenant it is counted for: a valid credential proves its tenant even if the request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Why.
    pub refusal: Refusal,
    /// The tenant that the credential proves; None if it proves no known one.
    pub tenant: Option<TenantId>,
    /// The tenant's plan, where it is the reason.
    pub plan: Option<Box<str>>,
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Denied { refusal, tenant: None, plan: None }
    }
}

impl Sources {
    /// Checks and compiles the configured sources.
    pub fn compile(identity: shape::Identity) -> Result<Self, ConfigError> {
        let mut sources = Sources {
            issuers: Vec::new(),
            keys: Vec::new(),
            trusted: Vec::new(),
            subdomain: identity.subdomain.as_ref().map(Subdomain::compile).transpose()?,
            unknown_tenant: identity.unknown_tenant,
            carriers: Vec::new(),
        };
        if identity.sources.is_empty() && sources.subdomain.is_none() {
            return Err(ConfigError::new("identity.sources", "name at least one source: jwt, api_key or header"));
        }
        for (at, source) in identity.sources.into_iter().enumerate() {
            sources.add(source, &format!("identity.sources[{at}]"))?;
        }
        Ok(sources)
    }

    fn add(&mut self, source: Source, path: &str) -> Result<(), ConfigError> {
        match source {
            Source::Jwt(jwt) => {
                let path = format!("{path}.jwt");
                if self.issuers.iter().any(|other| other.issuer() == jwt.issuer) {
                    return Err(ConfigError::new(format!("{path}.issuer"), "another source has this issuer"));
                }
                self.issuers.push(Issuer::compile(*jwt, &path)?);
                self.carry("authorization".into());
            }
            Source::ApiKey(key) => {
                let header: Rc<str> = key.header.to_ascii_lowercase().into();
                self.keys.push(KeySource { header: header.clone(), prefix: key.prefix.into() });
                self.carry(header);
            }
            Source::Header(header) => self.trusted.push(Trusted::compile(header, &format!("{path}.header"))?),
        }
        Ok(())
    }

    fn carry(&mut self, header: Rc<str>) {
        if !self.carriers.contains(&header) {
            self.carriers.push(header);
        }
    }

    /// Headers that carry credentials or come from a trusted hop; none reaches the upstream.
    pub(crate) fn stripped(&self) -> impl Iterator<Item = &Rc<str>> {
        let trusted = self.trusted.iter();
        let headers =
            trusted.flat_map(|source| [Some(&source.header), source.plan_header.as_ref(), source.user_header.as_ref()]);
        self.carriers.iter().chain(headers.flatten())
    }

    /// Headers of this request that carry a credential of ours, or are only for a trusted hop to send.
    pub fn presented<'a>(&'a self, head: &'a Head<'_>) -> impl Iterator<Item = &'a Rc<str>> {
        self.stripped().filter(|name| {
            let carries = self.carriers.contains(name);
            head.values(name).any(|value| !carries || credential::is_claimed(name, value, self))
        })
    }

    /// Whether the peer of this connection is one that a source of headers names.
    pub(crate) fn believes(&self, ports: Ports) -> bool {
        self.trusted.iter().any(|source| source.believes(ports.property))
    }

    /// Headers that carry credentials.
    pub(crate) fn carriers(&self) -> &[Rc<str>] {
        &self.carriers
    }

    /// The issuers of tokens.
    pub fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    /// Whether subdomains name tenants.
    pub(crate) fn has_subdomain(&self) -> bool {
        self.subdomain.is_some()
    }

    fn unknown(&self) -> Refusal {
        match self.unknown_tenant {
            UnknownTenant::Forbidden => Refusal::UnknownTenant,
            UnknownTenant::NotFound => Refusal::UnknownTenantNotFound,
        }
    }
}

/// What a worker has learned about credentials under one configuration, and what it may still spend on signatures.
#[derive(Debug)]
pub struct IdentityState {
    /// Tokens verified under the configuration.
    pub tokens: TokenCache,
    /// Digests of keys that were good under it.
    pub digests: Digests,
    /// Keys that issuers publish.
    pub keyring: Keyring,
    /// What may be spent on signatures.
    pub budget: Budget,
    /// The gateway's functions for identity; the plugin sets them.
    pub ports: Ports,
}

impl IdentityState {
    /// A state without cached tokens and keys.
    pub fn new(sources: &Sources, keyed: Keyed, now: Timestamp) -> Self {
        IdentityState {
            tokens: TokenCache::new(keyed),
            digests: Digests::new(keyed),
            keyring: Keyring::new(sources.issuers.len(), now),
            budget: Budget::new(now),
            ports: Ports::default(),
        }
    }

    /// Forgets tokens whose key is no longer among the issuers' keys.
    pub(crate) fn forget_gone_keys(&mut self, sources: &Sources) {
        let keyring = &self.keyring;
        self.tokens.keep(|key| {
            let mut all = sources.issuers.iter().enumerate();
            all.any(|(at, issuer)| {
                let fetched = keyring.keys(at).into_iter().flatten();
                issuer.own_keys().iter().chain(fetched).any(|known| Rc::ptr_eq(known, key))
            })
        });
    }
}

/// Where credentials are looked up.
#[derive(Clone, Copy, Debug)]
pub struct CredentialLookup<'a> {
    /// The configured sources of identity.
    pub sources: &'a Sources,
    /// The plans.
    pub plans: &'a Plans,
    /// The tenants in force.
    pub tenants: &'a Directory,
}

/// Identifies a request. Every claimed credential must be valid, and all must name one tenant, which the host must
/// not contradict. `anonymous`: without a credential, the host names the tenant.
pub fn identify(
    state: &mut IdentityState,
    lookup: CredentialLookup<'_>,
    head: &Head<'_>,
    anonymous: bool,
    now: Timestamp,
) -> Result<Identity, Denied> {
    let sources = lookup.sources;
    let mut found: Option<Identity> = None;
    for credential in credential::claimed(head, sources)? {
        let identity = match credential {
            Credential::Key(key) => lookup.by_key(key, &mut state.digests, now)?,
            Credential::Token(token) => lookup.by_token(token, state, now)?,
        };
        found = Some(agree(found, identity)?);
    }
    for source in &sources.trusted {
        if let Some(identity) = lookup.by_header(source, head, state.ports)? {
            found = Some(agree(found, identity)?);
        }
    }
    let label = sources.subdomain.as_ref().and_then(|subdomain| subdomain.label(head.host));
    match (found, label) {
        (Some(identity), Some(label)) if !identity.tenant.as_str().eq_ignore_ascii_case(&label) => {
            Err(Refusal::ConflictingCredentials.into())
        }
        (Some(identity), _) => Ok(identity),
        (None, Some(label)) if anonymous => lookup.by_name(&label, None, Rc::from("subdomain"), None),
        (None, _) => Err(Refusal::MissingCredential.into()),
    }
}

fn agree(found: Option<Identity>, next: Identity) -> Result<Identity, Refusal> {
    match found {
        Some(first) if first.tenant != next.tenant => Err(Refusal::ConflictingCredentials),
        Some(first) => Ok(first),
        None => Ok(next),
    }
}

impl CredentialLookup<'_> {
    fn by_token(&self, token: &str, state: &mut IdentityState, now: Timestamp) -> Result<Identity, Denied> {
        if let Some(known) = state.tokens.get(token, now) {
            let verified = Rc::clone(&known.verified);
            return self.by_claims(&verified.claims);
        }
        let IdentityState { keyring, budget, ports, .. } = state;
        let revoked = self.tenants.revoked();
        let mut context = VerifyContext { keyring, revoked, budget, native: ports.native, now };
        match jwt::verify(token, &self.sources.issuers, &mut context) {
            Ok(verified) => {
                let verified = Rc::new(verified);
                state.tokens.put(token, CachedToken { until: verified.claims.until, verified: Rc::clone(&verified) });
                self.by_claims(&verified.claims)
            }
            // A client that tries again in a second gets either in, or a plain 401.
            Err(Unverified::UnknownKey(issuer)) if self.refetch_keys(issuer, state, now) => {
                Err(Refusal::NotReady.into())
            }
            Err(unverified) => Err(Refusal::from(unverified).into()),
        }
    }

    /// Requests a new key set for a token whose key is unknown; true if one is on its way.
    fn refetch_keys(&self, issuer: usize, state: &mut IdentityState, now: Timestamp) -> bool {
        let remote = self.sources.issuers.get(issuer).and_then(Issuer::remote);
        remote.is_some_and(|remote| state.keyring.want(issuer, remote, now))
    }

    fn by_key(&self, key: &[u8], digests: &mut Digests, now: Timestamp) -> Result<Identity, Denied> {
        let digest = digests.of(key);
        let entry = self.tenants.key(&digest.sha256);
        let entry = entry.ok_or(Refusal::InvalidCredential(Invalid::Unknown))?;
        digests.keep(&digest);
        if entry.expires.is_some_and(|expires| expires <= now) {
            return Err(Refusal::InvalidCredential(Invalid::KeyExpired).into());
        }
        let identity = self.member(entry.member, entry.plan.map(|plan| &**plan), entry.id.into(), None)?;
        let (environment, feature) = (entry.environment.cloned(), entry.feature.cloned());
        Ok(Identity { environment, feature, scopes: entry.scopes.cloned(), ..identity })
    }

    fn by_claims(&self, claims: &jwt::Claims) -> Result<Identity, Denied> {
        self.by_name(&claims.tenant, claims.plan.as_deref(), Rc::clone(&claims.credential_id), claims.user.clone())
    }

    fn by_header(&self, source: &Trusted, head: &Head<'_>, ports: Ports) -> Result<Option<Identity>, Denied> {
        let mut values = head.values(&source.header);
        let Some(value) = values.next() else { return Ok(None) };
        let invalid = Refusal::InvalidCredential(Invalid::Untrusted);
        if values.next().is_some() || !source.believes(ports.property) {
            return Err(invalid.into());
        }
        let text = |name: Option<&Rc<str>>| name.and_then(|name| head.value(name)).map(std::str::from_utf8).transpose();
        let (plan, user) = (text(source.plan_header.as_ref()), text(source.user_header.as_ref()));
        let (Ok(tenant), Ok(plan), Ok(user)) = (std::str::from_utf8(value), plan, user) else {
            return Err(invalid.into());
        };
        let name = format!("header:{}", source.header);
        self.by_name(tenant, plan, name.into(), user.map(Into::into)).map(Some)
    }

    fn by_name(
        &self,
        tenant: &str,
        plan: Option<&str>,
        credential_id: Rc<str>,
        user: Option<Rc<str>>,
    ) -> Result<Identity, Denied> {
        let member = self.tenants.tenant(tenant).ok_or_else(|| self.sources.unknown())?;
        self.member(member, plan, credential_id, user)
    }

    /// A known tenant whose plan the configuration does not have is refused: nobody says what it may do.
    fn member(
        &self,
        member: TenantEntry<'_>,
        plan: Option<&str>,
        credential_id: Rc<str>,
        user: Option<Rc<str>>,
    ) -> Result<Identity, Denied> {
        let Some(tenant) = directory::tenant_id(member.id) else { return Err(self.sources.unknown().into()) };
        if member.state == TenantState::Suspended {
            return Err(Denied { refusal: Refusal::SuspendedTenant, tenant: Some(tenant), plan: None });
        }
        let name = plan.unwrap_or(member.plan);
        let Some(plan) = self.plans.get(name).cloned() else {
            return Err(Denied { refusal: Refusal::UnknownPlan, tenant: Some(tenant), plan: Some(name.into()) });
        };
        Ok(Identity {
            tenant,
            plan,
            credential_id,
            user,
            environment: None,
            feature: None,
            scopes: None,
            stages: member.stages.cloned(),
            hard_budgets: member.hard_budgets.cloned(),
            placement: member.placement.cloned(),
        })
    }
}

#[cfg(test)]
mod key_tests;
