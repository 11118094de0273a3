//! The state that outlives a request: that of one worker VM, and that of one configuration in it.
pub mod fetching;
mod inherit;
pub mod notes;
mod parts;
mod readiness;

use std::rc::Rc;

use weir_config::{ConfigError, Environment, ForRole};
use weir_contract::{SourceId, TenantId, Timestamp};

use crate::directory::Directory;
use crate::directory::poll::{Origin, Poll, Update};
use crate::emit::{Emitter, Finding};
use crate::fetch::{Fetch, Fetched, Target};
use crate::flags::{FlagPolicy, FlagsInForce};
use crate::hash::Keyed;
use crate::head::Head;
use crate::identity::keyring::Renewal;
use crate::identity::{self, CredentialLookup, Denied, Identity, IdentityState};
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::routing::handed::Handed;
use crate::routing::retries::Retries;
use crate::routing::{Habits, OwnAccounts};
use crate::upstream::Upstream;

/// One worker VM: its randomness and its events. A gateway may run several configurations in it.
#[derive(Debug)]
pub struct Worker {
    keyed: Keyed,
    life: [u8; 16],
    emitter: Option<Emitter>,
    requests: u64,
    /// Upstreams that refuse to be asked for usage.
    pub refusers: notes::Refusers,
    /// Warnings that were logged.
    pub told: notes::Told,
    /// Tenants whose plan the configuration does not have.
    pub unplanned: notes::Unplanned,
    /// The models that tenants were served by last.
    pub habits: Habits,
    /// Attempts beyond the first that requests have made lately.
    pub retries: Retries,
    /// Tenants' own keys of requests under way.
    pub handed: Handed,
    /// Tenants' own accounts that have asked for patience.
    pub own_accounts: OwnAccounts,
}

/// One configuration in a worker: its policy, and what was learned under it.
#[derive(Debug)]
pub struct FilterState {
    /// The policy in force.
    pub policy: Rc<Policy>,
    /// What was learned about credentials under it.
    pub identity: IdentityState,
    /// Whether the gateway lets the `:path` of a request change. Kong does not.
    pub sets_path: bool,
    /// Whether the gateway changes and removes every copy of a header. Kong changes the first one, and removes none.
    pub edits_every_copy: bool,
    /// Whether the gateway can hold a request until a call is answered. Kong cannot.
    pub holds_for_calls: bool,
    poll: Option<Poll>,
    /// The feature flags in force; None where nothing asks for them.
    flags: Option<FlagsInForce>,
    troubles: fetching::Troubles,
    keyed: Keyed,
}

/// A configuration that was read, of either role.
#[derive(Debug)]
pub enum Configured {
    /// In front of a gateway's routes.
    Downstream(Box<FilterState>),
    /// In front of a provider.
    Upstream(Rc<Upstream>),
}

/// The outcome of a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchOutcome {
    /// About the tenants.
    Tenants(Update),
    /// About an issuer's keys.
    Keys(Renewal),
    /// About the catalogue of models.
    Catalogue(CatalogueUpdate),
}

/// What became of a catalogue that the directory brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogueUpdate {
    /// This version is in force.
    Taken(Box<str>),
    /// It cannot be used, for this reason: the one before stays in force.
    Refused(String),
}

impl FilterState {
    fn new(policy: Policy, keyed: Keyed, now: Timestamp) -> Self {
        let mut state = FilterState {
            identity: IdentityState::new(&policy.sources, keyed, now),
            sets_path: false,
            edits_every_copy: false,
            holds_for_calls: false,
            poll: policy.origin.as_ref().map(|origin| first_poll(origin, &policy, keyed, now)),
            troubles: fetching::Troubles::default(),
            flags: None,
            keyed,
            policy: Rc::new(policy),
        };
        state.renew_flags();
        state
    }

    /// Puts the flags of the directory in force, beside those of the configuration.
    fn renew_flags(&mut self) {
        let served = self.poll.as_ref().and_then(Poll::flags);
        let with_served = |policy: &FlagPolicy| policy.with_served(served.map(|served| &**served));
        let flags = self.policy.flags.as_ref().map(with_served);
        self.flags = flags.map(|flags| FlagsInForce::new(flags, self.keyed));
    }

    /// The feature flags that are decided for requests of a route, where some are. `route`: what it says itself.
    pub(crate) fn flags(&mut self, route: Option<bool>) -> Option<&mut FlagsInForce> {
        let flags = self.flags.as_mut()?;
        self.policy.flags.as_ref()?.concerns(route).then_some(flags)
    }

    /// The tenants in force; None before the first state of a polled directory, and if it has grown too old.
    pub fn tenants(&self, now: Timestamp) -> Option<&Rc<Directory>> {
        match (&self.poll, &self.policy.origin) {
            (Some(poll), Some(origin)) => poll.tenants(origin, now),
            _ => Some(&self.policy.directory),
        }
    }

    /// The tenants in force, if they came from the server.
    pub(crate) fn fetched_tenants(&self, now: Timestamp) -> Option<&Rc<Directory>> {
        self.tenants(now).filter(|_| self.poll.as_ref().is_some_and(Poll::has_fetched))
    }

    /// How old the last confirmed state of a polled directory is.
    pub fn tenants_age_ms(&self, now: Timestamp) -> Option<u64> {
        self.poll.as_ref().map(|poll| poll.age_ms(now))
    }

    /// Whether a route or a provider uses tenants' own keys, so that this worker has to receive them.
    pub fn needs_keys(&self) -> bool {
        self.policy.routes.with_tenant_key().is_some()
            || self.policy.catalogue().is_some_and(|catalogue| catalogue.uses_own_keys())
    }

    /// The operator's secret from which key pairs are made, where there is one.
    pub fn keys_seed(&self) -> Option<&[u8]> {
        self.policy.origin.as_ref()?.keys_seed().map(str::as_bytes)
    }

    /// Whether the gateway is Kong.
    pub(crate) fn is_kong(&self) -> bool {
        !self.edits_every_copy
    }

    /// Has tenants' own keys sealed to a key pair of these random bytes, which nobody may be able to guess.
    pub fn receive_keys(&mut self, random: [u8; 32]) {
        if let Some(poll) = &mut self.poll {
            poll.receive_keys(random);
        }
    }

    /// What the configuration asks for and this gateway cannot do. To be asked once its abilities are set.
    pub fn unsupported(&self) -> Option<ConfigError> {
        self.cannot_route().or_else(|| self.cannot_seal()).or_else(|| self.cannot_receive_keys())
    }

    fn cannot_route(&self) -> Option<ConfigError> {
        let routing = self.policy.routing.as_ref().filter(|_| self.is_kong())?;
        routing.fault_on_kong().cloned()
    }

    fn cannot_receive_keys(&self) -> Option<ConfigError> {
        let receives = self.poll.as_ref().is_some_and(Poll::receives_keys);
        if receives || !self.needs_keys() {
            return None;
        }
        let (path, who) = match self.policy.routes.with_tenant_key() {
            Some(route) => ("routes", format!("the route {}", route.name.as_deref().unwrap_or("without a name"))),
            None => ("providers", "a provider of the catalogue".to_owned()),
        };
        Some(ConfigError::new(
            path,
            format_args!(
                "{who} uses tenants' own keys, which this gateway cannot receive: it has no randomness that nobody can guess, so they \
                 could not be sealed to it. Give `directory.receive_keys_seed`, or use them in Envoy"
            ),
        ))
    }

    fn cannot_seal(&self) -> Option<ConfigError> {
        let route = self.policy.routes.sealing().filter(|_| !self.sets_path)?;
        let name = route.name.as_deref().unwrap_or("without a name");
        Some(ConfigError::new(
            "routes",
            format_args!(
                "the route {name} seals ids, which this gateway cannot: it changes no path. Seal them in Envoy"
            ),
        ))
    }

    /// Identifies a request; see [`identity::identify`].
    pub fn identify(&mut self, head: &Head<'_>, anonymous: bool, now: Timestamp) -> Result<Identity, Denied> {
        let policy = Rc::clone(&self.policy);
        let tenants = Rc::clone(self.tenants(now).ok_or(Refusal::NotReady)?);
        let lookup = CredentialLookup { sources: &policy.sources, plans: &policy.plans, tenants: &tenants };
        identity::identify(&mut self.identity, lookup, head, anonymous, now)
    }

    /// The next call that is due. Call it until it returns None.
    pub fn next_fetch(&mut self, now: Timestamp) -> Option<Fetch> {
        let policy = Rc::clone(&self.policy);
        let directory = self.poll.as_mut().zip(policy.origin.as_ref());
        directory.and_then(|(poll, origin)| poll.due(origin, now)).or_else(|| {
            let mut issuers = policy.sources.issuers().iter().enumerate();
            issuers.find_map(|(at, issuer)| self.identity.keyring.due(at, issuer.remote()?, now))
        })
    }

    /// Takes in a part of a fetched directory; call it at every tick.
    pub fn step(&mut self, now: Timestamp) -> Option<FetchOutcome> {
        if let Some(update) = self.take_parts() {
            return Some(FetchOutcome::Catalogue(update));
        }
        let policy = Rc::clone(&self.policy);
        let revoked = self.tenants(now).map(|tenants| Rc::clone(tenants.revoked()));
        let update = self.poll.as_mut()?.step(policy.origin.as_ref()?, now)?;
        let same = self.tenants(now).map(|tenants| tenants.revoked()) == revoked.as_ref();
        if matches!(update, Update::Replaced | Update::Changed) && !same {
            self.identity.tokens.clear();
        }
        if matches!(update, Update::Replaced | Update::Changed) && policy.flags.is_some() {
            self.renew_flags();
        }
        Some(FetchOutcome::Tenants(update))
    }

    /// Handles the answer to a call, or its absence.
    pub fn answered(&mut self, target: Target, answer: &Fetched<'_>, now: Timestamp) -> Option<FetchOutcome> {
        let policy = Rc::clone(&self.policy);
        match target {
            Target::Directory => {
                let update = self.poll.as_mut()?.answered(policy.origin.as_ref()?, answer, now);
                Some(FetchOutcome::Tenants(update))
            }
            Target::Keys(issuer) => {
                let remote = policy.sources.issuers().get(issuer)?.remote()?;
                let renewal = self.identity.keyring.answered(issuer, remote, answer, now);
                if renewal == Renewal::Changed {
                    self.identity.forget_gone_keys(&policy.sources);
                }
                Some(FetchOutcome::Keys(renewal))
            }
        }
    }
}

fn first_poll(origin: &Origin, policy: &Policy, keyed: Keyed, now: Timestamp) -> Poll {
    let mut poll = Poll::new(keyed, policy.redaction.looks_for(), now);
    if policy.flags.is_some() {
        poll.ask_flags();
    }
    if let Some(routing) = &policy.routing {
        poll.parts.ask(routing.follows_directory());
    }
    if origin.starts_inline() { poll.starting_with(Rc::clone(&policy.directory)) } else { poll }
}

impl Worker {
    /// A new worker, from 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        let (mut seed, mut life) = ([0; 16], [0; 16]);
        let (first, second) = random.split_at(16);
        seed.copy_from_slice(first);
        life.copy_from_slice(second);
        Worker {
            keyed: Keyed::new(seed),
            life,
            emitter: None,
            requests: 0,
            refusers: notes::Refusers::default(),
            told: notes::Told::default(),
            unplanned: notes::Unplanned::default(),
            habits: Habits::default(),
            retries: Retries::default(),
            handed: Handed::new(Keyed::new(seed)),
            own_accounts: OwnAccounts::new(Keyed::new(seed)),
        }
    }

    /// Reads a configuration. The first one names the gateway in the source of this VM's events.
    pub fn configure(
        &mut self,
        bytes: &[u8],
        environment: &Environment,
        now: Timestamp,
    ) -> Result<FilterState, ConfigError> {
        let policy = Policy::read(bytes, environment, self.keyed)?;
        self.take_up(policy, now)
    }

    fn take_up(&mut self, policy: Policy, now: Timestamp) -> Result<FilterState, ConfigError> {
        if self.emitter.is_none() {
            let source = SourceId::new(&policy.gateway, self.life)
                .map_err(|error| ConfigError { path: "gateway".to_owned(), problem: error.to_string() })?;
            self.emitter = Some(Emitter::new(source, self.keyed.of(&self.life), now));
        }
        if let (Some(emitter), Some(destination)) = (&mut self.emitter, &policy.events) {
            emitter.report_to(destination);
        }
        // Another configuration may name other upstreams, and what was warned about may be mended.
        (self.refusers, self.told, self.unplanned, self.habits) = Default::default();
        Ok(FilterState::new(policy, self.keyed, now))
    }

    /// Reads a configuration of either role.
    pub fn configure_role(
        &mut self,
        bytes: &[u8],
        environment: &Environment,
        now: Timestamp,
    ) -> Result<Configured, ConfigError> {
        match weir_config::parse_for_role(bytes)? {
            ForRole::Upstream(config) => Upstream::compile(&config).map(Rc::new).map(Configured::Upstream),
            ForRole::Downstream(config) => {
                let policy = Policy::compile(*config, environment, self.keyed)?;
                self.take_up(policy, now).map(Box::new).map(Configured::Downstream)
            }
        }
    }

    /// This VM's events; None before the first configuration.
    pub fn emitter(&mut self) -> Option<&mut Emitter> {
        self.emitter.as_mut()
    }

    /// Tells a finding about the borders between tenants.
    pub fn find(&mut self, policy: &Policy, tenant: Option<&TenantId>, finding: &Finding<'_>, now: Timestamp) {
        if let Some(emitter) = &mut self.emitter {
            emitter.finding(policy.events.as_ref(), tenant, finding, now);
        }
    }

    /// A unique, unguessable name for a request that the gateway has given none.
    pub(crate) fn name_request(&mut self) -> String {
        self.requests += 1;
        format!("{:016x}", self.keyed.of(&self.requests.to_le_bytes()))
    }
}

#[cfg(test)]
mod tests;
