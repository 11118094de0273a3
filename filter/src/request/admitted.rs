//! What is remembered of an identified request between its phases.
use std::borrow::Cow;
use std::rc::Rc;

use weir_config::Mode;
use weir_config::shape::OnAnswers;
use weir_config::shared::Shared;
use weir_contract::tenant::is_id_byte;
use weir_contract::{Class, SecurityKind, Timestamp};
use weir_llm_usage::Provider;
use weir_llm_usage::bytes::any;
use weir_sealed_ids::Dialect;

use super::beside::Beside;
use super::budgets::Budgets;
use super::chosen::Routed;
use super::held::{AnswerAction, Held, Kept};
use super::keeper::{self, Keeper, SealedIds};
use super::model_in_path::ModelInPath;
use super::paid::KnownKeys;
use super::redaction::{self, Redaction};
use super::reservation::Reservation;
use super::response::{ReadAs, Response};
use super::{Decided, ResponseEdits};
use crate::api::Api;
use crate::body::weigh::Weigher;
use crate::body::{Document, form};
use crate::classify::{self, ClassSet};
use crate::emit::Finding;
use crate::emit::labels::RequestLabels;
use crate::enforce::{Body, Changes};
use crate::flags::RequestFlags;
use crate::head::{Head, Pair};
use crate::identity::Identity;
use crate::limit::headers::{self, Header};
use crate::limit::{Standing, Unit};
use crate::metering::{self, Metering};
use crate::policy::{Policy, Route};
use crate::refusal::{LocalReply, Refusal, Unread};
use crate::shared_operations;
use crate::vault::rule::OwnKeyRule;
use crate::worker::Worker;

/// The shared resources that a body can name. An unreadable body may name any of them.
const REFERRED: [Shared; 4] = [Shared::Assistants, Shared::Files, Shared::StoredResponses, Shared::VectorStores];

/// The longest request id that is taken over from the gateway, in bytes.
const REQUEST_ID_MAX_BYTES: usize = 128;

/// An identified request.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) policy: Rc<Policy>,
    pub(super) identity: Identity,
    /// Its feature flags; None where nothing asks for them.
    pub(super) flags: Option<RequestFlags>,
    /// The budgets of its tenant that are past their first threshold; None where all have room.
    pub(super) budgets: Option<Budgets>,
    pub(super) route: Option<Rc<Route>>,
    /// The class that is reported: what a rule says, else the path, else the body.
    pub(super) class: Class,
    /// The class of its path, or the one that the operator gives it. No header and no body changes it.
    pub(super) base_class: Class,
    /// The operator gives it, by a route or by a rule about the path.
    pub(super) class_is_named: bool,
    /// Every class that it may be taken for.
    pub(super) classes: ClassSet,
    /// The model in its path counts whatever its class.
    pub(super) path_counts: bool,
    pub(super) api: Api,
    pub(super) path: Rc<[u8]>,
    /// The class rules that its head allows, a bit each.
    pub(super) class_rules: u64,
    /// The model that the path names.
    pub(super) model_in_path: Option<ModelInPath>,
    /// The model that was asked for.
    pub(super) model: Option<Box<str>>,
    /// The model that replaces it.
    pub(super) sent_model: Option<Box<str>>,
    /// The name by which the provider that served bills the model, where its answer says another.
    pub(super) billed_model: Option<Box<str>>,
    /// What its plan has changed in it.
    pub(super) changes: Changes,
    /// What it would have been refused for, where weir observes.
    pub(super) observed: Option<Refusal>,
    /// A browser sent it, which shows the page only what it is allowed to.
    by_browser: bool,
    /// It waits for its body.
    pub(super) awaits_body: bool,
    /// Its answer may come encoded, since nothing in its head said that a model answers.
    pub(super) may_be_encoded: bool,
    /// The boundary of the form that its body is, if it is one.
    pub(super) boundary: Option<Box<[u8]>>,
    /// It came with a `content-length`, which an edit must change.
    pub(super) has_length: bool,
    pub(super) reservation: Reservation,
    /// What it draws beside its plan's limits.
    pub(super) beside: Vec<Beside>,
    /// What was decided, while weir serve is asked for the units that leases lack.
    pub(super) undecided: Option<Decided>,
    /// The tokens that its body is estimated to be; None where the body was not read.
    pub(super) input_estimate: Option<u64>,
    /// Weighs its body as it passes by, where it is not read.
    pub(super) weigher: Option<Box<Weigher>>,
    /// What is done with its answer.
    pub(super) metering: Metering,
    /// Its upstream is known to refuse requests that ask for usage.
    pub(super) is_refuser: bool,
    /// It was asked for its usage in a way that lets the upstream's refusal be believed.
    pub(super) learns: bool,
    pub(super) request_id: Box<str>,
    pub(super) labels: RequestLabels,
    pub(super) started: Timestamp,
    pub(super) request_bytes: u64,
    pub(super) response: Response,
    /// What its route keeps apart; None where that is nothing.
    pub(super) sealed: Option<Box<SealedIds>>,
    /// Judges its answer while it is held; None where the answer streams by.
    pub(super) keeper: Option<Box<Keeper>>,
    /// What its answer is searched for, where its route asks for that.
    pub(super) redacts: Option<redaction::Wanted>,
    /// The search through its answer.
    pub(super) redaction: Option<Box<Redaction>>,
    /// Its answer, while it is held.
    pub(super) held: Option<Box<Held>>,
    /// It goes up with its tenant's own key.
    pub(super) own_key: Option<Rc<OwnKeyRule>>,
    /// The provider has refused that key.
    pub(super) own_key_refused: bool,
    /// The gateway sends an answer's head on before its body is known, so that its status stays (Kong).
    pub(super) head_goes_first: bool,
    /// The headers of a caller that is believed, as far as the choice of a model depends on them.
    pub(super) caller_headers: Vec<(Box<str>, Box<str>)>,
    /// What is known of its tenant's own keys, where a provider of the catalogue takes them.
    pub(super) known_keys: Option<Box<KnownKeys>>,
    /// What it says in `anthropic-beta`, with commas, where a provider of the catalogue depends on it.
    pub(super) betas: Box<str>,
    /// The gateway has no upstream role, so that the chosen model's name is written into the body here (Kong).
    pub(super) writes_model: bool,
    /// The model that was chosen for it; None where its own goes on.
    pub(super) routed: Option<Box<Routed>>,
    /// The provider that served, where a model of the catalogue did.
    pub(super) served_by: Option<Provider>,
}

impl Admitted {
    pub(super) fn new(
        policy: &Rc<Policy>,
        identity: Identity,
        route: Option<&Rc<Route>>,
        head: &Head<'_>,
        model_in_path: Option<ModelInPath>,
        worker: &mut Worker,
        now: Timestamp,
    ) -> Self {
        let class_rules = policy.class_rules.allowed_by(head);
        let route_class = route.and_then(|route| route.class);
        let named_class = route_class.or_else(|| policy.class_rules.by_path_alone(class_rules));
        let base_class = named_class.unwrap_or_else(|| classify::by_path(head.path));
        let ruled = route_class.or_else(|| policy.class_rules.class(class_rules, None, 0));
        let metering =
            metering::of(head.method, head.path, route.map(|route| &**route), ruled.filter(|_| route_class.is_none()));
        let class = ruled.unwrap_or(base_class);
        let reads = matches!(head.method, b"GET" | b"HEAD");
        let path_counts = !reads && model_in_path.is_some() && shared_operations::is_providers(head.path);
        let classes = ClassSet::of(base_class).with(class);
        let counts = path_counts || classes.any(|class| class != Class::Other);
        let named = model_in_path.as_ref().filter(|_| counts).map(|path| path.model.name.clone());
        Admitted {
            policy: Rc::clone(policy),
            flags: None,
            budgets: Budgets::of(&identity, &policy.labels),
            beside: Beside::of(route.map(|route| &**route), &identity, policy.center.as_ref()),
            identity,
            route: route.cloned(),
            class,
            base_class,
            class_is_named: named_class.is_some(),
            classes,
            path_counts,
            api: keeper::api(route.map(|route| &**route), head.path),
            path: head.path.into(),
            class_rules,
            model: named,
            model_in_path,
            sent_model: None,
            billed_model: None,
            changes: Changes::default(),
            observed: None,
            by_browser: head.origin.is_some(),
            awaits_body: false,
            may_be_encoded: head.accepts_encoding && !classes.any(|class| class != Class::Other),
            boundary: head.content_type.and_then(form::boundary).map(Into::into),
            has_length: head.content_length.is_some(),
            reservation: Reservation::default(),
            undecided: None,
            input_estimate: None,
            weigher: None,
            metering,
            is_refuser: false,
            learns: false,
            request_id: request_id(head, worker).into(),
            labels: policy.labels.read(head),
            started: now,
            request_bytes: 0,
            redacts: None,
            redaction: None,
            response: Response::default(),
            sealed: None,
            keeper: None,
            held: None,
            own_key: None,
            own_key_refused: false,
            head_goes_first: false,
            caller_headers: Vec::new(),
            known_keys: None,
            betas: Box::default(),
            writes_model: false,
            routed: None,
            served_by: None,
        }
    }

    /// Refuses a body that names shared resources of the provider, as the same name in a path would be refused. Also
    /// refuses an unreadable body of a provider's chat.
    pub(super) fn check_references(&self, body: &Body) -> Result<(), Refusal> {
        let takes = || shared_operations::takes_references(&self.path);
        match body {
            Body::Read(document) if !self.permits_names(document) && takes() => Err(Refusal::Operation),
            Body::Unread(unread @ (Unread::Encoded | Unread::NotJson))
                if self.base_class == Class::Chat
                    && takes()
                    && !REFERRED.iter().all(|shared| self.permits(*shared)) =>
            {
                Err(Refusal::UnreadableBody(*unread))
            }
            _ => Ok(()),
        }
    }

    /// Whether its route permits all that a body names. Where it seals, that is what sealing covers: no id of anybody else's opens.
    pub(super) fn permits_names(&self, document: &Document) -> bool {
        let seals = |shared: Shared| self.sealed.as_ref().is_some_and(|sealed| sealed.guard.sealed.has(shared));
        let has_address = document.has_address
            && seals(Shared::Files)
            && self.sealed.as_ref().is_some_and(|sealed| sealed.guard.dialect != Dialect::Gemini);
        document.refers.iter().all(|shared| self.permits(*shared))
            && !has_address
            && !document.unsealed.iter().any(|shared| seals(*shared))
    }

    /// Whether names of what tenants share are looked for in its body, since its route does not permit all that a body can name.
    pub(super) fn looks_for_names(&self) -> bool {
        self.sealed.is_none()
            && shared_operations::takes_references(&self.path)
            && !REFERRED.iter().all(|shared| self.permits(*shared))
    }

    /// Whether tokens are drawn beside the plan's limits, so that the body matters.
    pub(super) fn draws_tokens_beside(&self) -> bool {
        self.beside.iter().flat_map(Beside::limits).any(|limit| limit.unit != Unit::Requests)
    }

    /// Whether its route permits what touches this of what tenants share at the provider.
    pub(super) fn permits(&self, shared: Shared) -> bool {
        self.route.as_ref().is_some_and(|route| route.permit.contains(&shared))
    }

    /// What becomes of a refusal in this mode: enforced, or noted and let through. What tenants share is no matter of plans, and
    /// observing lets nobody reach it.
    pub(super) fn outcome(&mut self, refusal: Option<Refusal>, otherwise: Decided) -> Decided {
        let enforces = self.policy.mode == Mode::Enforce;
        self.observed = match refusal {
            Some(refusal) if enforces || refusal.is_of_borders() => return Decided::Refused(refusal),
            refusal => self.observed.or(refusal),
        };
        match (self.observed, otherwise) {
            (_, Decided::Awaited) => Decided::Awaited,
            (Some(refusal), _) => Decided::Observed(refusal),
            (None, otherwise) => otherwise,
        }
    }

    /// Answers the request with a refusal, and counts it for its tenant.
    pub(super) fn reply(&self, worker: &mut Worker, refusal: Refusal, now: Timestamp) -> LocalReply {
        let mut reply = refusal.reply(self.api, &self.request_id);
        if let Refusal::RateLimited(standing) | Refusal::LimitUnreachable(standing) = refusal {
            reply.headers.extend(self.limit_headers(&[standing], now));
        }
        reply.headers.extend(self.budget_header(now));
        if let Some(emitter) = worker.emitter() {
            emitter.refusal(self.policy.events.as_ref(), Some(&self.identity.tenant), refusal.code(), now);
        }
        if let Some(kind) = refusal.finding() {
            self.find(worker, kind, &self.refused_operation(refusal), 1, &[], now);
        }
        if self.by_browser { reply.for_browsers() } else { reply }
    }

    /// The name of what was refused, for a finding: the operation of a store or on what a provider keeps, else the request's class.
    fn refused_operation(&self, refusal: Refusal) -> Cow<'static, str> {
        if let Some(operation) = self.guarded_operation() {
            return operation.into();
        }
        match self.sealed.as_ref().map(|sealed| sealed.operation) {
            Some(Some(operation)) => operation.name().into(),
            Some(None) if self.class != Class::Other => self.class.as_str().into(),
            _ => refusal.code().into(),
        }
    }

    /// Tells a finding about the borders between tenants. `operation` is weir's own name of it.
    pub(super) fn find(
        &self,
        worker: &mut Worker,
        kind: SecurityKind,
        operation: &str,
        count: u64,
        owners: &[String],
        now: Timestamp,
    ) {
        let route = self.route.as_deref().and_then(|route| route.name.as_deref());
        let finding = Finding { kind, operation, route, count, owners, request_id: &self.request_id };
        worker.find(&self.policy, Some(&self.identity.tenant), &finding, now);
    }

    /// Reads the answer's head, and says how the limits stand where the configuration asks for it.
    pub(super) fn response_head(
        &mut self,
        pairs: &[Pair<'_>],
        ends: bool,
        now: impl FnOnce() -> Timestamp,
    ) -> ResponseEdits {
        let route = self.route.as_deref();
        let read_as = ReadAs {
            metering: self.metering,
            provider: route.and_then(|route| route.provider),
            input_includes_cache: route.is_some_and(|route| route.input_includes_cache),
        };
        self.response.head(pairs, ends, read_as);
        self.note_payer(pairs);
        let is_hidden = self.hide_refusal_of_own_key();
        let standings = &self.reservation.standings;
        let on_all = self.policy.limit_headers.on == OnAnswers::All && self.policy.mode == Mode::Enforce;
        let on_all = on_all && !(standings.is_empty() && self.beside.is_empty());
        let mut set = Vec::new();
        let tells_budgets = self.policy.limit_headers.budget && self.budgets.is_some();
        if on_all || tells_budgets {
            let now = now();
            if on_all {
                set = self.limit_headers(standings, now);
            }
            set.extend(self.budget_header(now));
        }
        if is_hidden && ends && !self.head_goes_first {
            set.push((":status", self.response.status.to_string()));
        }
        let holds = !ends && self.keeper.as_ref().is_some_and(|keeper| keeper.holds(self.response.status));
        self.held = holds.then(|| Box::new(Held::new(self.response.status, pairs)));
        if !holds
            && !ends
            && let Some(answer) = self.seal_answer(pairs)
        {
            self.response.seal(answer);
        }
        if !ends {
            self.begin_redaction(pairs);
        }
        let shortens =
            self.response.is_changed() || self.redaction.as_ref().is_some_and(|redaction| redaction.streams());
        let mut edits = ResponseEdits { set, shortens, holds: self.held.is_some(), ..ResponseEdits::default() };
        self.tell_failures(pairs, ends, &mut edits);
        self.tell_route(pairs, &mut edits);
        edits
    }

    fn begin_redaction(&mut self, pairs: &[Pair<'_>]) {
        let Some(wanted) = &self.redacts else { return };
        let own = self.identity.tenant.as_str();
        let (redaction, held) = redaction::begin(wanted, own, self.response.status, pairs);
        self.redaction = redaction.map(Box::new);
        self.held = self.held.take().or(held.map(Box::new));
    }

    /// Reads a chunk of an answer that streams by. Returns what the client gets instead of it, where that differs.
    pub(super) fn response_body(
        &mut self,
        chunk: &[u8],
        ends: bool,
        now: impl FnOnce() -> Timestamp,
    ) -> Option<Vec<u8>> {
        let changed = self.response.body(chunk, ends, now);
        let Some(redaction) = &mut self.redaction else { return changed };
        // Kong never says that a body of known length ends.
        let ends = ends || self.response.is_whole();
        redaction.stream(changed.as_deref().unwrap_or(chunk), ends).or(changed)
    }

    /// Ends an answer that streams by where trailers come behind it. Returns what is left of it.
    pub(super) fn end_response_body(&mut self, now: impl FnOnce() -> Timestamp) -> Option<Vec<u8>> {
        if self.held.is_some() || self.response.is_whole() {
            return None;
        }
        self.response_body(b"", true, now).filter(|rest| !rest.is_empty())
    }

    /// Whether a part of an answer that streams by waits for what follows.
    pub(super) fn holds_back(&self) -> bool {
        self.held.is_none() && self.redaction.as_ref().is_some_and(|redaction| redaction.holds_back())
    }

    /// Withholds the rest of an answer that streams by, where it is searched for what is other tenants'.
    pub(super) fn withhold_answer(&mut self) -> bool {
        let Some(redaction) = &mut self.redaction else { return false };
        redaction.withhold();
        true
    }

    /// Takes the identifiers of others out of a held answer that may go on.
    fn redact(&mut self, mut action: AnswerAction, body: Option<&[u8]>) -> AnswerAction {
        let Some(redaction) = &mut self.redaction else { return action };
        match action.kept {
            Some(Kept::Same | Kept::Changed | Kept::Replaced) => {
                let goes_on = action.body.as_deref().or(body).unwrap_or_default();
                if let Some(changed) = redaction.document(goes_on) {
                    action.body = Some(changed);
                    action.kept = action.kept.map(|kept| if kept == Kept::Same { Kept::Changed } else { kept });
                }
            }
            Some(Kept::Refused) => redaction.withhold(),
            None => {}
        }
        action
    }

    /// Decides about an answer that the gateway has held whole; None: it did not show the body.
    pub(super) fn answer(&mut self, body: Option<&[u8]>, now: impl FnOnce() -> Timestamp) -> Option<AnswerAction> {
        let held = self.held.as_mut()?;
        // What is held for its identifiers alone may have ids that are sealed.
        let sealed = self.response.body(body.unwrap_or_default(), true, now).filter(|_| body.is_some());
        let body = sealed.as_deref().or(body);
        let action = held.settle(self.keeper.as_deref_mut(), body, &self.request_id);
        let mut action = self.redact(action, body);
        if action.kept == Some(Kept::Same) && sealed.is_some() {
            (action.body, action.kept) = (sealed, Some(Kept::Changed));
        }
        Some(action)
    }

    /// Takes a chunk of a held answer from a gateway that shows no more at a time.
    pub(super) fn answer_chunk(
        &mut self,
        chunk: &[u8],
        ends: bool,
        now: impl FnOnce() -> Timestamp,
    ) -> Option<(Vec<u8>, Option<Kept>)> {
        let held = self.held.as_mut()?;
        self.response.body(chunk, ends, now);
        // Kong never says that a body of known length ends.
        let (keeper, ends) = (self.keeper.as_deref_mut(), self.response.is_whole());
        let (bytes, kept) = held.gather(keeper, chunk, ends, &self.request_id);
        if kept.is_none() {
            return Some((bytes, None));
        }
        let action = self.redact(AnswerAction { status: None, body: None, location: None, kept }, Some(&bytes));
        Some((action.body.unwrap_or(bytes), action.kept))
    }

    /// The headers about these standings of the plan's limits, and about the hard budgets that were drawn on.
    fn limit_headers(&self, standings: &[Standing], now: Timestamp) -> Vec<Header> {
        let limits = &self.identity.plan.limits;
        let known = standings.iter().filter_map(|standing| Some((limits.get(standing.limit)?, *standing)));
        let known: Vec<_> = known.chain(self.beside.iter().flat_map(|beside| beside.told(now))).collect();
        headers::headers(self.policy.limit_headers, self.api, &known, now)
    }
}

/// The gateway's id of the request where it can be shown, else a new one.
pub(super) fn request_id(head: &Head<'_>, worker: &mut Worker) -> String {
    let given = head.request_id.filter(|id| !id.is_empty() && id.len() <= REQUEST_ID_MAX_BYTES);
    let given = given.filter(|id| !any(id, |byte| !is_id_byte(byte)));
    match given.and_then(|id| std::str::from_utf8(id).ok()) {
        Some(id) => id.to_owned(),
        None => worker.name_request(),
    }
}
