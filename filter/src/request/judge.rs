//! Asks the plan about a request once its body is known, or known to stay unread.
use std::rc::Rc;

use weir_config::Mode;
use weir_config::shape::AskForUsage;
use weir_contract::{Class, Timestamp};

use super::admitted::Admitted;
use super::model_in_path::ModelInPath;
use super::reservation::{Draw, Grants};
use crate::classify::ClassSet;
use crate::enforce::{self, Body, Changes, RequestView};
use crate::identity::Identity;
use crate::limit::{Limit, Limiter, RequestTraits};
use crate::metering::Metering;
use crate::policy::{Policy, Route};
use crate::refusal::Refusal;

impl Admitted {
    /// Asks the plan, then draws from the limits that are left. Returns the changed body, if `bytes` are given and something
    /// in them changes. A refusal gives back what was drawn.
    pub(super) fn judge(
        &mut self,
        body: &Body,
        bytes: Option<&[u8]>,
        limiter: &mut impl Limiter,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        if let Err(refusal) = self.check_references(body) {
            self.give_back(limiter, now);
            return Err(refusal);
        }
        self.learn(body);
        self.enter_stage_by_body(now);
        let (plan, path) = (Rc::clone(&self.identity.plan), Rc::clone(&self.path));
        let model_in_path = self.model_in_path.take();
        let view = RequestView {
            plan: &plan,
            classes: self.classes,
            path: &path,
            body,
            bytes: self.request_bytes,
            path_model: model_in_path.as_ref().map(|path| &path.model),
            path_counts: self.path_counts,
            path_changes: model_in_path.as_ref().is_some_and(ModelInPath::changes),
            draws_tokens: self.draws_tokens_beside(),
        };
        let judged = self.judge_view(&view, limiter, now);
        let changed = match judged {
            Ok(model) if self.policy.mode == Mode::Enforce => self.change(&view, model, bytes),
            Ok(_) => None,
            // Also where weir only observes: what would have been refused would have drawn nothing.
            Err(_) => {
                self.give_back(limiter, now);
                None
            }
        };
        let refusal = judged.err();
        self.model_in_path = model_in_path;
        refusal.map_or(Ok(changed), Err)
    }

    /// The model that replaces the one asked for, if the plan allows the request and its limits have room.
    fn judge_view<'a>(
        &mut self,
        view: &RequestView<'a>,
        limiter: &mut impl Limiter,
        now: Timestamp,
    ) -> Result<Option<&'a str>, Refusal> {
        self.check_scopes_with(view.body)?;
        self.check_bounds(view.body)?;
        self.check_priced(view.body, now)?;
        self.check_stage(now)?;
        let model = enforce::judge(view)?;
        self.check_chosen(model)?;
        if self.may_ask_always() && self.asks(view) == AskForUsage::Always {
            enforce::check_readable_stream(view)?;
        }
        // Where weir observes and the first stage would have refused, nothing more would have been drawn.
        if self.observed.is_none() {
            let first_done = self.reservation.first_done;
            let tokens = enforce::tokens(view, model);
            let budgets = self.budgets.take();
            let adds = |limit: &Limit| budgets.as_ref().is_some_and(|budgets| budgets.adds(limit));
            let drawn =
                self.draw(limiter, |limit| !first_done || limit.needs_body() || adds(limit), model, tokens, now);
            self.budgets = budgets;
            drawn?;
        }
        Ok(model)
    }

    /// Makes the changes that the plan and the reading of usage need; returns the body where it changes.
    fn change(&mut self, view: &RequestView<'_>, model: Option<&str>, bytes: Option<&[u8]>) -> Option<Vec<u8>> {
        self.sent_model = model.map(Into::into);
        self.changes.model = model.is_some();
        let bytes = bytes?;
        let (mut splices, changes) = enforce::changes(view, model);
        let usage = match view.body {
            Body::Read(document) if enforce::can_be_asked_for_usage(view.path, document) => {
                let asked = self.asks(view) != AskForUsage::Never && splices.include_usage(document);
                self.learns = asked && document.is_plain_stream(bytes);
                asked
            }
            _ => false,
        };
        if usage {
            self.response.strip();
        }
        self.changes = Changes { usage, ..changes };
        (!splices.is_empty()).then(|| splices.apply(bytes))
    }

    /// Whether the configuration has requests always asked for their usage, whatever their upstream.
    fn may_ask_always(&self) -> bool {
        let of_route = self.route.as_deref().and_then(|route| route.ask_for_usage);
        of_route.unwrap_or(self.policy.ask_for_usage) == AskForUsage::Always
    }

    /// Whether a stream of such a request is asked for its usage.
    fn asks(&self, view: &RequestView<'_>) -> AskForUsage {
        if self.metering != Metering::Inference || self.is_refuser {
            return AskForUsage::Never;
        }
        let route = self.route.as_deref();
        let model = self.model.as_deref().unwrap_or_default();
        match route.and_then(|route| route.ask_for_usage) {
            Some(ask) => ask,
            None if enforce::refuses_stream_options(route.and_then(|route| route.provider), view.path, model) => {
                AskForUsage::Never
            }
            None => self.policy.ask_for_usage,
        }
    }

    /// Draws from the limits that the head alone decides about.
    pub(super) fn draw_first(&mut self, limiter: &mut impl Limiter, now: Timestamp) -> Result<(), Refusal> {
        self.reservation.first_done = true;
        self.draw(limiter, |limit| !limit.needs_body(), None, 0, now)
    }

    /// Draws from the limits of one stage. `model`: the one that replaces the model asked for. Limits count the model that is
    /// used, since a made-up name must not lead to a bucket of its own.
    fn draw(
        &mut self,
        limiter: &mut impl Limiter,
        of_stage: impl Fn(&Limit) -> bool,
        model: Option<&str>,
        tokens: u64,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let classes = (self.base_class, self.classes);
        let traits = traits(&self.identity, self.route.as_deref(), classes, model.or(self.model.as_deref()));
        let cost = self.cost_max(tokens);
        let draw = Draw { grants: grants(&self.identity, &self.policy), traits, tokens, cost };
        let drawn = self
            .reservation
            .draw(limiter, &draw, &of_stage, now)
            .and_then(|()| self.beside.iter_mut().try_for_each(|beside| beside.draw(limiter, &draw, &of_stage, now)));
        if drawn.is_err() && !self.beside.is_empty() {
            self.give_back(limiter, now);
        }
        drawn
    }

    /// Gives back all that was drawn.
    pub(super) fn give_back(&mut self, limiter: &mut impl Limiter, now: Timestamp) {
        self.reservation.give_back(limiter, self.identity.tenant.as_str(), now);
        self.beside.iter_mut().for_each(|beside| beside.give_back(limiter, now));
    }

    /// The class that the operator gives a request for this model.
    pub(super) fn declared_class(&self, model: Option<&str>) -> Option<Class> {
        let by_rule = || self.policy.class_rules.class(self.class_rules, model, self.request_bytes);
        self.route.as_ref().and_then(|route| route.class).or_else(by_rule)
    }

    /// Takes from a body what is reported and decided by.
    fn learn(&mut self, body: &Body) {
        let Body::Read(document) = body else { return };
        self.input_estimate = Some(document.input_estimate());
        self.model = self.model.take().or_else(|| document.model_name().map(Into::into));
        let route_class = self.route.as_ref().and_then(|route| route.class);
        match self.declared_class(self.model.as_deref()) {
            Some(class) => {
                self.class = class;
                self.metering = self.metering.declared_by(route_class.is_none().then_some(class));
            }
            None if self.class == Class::Other => self.class = document.class().unwrap_or(Class::Other),
            None => {}
        }
        self.classes = self.classes.with(self.class);
        if self.base_class == Class::Other {
            self.classes = document.classes().fold(self.classes, ClassSet::with);
        }
        let counts = self.path_counts || self.classes.any(|class| class != Class::Other);
        if let Some(path) = self.model_in_path.as_ref().filter(|_| counts) {
            self.model = Some(path.model.name.clone());
        }
    }
}

/// What decides which limits cover a request. `classes`: that of the method, and all it may be; `model`: the one that is used.
pub(super) fn traits<'a>(
    identity: &'a Identity,
    route: Option<&'a Route>,
    classes: (Class, ClassSet),
    model: Option<&'a str>,
) -> RequestTraits<'a> {
    RequestTraits {
        class: classes.0,
        classes: classes.1,
        route: route.and_then(|route| route.name.as_deref()),
        key: &identity.credential_id,
        user: identity.user.as_deref(),
        model,
    }
}

/// What the plan of an identified request grants, and who grants leases.
pub(super) fn grants<'a>(identity: &'a Identity, policy: &'a Policy) -> Grants<'a> {
    let (tenant, limits) = (identity.tenant.as_str(), &identity.plan.limits);
    Grants { tenant, limits, center: policy.center.as_ref() }
}
