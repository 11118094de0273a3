//! The model of the catalogue that serves a request: chosen once the body is known, told to the gateway by the name of a chain, and
//! to the upstream role of the filter by the state of the stream.
mod keys;
mod settle;

use std::rc::Rc;

use weir_config::Mode;
use weir_config::plans::Otherwise;
use weir_contract::placement::Placement;
use weir_contract::stage::Stage;
use weir_contract::{Class, Timestamp};
use weir_llm_translate::Dialect;

use super::admitted::Admitted;
use super::beside::Beside;
use super::chosen::{Probe, Routed};
use super::judge::{grants, traits};
use super::reservation::Draw;
use super::{Edits, ResponseEdits};
use crate::body::Document;
use crate::enforce::{self, Body, OUTPUT_TOKENS_ASSUMED, RequestView};
use crate::head::{Head, Pair, is};
use crate::identity::port::Ports;
use crate::limit::hard::is_current;
use crate::limit::{Limit, Limiter, Unit};
use crate::metering::Metering;
use crate::plan::Plan;
use crate::refusal::Refusal;
use crate::routing::breaker::{self, Account, Standing};
use crate::routing::retries::Retries;
use crate::routing::told::Terms;
use crate::routing::{Asked, CHAIN_HEADER, Catalogue, Choice, Habits, client_dialect};
use crate::shared_operations;
use crate::upstream::{LAST, betas};
use crate::worker::Worker;
use keys::OwnStanding;

/// The header in which the upstream role says who served.
const SERVED: &str = "x-weir-served";

/// The header that tells a client what was chosen.
const ROUTE: &str = "x-weir-route";

/// The header that tells a client that a less good model serves than the one that was chosen.
const DOWNGRADED: &str = "x-weir-downgraded";

/// The header by which Envoy bounds each attempt until the first byte of its answer goes on.
const ATTEMPT_MS: &str = "x-envoy-upstream-rq-per-try-timeout-ms";

impl Admitted {
    /// Chooses the model for a request whose body was read, and puts its name in the place of the one asked for: plan and limits
    /// are about the model that is used.
    pub(super) fn choose_model(
        &mut self,
        body: &mut Body,
        bytes: &[u8],
        worker: &mut Worker,
        limiter: &mut impl Limiter,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some(catalogue) = self.policy.catalogue() else { return Ok(()) };
        let tokens = self.tokens_of_pools(body);
        let (Some(dialect), Body::Read(document)) = (client_dialect(&self.path), body) else { return Ok(()) };
        if document.ambiguous || document.is_form {
            return Ok(());
        }
        let Some(name) = document.model_name().map(str::to_owned) else { return Ok(()) };
        let standing = limiter
            .shared()
            .map_or_else(Standing::default, |mut store| breaker::standing(&mut *store, &catalogue, now));
        let own = self.own_standing(&catalogue, &worker.own_accounts, now);
        let (habits, full) = (&mut worker.habits, Saturated::default());
        let mut choosing = Choosing { catalogue: &catalogue, habits, limiter, standing, full, own, now };
        loop {
            let (choice, probe) = self.choose(&mut choosing, dialect, &name, document, bytes);
            let chosen = match choice {
                Choice::Unasked => return Ok(()),
                Choice::NoneFits(dropped) => {
                    return Err(choosing.full.refusal.unwrap_or_else(|| self.unserved(&catalogue, &dropped, now)));
                }
                Choice::Chosen(chosen) => chosen,
            };
            let Some(first) = chosen.models.first().cloned() else { return Err(Refusal::NoModelFits) };
            match self.draw_from_provider(&mut choosing, &first, tokens) {
                Ok(pool) => self.beside.extend(pool),
                Err(refusal) => {
                    choosing.release(probe.as_ref());
                    choosing.full.with(&first, refusal, &catalogue)?;
                    continue;
                }
            }
            if let Some(model) = &mut document.model {
                model.name = Some((*first).into());
            }
            let (troubled, asked, served) = (standing.troubled, name.into(), None);
            let (class, attempt_ms_max) = (self.class_of(&first), catalogue.attempt_ms_max(&chosen, document.stream));
            let paid = match self.take_keys(&catalogue, &chosen, &mut worker.handed, now) {
                Ok(paid) => paid,
                Err(refusal) => {
                    choosing.release(probe.as_ref());
                    return Err(refusal);
                }
            };
            self.routed = Some(Box::new(Routed {
                asked,
                dialect,
                catalogue,
                chosen,
                class,
                attempt_ms_max,
                under_way: None,
                paid,
                is_downgraded: false,
                troubled,
                probe,
                served,
            }));
            return Ok(());
        }
    }

    /// The tokens that a request reserves of a provider's pool: as many as of its plan's limits.
    fn tokens_of_pools(&self, body: &Body) -> u64 {
        if self.policy.provider_pools.iter().all(Option::is_none) {
            return 0;
        }
        let view = RequestView {
            plan: &self.identity.plan,
            classes: self.classes,
            path: &self.path,
            body,
            bytes: self.request_bytes,
            path_model: None,
            path_counts: self.path_counts,
            path_changes: false,
            draws_tokens: true,
        };
        enforce::tokens(&view, None)
    }

    /// Draws from the pool of the provider that is tried first. A provider that fails over to another draws nothing from that one's.
    fn draw_from_provider(
        &self,
        choosing: &mut Choosing<'_, impl Limiter>,
        model: &str,
        tokens: u64,
    ) -> Result<Option<Beside>, Refusal> {
        let at = choosing.catalogue.provider_at(model);
        let pool = at.and_then(|at| self.policy.provider_pools.get(at)).and_then(Option::as_ref);
        // A tenant's own key has a quota of its own.
        let pays = self.own_key.is_some() || self.pays_for(choosing.catalogue, model, choosing.now);
        let set = pool.filter(|_| !pays).and_then(|pool| pool.set_of(&self.identity.plan));
        let Some(set) = set.filter(|set| !self.beside.iter().any(|beside| beside.is_of(set))) else { return Ok(None) };
        let mut beside = Beside::of_provider(set, self.reservation.may_ask);
        if self.policy.mode == Mode::Enforce {
            let traits = traits(&self.identity, self.route.as_deref(), (self.base_class, self.classes), Some(model));
            let draw = Draw { grants: grants(&self.identity, &self.policy), traits, tokens, cost: 0 };
            beside.draw_now(choosing.limiter, &draw, choosing.now)?;
        }
        Ok(Some(beside))
    }

    /// Chooses under the plan that is in force for the model: a budget of one model may bring another plan with it.
    fn choose(
        &self,
        choosing: &mut Choosing<'_, impl Limiter>,
        dialect: Dialect,
        name: &str,
        document: &Document,
        bytes: &[u8],
    ) -> (Choice, Option<Probe>) {
        let (stage, plan) = self.stage_with(name, choosing.now);
        let mut asked = self.choice_input(dialect, name, document, bytes, (stage, &*plan));
        let mut made = choosing.choose(&mut asked);
        if made.0 == Choice::Unasked
            && let Some(other) = self.replacement(&plan, name)
        {
            asked.model = other;
            made = choosing.choose(&mut asked);
        }
        let Some(first) = made.0.first() else { return made };
        let (stage_of_first, plan_of_first) = self.stage_with(first, choosing.now);
        if Rc::ptr_eq(&plan, &plan_of_first) {
            return made;
        }
        choosing.release(made.1.as_ref());
        let mut asked = self.choice_input(dialect, asked.model, document, bytes, (stage_of_first, &*plan_of_first));
        choosing.choose(&mut asked)
    }

    /// The model that the plan puts in the place of one that it does not allow.
    fn replacement<'p>(&self, plan: &'p Plan, name: &str) -> Option<&'p str> {
        let models = plan.models.as_ref().filter(|models| self.policy.mode == Mode::Enforce && !models.allows(name))?;
        if let Otherwise::Replace(other) = &models.otherwise { Some(other) } else { None }
    }

    fn class_of(&self, model: &str) -> Class {
        self.declared_class(Some(model)).unwrap_or(self.class)
    }

    /// Reads the features that a client of Messages asks for, and the headers of a caller on which rules depend. Those of one that is not
    /// believed are no matter of rules.
    pub(super) fn read_caller(&mut self, head: &Head<'_>, ports: Ports) {
        let Some(catalogue) = self.policy.catalogue() else { return };
        if catalogue.has_clouds {
            self.betas = betas(head.values("anthropic-beta")).into();
        }
        let mut names = catalogue.header_names().filter(|name| head.value(name).is_some()).peekable();
        if names.peek().is_none() || !self.policy.sources.believes(ports) {
            return;
        }
        for name in names {
            let mut values = head.values(name);
            if let (Some(value), None) = (values.next(), values.next())
                && let Ok(value) = std::str::from_utf8(value)
                && !self.caller_headers.iter().any(|(known, _)| **known == *name)
            {
                self.caller_headers.push((name.into(), value.into()));
            }
        }
    }

    fn choice_input<'a>(
        &'a self,
        dialect: Dialect,
        model: &'a str,
        document: &Document,
        body: &'a [u8],
        (stage, plan): (Stage, &'a Plan),
    ) -> Asked<'a> {
        let output_cap = document.output_cap(|_| true).flatten();
        let bound = |tokens: u64| plan.output_tokens_max.map_or(tokens, |max| tokens.min(max));
        Asked {
            dialect,
            model,
            class: self.class_of(model),
            plan,
            stage,
            placement: self.identity.placement.as_deref(),
            headers: &self.caller_headers,
            tenant: self.identity.tenant.as_str(),
            user: self.identity.user.as_deref(),
            input_tokens: document.input_estimate(),
            // Until the directory tells the usual output of a tenant and class: its cap, or an answer's usual length.
            output_tokens: bound(output_cap.unwrap_or(OUTPUT_TOKENS_ASSUMED)),
            output_cap: output_cap.map(bound),
            tools: document.tools,
            images: document.images > 0,
            flags: self.flags.as_ref(),
            translates: !self.writes_model,
            body,
            betas: &self.betas,
            open: 0,
            saturated: 0,
            keyless: 0,
        }
    }

    /// Whether it draws from a budget of cost. What goes up with the tenant's own key costs nothing.
    pub(super) fn counts_cost(&self) -> bool {
        self.own_key.is_none() && self.beside.iter().flat_map(Beside::limits).any(|limit| limit.unit == Unit::Cost)
    }

    /// The most that the request costs with so many tokens at any of its models; 0 where no budget asks.
    pub(super) fn cost_max(&self, tokens: u64) -> u64 {
        let Some(routed) = &self.routed else { return 0 };
        if !self.counts_cost() {
            return 0;
        }
        let input = self.input_estimate.unwrap_or(tokens).min(tokens);
        let models = routed.chosen.models.iter().map(|model| &**model);
        routed.catalogue.cost_max(models, input, tokens.saturating_sub(input))
    }

    /// Refuses a request that a hard budget of cost covers and whose price nobody knows here: none of the catalogue's models
    /// serves it, or the budget is in another currency than their prices.
    pub(super) fn check_priced(&self, body: &Body, now: Timestamp) -> Result<(), Refusal> {
        if self.policy.mode == Mode::Observe || !self.counts_cost() || !self.is_inference(body) {
            return Ok(());
        }
        let traits =
            traits(&self.identity, self.route.as_deref(), (self.base_class, self.classes), self.model.as_deref());
        let is_priced = |limit: &Limit| {
            let currency = limit.term().and_then(|term| term.currency.as_deref()).unwrap_or_default();
            self.routed.as_ref().is_some_and(|routed| routed.catalogue.is_in(currency))
        };
        let is_unknown = |beside: &Beside| {
            let all = beside.limits();
            let binds =
                |limit: &&Limit| limit.unit == Unit::Cost && limit.covers(&traits) && is_current(limit, all, now);
            all.iter().filter(binds).any(|limit| !is_priced(limit))
        };
        if self.beside.iter().any(is_unknown) { Err(Refusal::NoModelFits) } else { Ok(()) }
    }

    /// Whether it asks a model, or brings something to a provider that may.
    fn is_inference(&self, body: &Body) -> bool {
        let brings = || *body != Body::None && shared_operations::takes_references(&self.path);
        self.metering == Metering::Inference || brings()
    }

    /// Refuses a request that only some providers may serve, where none of them was chosen: it would go anywhere. What asks no
    /// model and brings nothing to a provider may.
    pub(super) fn check_bounds(&self, body: &Body) -> Result<(), Refusal> {
        let is_placed = |placement: &Placement| placement.region.is_some() || placement.endpoint.is_some();
        let is_bound = self.identity.plan.is_bound()
            || self.policy.routing.is_some() && self.identity.placement.as_deref().is_some_and(is_placed);
        if !is_bound || self.routed.is_some() {
            return Ok(());
        }
        if self.is_inference(body) { Err(Refusal::NoModelFits) } else { Ok(()) }
    }

    /// Refuses a request for whose chosen model the plan puts another: the upstream role would send the chosen one.
    pub(super) fn check_chosen(&self, replacing: Option<&str>) -> Result<(), Refusal> {
        if self.routed.is_some() && replacing.is_some() { Err(Refusal::ModelNotAllowed) } else { Ok(()) }
    }

    /// Gives back the probe of a request that goes no further.
    pub(super) fn release_probe(&mut self, limiter: &mut impl Limiter, now: Timestamp) {
        let probe = self.routed.as_mut().and_then(|routed| routed.probe.take());
        if let (Some(Probe { provider, account }), Some(mut store)) = (probe, limiter.shared()) {
            breaker::release(&mut *store, &provider, account, now);
        }
    }

    /// Tells the gateway and the upstream role what was chosen.
    pub(super) fn lead(&mut self, retries: &mut Retries, edits: &mut Edits, now: Timestamp) {
        let Some(routed) = self.routed.as_mut().filter(|_| !self.writes_model) else { return };
        routed.under_way = Some(retries.request(now));
        edits.set.push((CHAIN_HEADER, std::mem::take(&mut routed.chosen.chain).into()));
        let Routed { catalogue, chosen, attempt_ms_max, paid, .. } = &**routed;
        edits.set.extend(attempt_ms_max.map(|ms| (ATTEMPT_MS, ms.to_string().into())));
        let keys = paid.as_ref().map(|paid| paid.number);
        let terms = Terms { attempt_ms_max: *attempt_ms_max, retry_budget: catalogue.retry_budget, keys };
        edits.choice = Some(catalogue.told(chosen, routed.dialect, &terms));
    }

    /// Writes the chosen model into the body where no upstream role does it. `changed`: the body so far, where it differs from `bytes`.
    pub(super) fn write_model(&self, bytes: &[u8], changed: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(routed) = self.routed.as_ref().filter(|_| self.writes_model) else { return Ok(changed) };
        let model = routed.chosen.models.first().map(|model| &**model).unwrap_or_default();
        let body = changed.as_deref().unwrap_or(bytes);
        routed.catalogue.rewritten(model, routed.dialect, body).map(Some).ok_or(Refusal::NoModelFits)
    }

    /// Lets the client read, in its own dialect, how a routed request failed: where a stream breaks off, and where the error is one
    /// of the gateway's own or a page of HTML.
    pub(super) fn tell_failures(&mut self, pairs: &[Pair<'_>], ends: bool, edits: &mut ResponseEdits) {
        let Some(client) = self.routed.as_ref().filter(|_| !self.writes_model).map(|routed| routed.dialect) else {
            return;
        };
        self.response.tell_cuts(client);
        edits.shortens |= self.response.is_changed();
        if ends || edits.holds {
            return;
        }
        if let Some(length) = self.response.tell_error(pairs, client) {
            edits.set.push(("content-type", "application/json".to_owned()));
            edits.set.push(("content-length", length.to_string()));
        }
    }

    /// Reads who served, and tells the client as far as the configuration says so.
    pub(super) fn tell_route(&mut self, pairs: &[Pair<'_>], edits: &mut ResponseEdits) {
        let Some(routed) = &mut self.routed else { return };
        let (mut served, mut is_last) = (None, false);
        for (name, value) in pairs {
            if is(name, SERVED) {
                served = served.or_else(|| std::str::from_utf8(value).ok());
            }
            // What the upstream role says to Envoy alone.
            is_last |= is(name, LAST);
        }
        edits.remove.extend(is_last.then_some(LAST));
        let model = served.and_then(|served| served.split(';').nth(1));
        let model = match routed.chosen.models.first() {
            Some(first) if self.writes_model && self.response.status < 400 => Some(&**first),
            _ => model.filter(|_| !self.writes_model),
        };
        routed.served =
            model.filter(|model| routed.chosen.models.iter().any(|chosen| **chosen == **model)).map(Into::into);
        routed.is_downgraded = routed.is_less_good();
        edits.set.extend(routed.is_downgraded.then(|| (DOWNGRADED, "?1".to_owned())));
        if !routed.catalogue.tells_client {
            edits.remove.extend(served.map(|_| SERVED));
            return;
        }
        let chosen = routed.chosen.models.first().map(|model| &**model).unwrap_or_default();
        let reason = routed.chosen.why.as_str();
        edits.set.push((ROUTE, format!("asked={};chosen={chosen};reason={reason}", sendable(&routed.asked))));
    }
}

impl Routed {
    /// Whether the model that served is less good for the request's class than the one that was chosen.
    fn is_less_good(&self) -> bool {
        let quality = |model: &str| self.catalogue.quality_of(model, self.class).unwrap_or(0);
        let first = self.chosen.models.first().map_or(0, |model| quality(model));
        self.served.as_deref().is_some_and(|served| quality(served) < first)
    }
}

/// What choices of one request have in common.
struct Choosing<'c, L> {
    catalogue: &'c Catalogue,
    habits: &'c mut Habits,
    limiter: &'c mut L,
    standing: Standing,
    full: Saturated,
    own: OwnStanding,
    now: Timestamp,
}

/// Providers whose pools were found saturated.
#[derive(Debug, Default)]
struct Saturated {
    /// A bit each.
    bits: u32,
    /// The refusal with the shortest wait.
    refusal: Option<Refusal>,
}

impl Saturated {
    /// Adds the provider of a model. Any other refusal than that of a pool is none of these.
    fn with(&mut self, model: &str, refusal: Refusal, catalogue: &Catalogue) -> Result<(), Refusal> {
        let bit = catalogue.provider_of(model).map_or(0, |(bit, _)| bit & !self.bits);
        let wait_ms =
            |refusal: Refusal| if let Refusal::PoolSaturated(found) = refusal { Some(found.wait_ms) } else { None };
        // One bit more each time, so that choosing ends.
        let Some(wait) = wait_ms(refusal).filter(|_| bit != 0) else { return Err(refusal) };
        self.bits |= bit;
        if self.refusal.and_then(wait_ms).is_none_or(|shortest| wait < shortest) {
            self.refusal = Some(refusal);
        }
        Ok(())
    }
}

impl<L: Limiter> Choosing<'_, L> {
    /// Chooses; where the first provider is due for a probe it is claimed, and where another request has it, chooses without
    /// that provider.
    fn choose(&mut self, asked: &mut Asked<'_>) -> (Choice, Option<Probe>) {
        let OwnStanding { keyless, own, waiting } = self.own;
        asked.open = self.standing.open_for(own) | waiting;
        (asked.saturated, asked.keyless) = (self.full.bits, keyless);
        let due = self.standing.due_for(own);
        loop {
            let choice = self.catalogue.choose(asked, self.habits);
            let first = choice.first().and_then(|model| self.catalogue.provider_of(model));
            let Some((bit, provider)) = first.filter(|(bit, _)| due & !asked.open & bit != 0) else {
                return (choice, None);
            };
            let account = if own & bit == 0 { Account::House } else { Account::Tenant };
            let store = self.limiter.shared();
            if store.is_none_or(|mut store| breaker::claim(&mut *store, &provider, account, self.now)) {
                return (choice, Some(Probe { provider, account }));
            }
            // One bit more each time, so that it ends.
            asked.open |= bit;
        }
    }

    fn release(&mut self, probe: Option<&Probe>) {
        if let (Some(Probe { provider, account }), Some(mut store)) = (probe, self.limiter.shared()) {
            breaker::release(&mut *store, provider, *account, self.now);
        }
    }
}

/// A name as a header may have it.
fn sendable(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_graphic() && letter != ';' { letter } else { '_' }).collect()
}

#[cfg(test)]
pub(super) mod tests;
