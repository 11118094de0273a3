//! The stages of budgets, as the directory tells a gateway.
//!
//! The ledger evaluates budgets as it counts events. A tenant of the directory carries one [`BudgetStage`] for each of its
//! budgets that is not [`Stage::Ok`]; a tenant with none is within all of them. The plan says what a stage does
//! (`plans.NAME.stages` of the filter's configuration).
//!
//! # Constraints
//!
//! - A stage ends with its period. A gateway ignores a stage from [`BudgetStage::ends`] on, whether or not it has reached the
//!   server since.
//! - `used_permille` is the share at the transition into the stage. It does not follow each request: a directory that changed
//!   with each request would be sent to every gateway each time.
//! - A tenant carries at most [`STAGES_MAX`], the most severe first, and at most [`FURTHER_STAGES_MAX`] of groups of keys and of end
//!   users ([`Scope::is_further`]), which stand apart: gateways of an earlier version do not read their scopes.
//! - A gateway of an earlier version refuses a page with a field that it does not know. So a gateway that reads stages says
//!   so in a header ([`KNOWS_HEADER`], [`KNOWS_STAGES`]), and a server leaves the field out for any other.
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::class::Class;
use crate::glob;
use crate::time::Timestamp;

/// The most stages that one tenant carries. Budgets beyond it that are less severe are not told.
pub const STAGES_MAX: usize = 16;
/// The most stages of groups of keys and of end users that one tenant carries. Less severe ones beyond it are not told.
pub const FURTHER_STAGES_MAX: usize = 128;
/// The most keys of a group.
pub const GROUP_KEYS_MAX: usize = 16;
/// The longest name of a budget, in bytes: it stands in answers' headers and in events.
pub(crate) const BUDGET_NAME_MAX_BYTES: usize = 40;
/// The longest value of a scope, in bytes.
pub const SCOPE_MAX_BYTES: usize = 128;
/// The header in which a gateway lists the additions to the directory that it reads, separated by commas.
pub const KNOWS_HEADER: &str = "x-weir-knows";
/// The word in [`KNOWS_HEADER`] that asks for stages.
pub const KNOWS_STAGES: &str = "stages";

/// The word in [`KNOWS_HEADER`] that asks for stages of groups of keys and of end users.
pub const KNOWS_FURTHER_STAGES: &str = "further_stages";

/// How far a budget is used, in order of severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// There is room.
    #[default]
    Ok,
    /// People are told.
    Warn,
    /// Cheaper models serve.
    Degrade,
    /// The remaining room is kept for what matters.
    Contain,
    /// Used up.
    Exceeded,
}

impl Stage {
    /// Every stage, from the mildest to the most severe.
    pub const ALL: [Stage; 5] = [Stage::Ok, Stage::Warn, Stage::Degrade, Stage::Contain, Stage::Exceeded];

    /// The name in configuration, headers and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Ok => "ok",
            Stage::Warn => "warn",
            Stage::Degrade => "degrade",
            Stage::Contain => "contain",
            Stage::Exceeded => "exceeded",
        }
    }

    /// The stage of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Stage::ALL.into_iter().find(|stage| stage.as_str() == name)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The requests of a tenant that a budget covers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All of them.
    #[default]
    Tenant,
    /// Those of a product feature. A feature that a header names is the client's own choice: it can be evaded.
    Feature(Box<str>),
    /// Those of a named route.
    Route(Box<str>),
    /// Those of a class.
    Class(Class),
    /// Those that ask for a model; `*` stands for any text.
    Model(Box<str>),
    /// Those with a key or token issuer of this name.
    Key(Box<str>),
    /// Those with one of these keys or token issuers.
    Keys(Vec<Box<str>>),
    /// Those of an end user, by the name that events give it. Who can name another user at each request evades it.
    User(Box<str>),
}

/// The traits of a request that scopes look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits<'a> {
    /// The product feature.
    pub feature: Option<&'a str>,
    /// The named route.
    pub route: Option<&'a str>,
    /// The class.
    pub class: Class,
    /// The model; None as long as it is not known.
    pub model: Option<&'a str>,
    /// The key or token issuer.
    pub key: Option<&'a str>,
    /// The end user, as events name it.
    pub user: Option<&'a str>,
}

impl Scope {
    /// Whether the scope covers a request with these traits.
    pub fn covers(&self, traits: &Traits<'_>) -> bool {
        match self {
            Scope::Tenant => true,
            Scope::Feature(feature) => traits.feature == Some(feature),
            Scope::Route(route) => traits.route == Some(route),
            Scope::Class(class) => traits.class == *class,
            Scope::Model(model) => traits.model.is_some_and(|asked| glob::matches(model, asked)),
            Scope::Key(key) => traits.key == Some(key),
            Scope::Keys(keys) => traits.key.is_some_and(|own| keys.iter().any(|key| **key == *own)),
            Scope::User(user) => traits.user == Some(user),
        }
    }

    /// Whether gateways of an earlier version do not read it.
    pub fn is_further(&self) -> bool {
        matches!(self, Scope::Keys(_) | Scope::User(_))
    }

    /// The value, where the scope has one that is text.
    pub fn value(&self) -> Option<&str> {
        match self {
            Scope::Tenant | Scope::Keys(_) => None,
            Scope::Class(class) => Some(class.as_str()),
            Scope::Feature(value)
            | Scope::Route(value)
            | Scope::Model(value)
            | Scope::Key(value)
            | Scope::User(value) => Some(value),
        }
    }

    /// Whether it covers all requests of a tenant.
    pub fn is_whole(&self) -> bool {
        *self == Scope::Tenant
    }
}

/// As people read it: `tenant`, or `feature chat`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Scope::Tenant => return f.write_str("tenant"),
            Scope::Feature(_) => "feature",
            Scope::Route(_) => "route",
            Scope::Class(_) => "class",
            Scope::Model(_) => "model",
            Scope::Key(_) => "key",
            Scope::Keys(keys) => return write!(f, "keys {}", keys.join(", ")),
            Scope::User(_) => "user",
        };
        write!(f, "{kind} {}", self.value().unwrap_or_default())
    }
}

/// A budget of a tenant that is not [`Stage::Ok`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BudgetStage {
    /// The budget's name: 1 to 40 of `a-z 0-9 . _ -`.
    pub budget: Box<str>,
    /// The requests that it covers.
    #[serde(default, skip_serializing_if = "Scope::is_whole")]
    pub scope: Scope,
    /// Its stage.
    pub stage: Stage,
    /// The used share at the transition into the stage, in thousandths; at least 1,000 where it is exceeded.
    pub used_permille: u32,
    /// The first moment after its period; absent for a budget without periods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Timestamp>,
}

impl BudgetStage {
    /// Whether the stage is in force at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.stage != Stage::Ok && self.ends.is_none_or(|ends| now < ends)
    }
}

/// Whether `name` can name a budget: it goes into headers and metrics as it is.
pub fn is_budget_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    (1..=BUDGET_NAME_MAX_BYTES).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const MONTHLY: &str =
        r#"{"budget":"monthly","stage":"degrade","used_permille":900,"ends":"2026-12-01T00:00:00.000Z"}"#;
    const CHAT: &str = r#"{"budget":"chat","scope":{"feature":"chat"},"stage":"exceeded","used_permille":1013}"#;

    #[test]
    fn stages_are_read_and_written_back_byte_for_byte() {
        for text in [MONTHLY, CHAT] {
            let stage: BudgetStage = serde_json::from_str(text).expect("a stage");
            assert_eq!(serde_json::to_string(&stage).expect("JSON"), text);
        }
    }

    #[test]
    fn a_stage_ends_with_its_period() {
        let stage: BudgetStage = serde_json::from_str(MONTHLY).expect("a stage");
        let end = Timestamp::parse("2026-12-01T00:00:00Z").expect("a time");
        assert!(stage.holds(Timestamp::from_millis(end.as_millis() - 1)));
        assert!(!stage.holds(end));
    }

    #[test]
    fn a_budget_without_periods_holds_for_ever() {
        let stage: BudgetStage = serde_json::from_str(CHAT).expect("a stage");
        assert!(stage.holds(Timestamp::from_millis(u64::MAX)));
    }

    #[test]
    fn severity_rises_from_ok_to_exceeded() {
        assert!(Stage::ALL.is_sorted());
        assert!(Stage::ALL.into_iter().all(|stage| Stage::from_name(stage.as_str()) == Some(stage)));
    }

    #[test]
    fn a_scope_covers_the_requests_that_it_names() {
        let traits = Traits {
            feature: Some("chat"),
            route: None,
            class: Class::Chat,
            model: Some("gpt-4o-mini"),
            key: Some("k1"),
            user: Some("hmac:1"),
        };
        let covering = [
            Scope::Tenant,
            Scope::Feature("chat".into()),
            Scope::Class(Class::Chat),
            Scope::Model("gpt-4o*".into()),
            Scope::Key("k1".into()),
            Scope::Keys(vec!["k0".into(), "k1".into()]),
            Scope::User("hmac:1".into()),
        ];
        let others = [
            Scope::Feature("search".into()),
            Scope::Route("chat".into()),
            Scope::Class(Class::Rag),
            Scope::Model("gpt-4o".into()),
            Scope::Key("k2".into()),
            Scope::Keys(vec!["k2".into()]),
            Scope::User("hmac:2".into()),
        ];
        assert!(covering.iter().all(|scope| scope.covers(&traits)));
        assert!(!others.iter().any(|scope| scope.covers(&traits)));
    }

    #[test]
    fn a_model_that_is_not_known_yet_is_not_covered() {
        assert!(!Scope::Model("*".into()).covers(&Traits::default()));
    }

    #[test]
    fn names_of_budgets_fit_into_headers() {
        assert!(is_budget_name("monthly-eu.1"));
        for name in ["", "Monthly", "a b", "a;b", &"x".repeat(41)] {
            assert!(!is_budget_name(name), "{name:?}");
        }
    }

    #[test]
    fn an_unknown_field_is_an_error() {
        let text = MONTHLY.replace("\"stage\"", "\"hard\":true,\"stage\"");
        assert!(serde_json::from_str::<BudgetStage>(&text).is_err());
    }
}
