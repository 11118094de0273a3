//! A plan in the stages of a budget.
//!
//! Each stage is a whole plan, compiled with the configuration: the request path swaps one plan for another and knows no further
//! rule. A tenant without a stage therefore pays nothing. The limits of a staged plan begin with those of its base, in the
//! same order, since a request may change its plan between two draws.
use std::rc::Rc;

use weir_config::plans::stages::{Refuse, StageRules, Stages};
use weir_config::{ConfigError, plans};
use weir_contract::Class;
use weir_contract::stage::Stage;

use super::{LIMITS_MAX, Models, Plan};
use crate::limit::Unit;
use crate::limit::rule::{Limit, compile_bucket};

/// The limit of requests that a stage adds.
const REQUESTS: &str = "budget-requests";
/// The limit of tokens that a stage adds.
const TOKENS: &str = "budget-tokens";

/// The stages of one plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Staged([Option<StagedPlan>; 4]);

/// A plan while a budget is in one stage.
#[derive(Clone, Debug, PartialEq)]
pub struct StagedPlan {
    /// The rules.
    pub plan: Rc<Plan>,
    /// The requests that are refused.
    pub refuses: Option<Refuses>,
}

/// The requests that a stage refuses.
#[derive(Clone, Debug, PartialEq)]
pub struct Refuses {
    /// With which status.
    pub status: RefusalStatus,
    classes: Vec<Class>,
    features: Vec<String>,
    routes: Vec<String>,
}

/// The status of a request that is refused for a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalStatus {
    /// 402
    PaymentRequired,
    /// 429
    TooManyRequests,
}

impl Staged {
    /// Compiles the stages of `base`.
    pub(super) fn compile(base: &Plan, stages: Stages, path: &str) -> Result<Self, ConfigError> {
        if let Some(limit) = base.limits.iter().find(|limit| is_of_stage(limit)) {
            let problem = format!("{} is the name of a stage's own limit: rename that of the plan", limit.name);
            return Err(ConfigError::new(path, problem));
        }
        let rules = [
            (Stage::Warn, stages.warn),
            (Stage::Degrade, stages.degrade),
            (Stage::Contain, stages.contain),
            (Stage::Exceeded, stages.exceeded),
        ];
        let mut before: Option<StagedPlan> = None;
        let mut compiled = Staged::default();
        for ((stage, rules), place) in rules.into_iter().zip(&mut compiled.0) {
            if let Some(rules) = rules {
                before = Some(compile(base, before.as_ref(), rules, &format!("{path}.{stage}"))?);
            }
            place.clone_from(&before);
        }
        Ok(compiled)
    }

    /// The plans of all stages.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.0.iter().flatten().map(|staged| &*staged.plan)
    }

    /// The same, to be changed.
    pub(super) fn plans_mut(&mut self) -> impl Iterator<Item = &mut Rc<Plan>> {
        self.0.iter_mut().flatten().map(|staged| &mut staged.plan)
    }

    /// The plan of a stage; None where the stage changes nothing.
    pub(crate) fn at(&self, stage: Stage) -> Option<&StagedPlan> {
        let place = match stage {
            Stage::Ok => return None,
            Stage::Warn => 0,
            Stage::Degrade => 1,
            Stage::Contain => 2,
            Stage::Exceeded => 3,
        };
        self.0.get(place)?.as_ref()
    }
}

/// Refuses an empty list: it looks as if nothing were refused, and everything would be.
fn named<T>(list: Option<Vec<T>>, path: &str, field: &str) -> Result<Vec<T>, ConfigError> {
    match list {
        Some(list) if list.is_empty() => {
            let right =
                "an empty list names nothing; leave the field out, and without any such field everything is refused";
            Err(ConfigError::new(format!("{path}.refuse.{field}"), right.to_owned()))
        }
        list => Ok(list.unwrap_or_default()),
    }
}

impl Refuses {
    fn compile(refuse: Refuse, path: &str) -> Result<Self, ConfigError> {
        let status = match refuse.status {
            402 => RefusalStatus::PaymentRequired,
            429 => RefusalStatus::TooManyRequests,
            other => {
                let right = format!("{other} is neither 402 nor 429");
                return Err(ConfigError::new(format!("{path}.refuse.status"), right));
            }
        };
        Ok(Refuses {
            status,
            classes: named(refuse.classes, path, "classes")?,
            features: named(refuse.features, path, "features")?,
            routes: named(refuse.routes, path, "routes")?,
        })
    }

    /// Whether it refuses all requests.
    pub(crate) fn is_all(&self) -> bool {
        self.classes.is_empty() && self.features.is_empty() && self.routes.is_empty()
    }

    /// Whether it refuses a class.
    pub(crate) fn has_class(&self, class: Class) -> bool {
        self.classes.contains(&class)
    }

    /// Whether it refuses a feature or a route.
    pub(crate) fn has_label(&self, feature: Option<&str>, route: Option<&str>) -> bool {
        let is = |named: &[String], name: Option<&str>| name.is_some_and(|name| named.iter().any(|one| one == name));
        is(&self.features, feature) || is(&self.routes, route)
    }
}

/// One stage of `base`. `before`: the milder stage, whose rules stay.
fn compile(base: &Plan, before: Option<&StagedPlan>, rules: StageRules, path: &str) -> Result<StagedPlan, ConfigError> {
    let milder = before.map_or(base, |staged| &*staged.plan);
    for (field, value) in [("output_tokens_max", rules.output_tokens_max), ("n_max", rules.n_max)] {
        if value == Some(0) {
            return Err(ConfigError::new(format!("{path}.{field}"), "at least 1; to refuse requests, use `refuse`"));
        }
    }
    let models = rules.models.map(|models| Models::compile(models, &format!("{path}.models"))).transpose()?;
    let refuses = rules.refuse.map(|refuse| Refuses::compile(refuse, path)).transpose()?;
    let mut limits: Vec<Limit> = milder.limits.clone();
    add_limit(&mut limits, (REQUESTS, Unit::Requests, rules.requests), &format!("{path}.requests"))?;
    add_limit(&mut limits, (TOKENS, Unit::Tokens, rules.tokens), &format!("{path}.tokens"))?;
    let plan = Plan {
        name: base.name.clone(),
        limits,
        classes: base.classes.clone(),
        models: models.or_else(|| milder.models.clone()),
        output_tokens_max: least(rules.output_tokens_max, milder.output_tokens_max),
        n_max: least(rules.n_max, milder.n_max),
        request_max_bytes: base.request_max_bytes,
        region: base.region.clone(),
        endpoint: base.endpoint.clone(),
        timeout_ms: base.timeout_ms,
        stream_timeout_ms: base.stream_timeout_ms,
        tier: base.tier.clone(),
        staged: Staged::default(),
        flagged: Vec::new(),
    };
    Ok(StagedPlan {
        plan: Rc::new(plan),
        refuses: refuses.or_else(|| before.and_then(|before| before.refuses.clone())),
    })
}

/// Puts a stage's own limit behind the others, or in the place of a milder stage's.
fn add_limit(
    limits: &mut Vec<Limit>,
    (name, unit, bucket): (&str, Unit, Option<plans::Bucket>),
    path: &str,
) -> Result<(), ConfigError> {
    let Some(bucket) = bucket else { return Ok(()) };
    let limit = Limit::new(name, unit, compile_bucket(bucket.rate, bucket.capacity, path)?);
    if let Some(same) = limits.iter_mut().find(|other| *other.name == *name) {
        *same = limit;
        return Ok(());
    }
    if limits.len() >= LIMITS_MAX {
        let right = format!("with the limits of the stages, a plan has at most {LIMITS_MAX} limits");
        return Err(ConfigError::new(path, right));
    }
    limits.push(limit);
    Ok(())
}

/// Whether a stage has added the limit.
pub(crate) fn is_of_stage(limit: &Limit) -> bool {
    *limit.name == *REQUESTS || *limit.name == *TOKENS
}

/// The smaller of two bounds, where there is one.
fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn plan(shape: serde_json::Value) -> Result<Plan, ConfigError> {
        Plan::compile("p", serde_json::from_value(shape).expect("a shape"))
    }

    #[test]
    fn a_stage_keeps_the_rules_of_the_milder_ones() {
        let plan = plan(json!({"output_tokens_max": 4096, "requests": {"rate": "10/s"}, "stages": {
            "degrade": {"models": {"allow": ["mini"], "otherwise": {"replace": "mini"}}, "output_tokens_max": 512},
            "contain": {"requests": {"rate": "1/s"}, "output_tokens_max": 1024},
            "exceeded": {"refuse": {}},
        }}))
        .expect("a plan");
        assert!(plan.staged.at(Stage::Ok).is_none() && plan.staged.at(Stage::Warn).is_none());
        let contain = plan.staged.at(Stage::Contain).expect("staged");
        assert_eq!(contain.plan.output_tokens_max, Some(512));
        assert!(contain.plan.models.as_ref().is_some_and(|models| !models.allows("large")));
        assert_eq!(contain.plan.limits.iter().map(|limit| &*limit.name).collect::<Vec<_>>(), ["requests", REQUESTS]);
        assert!(contain.refuses.is_none());
        let exceeded = plan.staged.at(Stage::Exceeded).expect("staged");
        assert!(exceeded.refuses.as_ref().is_some_and(Refuses::is_all));
        assert_eq!(exceeded.plan.limits.len(), 2);
    }

    #[test]
    fn a_stage_without_rules_is_that_of_the_milder_one() {
        let plan = plan(json!({"stages": {"degrade": {"n_max": 1}}})).expect("a plan");
        assert_eq!(plan.staged.at(Stage::Exceeded).map(|staged| staged.plan.n_max), Some(Some(1)));
    }

    #[test]
    fn a_name_that_a_stage_uses_is_not_for_a_plans_own_limit() {
        let own = json!({"limits": [{"name": REQUESTS, "count": "requests", "rate": "1/s"}], "stages": {"warn": {}}});
        assert!(plan(own).expect_err("refused").to_string().contains(REQUESTS));
    }

    #[test]
    fn what_a_stage_cannot_be_is_refused_with_its_place() {
        let cases = [
            (json!({"exceeded": {"refuse": {"status": 403}}}), "plans.p.stages.exceeded.refuse.status"),
            (json!({"exceeded": {"refuse": {"features": []}}}), "plans.p.stages.exceeded.refuse.features"),
            (json!({"contain": {"refuse": {"classes": []}}}), "plans.p.stages.contain.refuse.classes"),
            (json!({"degrade": {"output_tokens_max": 0}}), "plans.p.stages.degrade.output_tokens_max"),
            (json!({"degrade": {"models": {"allow": []}}}), "plans.p.stages.degrade.models.allow"),
            (
                json!({"degrade": {"models": {"allow": ["a"], "otherwise": {"replace": "b"}}}}),
                "plans.p.stages.degrade.models.otherwise.replace",
            ),
        ];
        for (stages, place) in cases {
            assert_eq!(plan(json!({"stages": stages})).expect_err("refused").path, place);
        }
    }
}
