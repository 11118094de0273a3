//! Feature flags: declared with a type and a default, decided by rules, the same by a gateway and by `weir serve`.
//!
//! A flag is decided for a tenant, its plan, the environment of its credential, and the end user. The first rule whose
//! conditions hold decides; if none does, the default. A gateway receives the rules and not the values of each tenant, so that a
//! flag costs the same for one tenant and for a hundred thousand.
//!
//! # Percentages
//!
//! A rule with `percent` holds for those whose *place*, 0 to 9,999, is less than `percent` hundredths of a percent. The place
//! is the first 8 bytes of a SHA-256, read as a number with the highest byte first, modulo 10,000. Hashed are the flag's name, a
//! zero byte and the tenant's id; with `by: user`, for a request that names a user, also another zero byte and the user. So
//! whoever has the value at 10 % has it at 25 %, every gateway says the same, and flags are independent of each other.
//!
//! # Bounds
//!
//! [`FLAGS_MAX`] flags, [`RULES_MAX`] rules each, [`NAMES_MAX`] names in a condition. All values together fit in a header of
//! [`DICTIONARY_MAX_BYTES`].
mod decide;
mod dictionary;
mod percent;
mod value;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::tenant::TenantId;

pub use decide::{Reason, Subject, place};
pub(crate) use dictionary::DICTIONARY_MAX_BYTES;
pub use dictionary::{members, write as write_dictionary};
pub use percent::Percent;
pub use value::{FlagType, FlagValue};

/// The word in [`crate::stage::KNOWS_HEADER`] that asks for flags.
pub const KNOWS_FLAGS: &str = "flags";
/// The most flags: each is decided for every request that asks for flags.
pub const FLAGS_MAX: usize = 32;
/// The most rules of a flag.
pub const RULES_MAX: usize = 16;
/// The most tenants, plans or environments of one rule.
pub(crate) const NAMES_MAX: usize = 64;
/// The most bytes of all flags as JSON: they stand on one page of the directory beside tenants.
pub(crate) const FLAGS_MAX_BYTES: usize = 32 * 1024;
/// The longest name of a flag, in bytes.
const NAME_MAX_BYTES: usize = 48;
/// The longest name of a plan or an environment, in bytes.
const LABEL_MAX_BYTES: usize = 256;

/// All flags, by name.
pub type Flags = BTreeMap<Box<str>, Flag>;

/// A flag: its type, its default, and the rules that decide otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Flag {
    /// The type of its values.
    #[serde(rename = "type")]
    pub kind: FlagType,
    /// The value where no rule decides.
    pub default: FlagValue,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Box<str>>,
    /// The rules; the first that holds decides. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<FlagRule>,
}

/// A rule of a flag: all conditions that it has must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FlagRule {
    /// The tenant is one of these. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<TenantId>,
    /// The tenant's plan is one of these. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<Box<str>>,
    /// The environment of the credential, else of the route, is one of these. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<Box<str>>,
    /// So many of them have the value: `25%`, `0.5%`. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<Percent>,
    /// Who has the same value throughout.
    #[serde(default, skip_serializing_if = "FlagBy::is_tenant")]
    pub by: FlagBy,
    /// The value.
    pub value: FlagValue,
}

/// Who has the same value throughout, where a rule has a percentage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FlagBy {
    /// A tenant with all of its users.
    #[default]
    Tenant,
    /// Each end user. A request that names none goes with its tenant's.
    User,
}

impl FlagBy {
    fn is_tenant(&self) -> bool {
        *self == FlagBy::Tenant
    }
}

/// Why flags cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct FlagError {
    /// The field, from the root: `flags.use-claude.default`.
    pub path: String,
    /// The problem, and what would be valid.
    pub problem: String,
}

impl FlagError {
    fn new(path: String, problem: impl Into<String>) -> Self {
        FlagError { path, problem: problem.into() }
    }
}

/// Checks declared flags, and gives every value the type of its flag.
///
/// # Errors
/// For a name that is no key of a structured dictionary, a value of another type, and what exceeds a bound.
pub fn check(flags: &mut Flags) -> Result<(), FlagError> {
    let whole = |problem: String| FlagError::new("flags".to_owned(), problem);
    if flags.len() > FLAGS_MAX {
        return Err(whole(format!("{} flags, at most {FLAGS_MAX}", flags.len())));
    }
    for (name, flag) in flags.iter_mut() {
        let path = format!("flags.{name}");
        if !is_name(name) {
            let problem =
                format!("a name begins with a letter and has 1 to {NAME_MAX_BYTES} characters of a-z 0-9 _ . -");
            return Err(FlagError::new(path, problem));
        }
        flag.check(&path)?;
    }
    if dictionary::longest(flags) > DICTIONARY_MAX_BYTES {
        let problem = format!("their values can take more than {DICTIONARY_MAX_BYTES} bytes in `x-weir-flags`");
        return Err(whole(problem));
    }
    match serde_json::to_vec(flags) {
        Ok(json) if json.len() <= FLAGS_MAX_BYTES => Ok(()),
        _ => Err(whole(format!("more than {FLAGS_MAX_BYTES} bytes; shorten lists of tenants"))),
    }
}

/// Whether a text can name a flag: a key of a structured dictionary (RFC 8941, section 3.1.2) that begins with a letter.
pub fn is_name(name: &str) -> bool {
    let is_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    name.len() <= NAME_MAX_BYTES
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(is_byte)
}

impl Flag {
    fn check(&mut self, path: &str) -> Result<(), FlagError> {
        self.default = typed(&self.default, self.kind, &format!("{path}.default"))?;
        check_rules(&mut self.rules, self.kind, path)
    }
}

/// Checks the rules of a flag of this type, and gives every value the type. `path`: that of the flag.
///
/// # Errors
/// For a value of another type, and what exceeds a bound.
pub fn check_rules(rules: &mut [FlagRule], kind: FlagType, path: &str) -> Result<(), FlagError> {
    if rules.len() > RULES_MAX {
        return Err(FlagError::new(format!("{path}.rules"), format!("at most {RULES_MAX} rules")));
    }
    for (at, rule) in rules.iter_mut().enumerate() {
        let place = format!("{path}.rules[{at}]");
        let lists = [rule.tenants.len(), rule.plans.len(), rule.environments.len()];
        if lists.iter().any(|len| *len > NAMES_MAX) {
            return Err(FlagError::new(place, format!("at most {NAMES_MAX} names in a list")));
        }
        let is_label = |label: &str| (1..=LABEL_MAX_BYTES).contains(&label.len());
        if !rule.plans.iter().chain(&rule.environments).all(|label| is_label(label)) {
            return Err(FlagError::new(place, format!("a name has 1 to {LABEL_MAX_BYTES} bytes")));
        }
        if rule.percent.is_none() && rule.by != FlagBy::default() {
            return Err(FlagError::new(format!("{place}.by"), "it says nothing without a `percent`"));
        }
        rule.value = typed(&rule.value, kind, &format!("{place}.value"))?;
    }
    Ok(())
}

fn typed(value: &FlagValue, kind: FlagType, path: &str) -> Result<FlagValue, FlagError> {
    let wrong =
        || FlagError::new(path.to_owned(), format!("{value} is no value of a flag of type {kind}: {}", kind.values()));
    value.as_type(kind).ok_or_else(wrong)
}

#[cfg(test)]
mod tests;
