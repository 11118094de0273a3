//! Drawing from limits and asking the plan, in two stages: what the head tells, then what the body adds.
use std::rc::Rc;

use weir_contract::{Class, Timestamp, Usage};

use super::path::ModelInPath;
use super::{Admitted, Decided, Edits, Response, request_id};
use crate::body::edit::Splices;
use crate::classify;
use crate::config::plan::{Limit, RequestTraits};
use crate::config::{Mode, Policy, Route};
use crate::enforce::{self, Body, Changes, RequestView};
use crate::head::Head;
use crate::identity::Identity;
use crate::limit::headers::{self, Header};
use crate::limit::{Charge, Limiter, Settlement, Standing, Unit, Verdict};
use crate::refusal::{Api, LocalReply, Refusal};
use crate::worker::Worker;

/// What a request has drawn so far.
#[derive(Debug, Default)]
pub(super) struct Reservation {
    charges: Vec<Charge>,
    pub(super) standings: Vec<Standing>,
    /// The limits that the head alone decides about have been asked.
    first_done: bool,
}

impl Admitted {
    pub(super) fn new(
        policy: &Rc<Policy>,
        identity: Identity,
        route: Option<&Rc<Route>>,
        head: &Head<'_>,
        path_model: Option<ModelInPath>,
        worker: &mut Worker,
        now: Timestamp,
    ) -> Self {
        let class_rules = policy.class_rules.allowed_by(head);
        let route_class = route.and_then(|route| route.class);
        let class = route_class.or_else(|| policy.class_rules.class(class_rules, None, 0));
        let class = class.unwrap_or_else(|| classify::by_path(head.path));
        let named = path_model.as_ref().filter(|_| class != Class::Other).map(|path| path.model.name.clone());
        Admitted {
            policy: Rc::clone(policy),
            identity,
            route: route.cloned(),
            class,
            api: Api::of(head.path),
            path: head.path.into(),
            class_rules,
            model: named,
            path_model,
            sent_model: None,
            changes: Changes::default(),
            observed: None,
            by_browser: head.origin.is_some(),
            awaits_body: false,
            has_length: head.content_length.is_some(),
            reservation: Reservation::default(),
            input_estimate: None,
            request_id: request_id(head, worker).into(),
            labels: policy.labels.read(head),
            started: now,
            request_bytes: 0,
            response: Response::default(),
        }
    }

    /// Draws what the head alone decides about.
    pub(super) fn draw_first(&mut self, limiter: &mut impl Limiter, now: Timestamp) -> Result<(), Refusal> {
        self.reservation.first_done = true;
        self.draw(limiter, |limit| !limit.needs_body(), None, 0, now)
    }

    /// Asks the plan, then the limits that are left. `body`: the bytes, and where to put them when they are changed. A
    /// refusal gives back what was drawn.
    pub(super) fn judge(
        &mut self,
        body: &Body,
        limiter: &mut impl Limiter,
        bytes: Option<(&[u8], &mut Option<Vec<u8>>)>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.learn(body);
        let (policy, plan) = (Rc::clone(&self.policy), Rc::clone(&self.identity.plan));
        let path = Rc::clone(&self.path);
        let in_path = self.path_model.take();
        let (class, bytes_seen) = (self.class, self.request_bytes);
        let path_model = in_path.as_ref().map(|path| &path.model);
        let path_changes = in_path.as_ref().is_some_and(ModelInPath::changes);
        let asked = RequestView { plan: &plan, class, path: &path, body, bytes: bytes_seen, path_model, path_changes };
        let first_done = self.reservation.first_done;
        let judged = enforce::judge(&asked).and_then(|model| {
            // Where weir observes and the first stage would have refused, nothing more would have been drawn.
            if self.observed.is_none() {
                let tokens = enforce::tokens(&asked);
                self.draw(limiter, |limit| !first_done || limit.needs_body(), model, tokens, now)?;
            }
            Ok(model)
        });
        match judged {
            Ok(model) if policy.mode == Mode::Enforce => {
                self.sent_model = model.map(Into::into);
                self.changes.model = model.is_some();
                if let Some((bytes, changed)) = bytes {
                    let (mut splices, changes) = enforce::changes(&asked, model);
                    let usage = self.ask_for_usage(body, &path, &mut splices);
                    self.changes = Changes { usage, ..changes };
                    *changed = (!splices.is_empty()).then(|| splices.apply(bytes));
                }
            }
            Ok(_) => {}
            // Also where weir only observes: what would have been refused would have drawn nothing.
            Err(_) => self.give_back(limiter, now),
        }
        let judged = judged.map(|_| ());
        self.path_model = in_path;
        judged
    }

    /// Gives back all that was drawn.
    pub(super) fn give_back(&mut self, limiter: &mut impl Limiter, now: Timestamp) {
        // What cannot be given back was drawn from a store that fails, which is counted.
        let _counted = limiter.give_back(self.identity.tenant.as_str(), &self.reservation.charges, now);
        self.reservation.charges.clear();
    }

    /// Takes from a body what is reported and decided by.
    fn learn(&mut self, body: &Body) {
        let Body::Read(document) = body else { return };
        self.input_estimate = Some(document.input_estimate());
        self.model = self.model.take().or_else(|| document.model_name().map(Into::into));
        let by_rule = || self.policy.class_rules.class(self.class_rules, self.model.as_deref(), self.request_bytes);
        match self.route.as_ref().and_then(|route| route.class).or_else(by_rule) {
            Some(class) => self.class = class,
            None if self.class == Class::Other => self.class = document.class().unwrap_or(Class::Other),
            None => {}
        }
        if let Some(path) = self.path_model.as_ref().filter(|_| self.class != Class::Other) {
            self.model = Some(path.model.name.clone());
        }
    }

    /// True: a stream is asked for its usage that was not before.
    fn ask_for_usage(&mut self, body: &Body, path: &[u8], splices: &mut Splices) -> bool {
        let Body::Read(document) = body else { return false };
        let asks = self.policy.ask_for_usage && enforce::can_be_asked_for_usage(path, document);
        let asked = asks && splices.include_usage(document);
        if asked {
            self.response.strip();
        }
        asked
    }

    /// `model`: the one that it goes on with, where that is another: limits count what is used, and a made-up name must
    /// not lead to a bucket of its own.
    fn draw(
        &mut self,
        limiter: &mut impl Limiter,
        of_stage: impl Fn(&Limit) -> bool,
        model: Option<&str>,
        tokens: u64,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let plan = Rc::clone(&self.identity.plan);
        if plan.limits.is_empty() {
            return Ok(());
        }
        let traits = RequestTraits {
            class: self.class,
            route: self.route.as_ref().and_then(|route| route.name.as_deref()),
            key: &self.identity.credential_id,
            user: self.identity.user.as_deref(),
            model: model.or(self.model.as_deref()),
        };
        let covered = plan.limits.iter().enumerate().filter(|(_, limit)| of_stage(limit) && limit.covers(&traits));
        let mut asked = Vec::with_capacity(plan.limits.len());
        self.reservation.charges.reserve(plan.limits.len());
        for (at, limit) in covered {
            let charge = charge(at, limit, &traits, tokens);
            // A request that uses no tokens is not held up by a debt of tokens; what it turns out to use is charged at its
            // end.
            let charges = if charge.cost == 0 { &mut self.reservation.charges } else { &mut asked };
            charges.push(charge);
        }
        if asked.is_empty() {
            return Ok(());
        }
        match limiter.take(self.identity.tenant.as_str(), &asked, now) {
            Verdict::Admitted(standings) => {
                let drawn = asked
                    .iter()
                    .zip(&standings)
                    .map(|(charge, standing)| Charge { bucket_id: standing.bucket_id, ..*charge });
                self.reservation.charges.extend(drawn);
                if self.reservation.standings.is_empty() {
                    self.reservation.standings = standings;
                } else {
                    self.reservation.standings.extend(standings);
                }
                Ok(())
            }
            Verdict::Limited(standing) => Err(Refusal::RateLimited(standing)),
            // A limit that cannot be asked must not stop traffic, and the plugin counts it.
            Verdict::Unavailable(_) => Ok(()),
        }
    }

    /// What comes of a refusal in this mode.
    pub(super) fn outcome(&mut self, refusal: Option<Refusal>, otherwise: Decided) -> Decided {
        self.observed = match refusal {
            Some(refusal) if self.policy.mode == Mode::Enforce => return Decided::Refused(refusal),
            refusal => self.observed.or(refusal),
        };
        match (self.observed, otherwise) {
            (_, Decided::Awaited) => Decided::Awaited,
            (Some(refusal), _) => Decided::Observed(refusal),
            (None, otherwise) => otherwise,
        }
    }

    /// Answers a request of this tenant.
    pub(super) fn reply(&self, worker: &mut Worker, refusal: Refusal, now: Timestamp) -> LocalReply {
        let mut reply = refusal.reply(self.api, &self.request_id);
        if let Refusal::RateLimited(standing) = refusal {
            reply.headers.extend(self.limit_headers(&[standing], now));
        }
        if let Some(emitter) = worker.emitter() {
            emitter.refusal(self.policy.events.as_ref(), Some(&self.identity.tenant), refusal.code(), now);
        }
        if self.by_browser { reply.for_browsers() } else { reply }
    }

    pub(super) fn limit_headers(&self, standings: &[Standing], now: Timestamp) -> Vec<Header> {
        headers::headers(self.policy.limit_headers, self.api, &self.identity.plan.limits, standings, now)
    }

    /// Says upstream what the request turned out to be, and how long it may take.
    pub(super) fn route_by(&self, edits: &mut Edits, body: &Body) {
        edits.set.retain(|(name, _)| *name != "x-request-class");
        edits.set.push(("x-request-class", self.class.as_str().into()));
        let model = self.sent_model.as_deref().or(self.model.as_deref());
        if let Some(model) = model.filter(|model| model.bytes().all(weir_contract::tenant::is_id_byte)) {
            edits.set.push(("x-model", model.to_owned().into()));
        }
        if self.policy.mode == Mode::Observe {
            return;
        }
        let in_path = self.path_model.as_ref().zip(self.sent_model.as_deref());
        if let Some(path) = in_path.and_then(|(path, model)| path.with(&self.path, model)) {
            edits.set.push((":path", path.into()));
        }
        let plan = &self.identity.plan;
        let timeout_ms = match (plan.stream_timeout_ms, plan.timeout_ms) {
            (None, None) => None,
            (of_stream, _) if may_stream(&self.path, body) => of_stream,
            (_, whole) => whole,
        };
        if let Some(ms) = timeout_ms {
            edits.set.push(("x-envoy-upstream-rq-timeout-ms", ms.to_string().into()));
        }
    }

    /// Puts right what was reserved.
    pub(super) fn settle(&mut self, limiter: &mut impl Limiter, usage: &Usage, now: Timestamp) {
        let used = usage.input_tokens.unwrap_or(0).saturating_add(usage.output_tokens.unwrap_or(0));
        let of_tokens = self.reservation.charges.iter().filter(|charge| charge.unit == Unit::Tokens);
        let settlements: Vec<_> = of_tokens.map(|reserved| Settlement { reserved: *reserved, used }).collect();
        if !settlements.is_empty() {
            // What cannot be settled stays as it was reserved; the fault is counted.
            let _counted = limiter.settle(self.identity.tenant.as_str(), &settlements, now);
        }
    }
}

fn charge(at: usize, limit: &Limit, traits: &RequestTraits<'_>, tokens: u64) -> Charge {
    let cost = match limit.unit {
        Unit::Requests => 1,
        Unit::Tokens => tokens.min(limit.bucket.capacity()),
    };
    let (bucket_id, shared_bucket_id) = (limit.bucket_id(traits), limit.shared_bucket_id());
    Charge { limit: at, unit: limit.unit, bucket_id, shared_bucket_id, bucket: limit.bucket, cost }
}

/// Whether the answer may be a stream: the body says so or is not known, or the path does.
fn may_stream(path: &[u8], body: &Body) -> bool {
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let by_path = memchr::memmem::find(&last.to_ascii_lowercase(), b"stream").is_some();
    by_path || matches!(body, Body::Unread(_)) || matches!(body, Body::Read(document) if document.stream)
}
