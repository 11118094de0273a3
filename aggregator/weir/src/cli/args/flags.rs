//! The arguments of the commands about feature flags.
use clap::{Args, Subcommand};
use weir_contract::TenantId;
use weir_contract::flags::{FlagBy, FlagRule, FlagType, FlagValue, Percent};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum FlagsCommand {
    /// List the flags that the configuration declares, and their rules.
    List,
    /// Show one flag.
    Show {
        /// The flag.
        name: String,
    },
    /// Set the value of a flag for everybody, for a part, or for some tenants, plans or environments. Gateways know within a second.
    #[command(
        after_help = "The rule replaces the one for the same tenants, plans and environments; a rule for tenants goes before \
                            one for plans, that before one for environments, and that before one for everybody.\n\n\
                            Examples: weir flags set use-claude 25%\n          \
                            weir flags set use-claude on --tenant acme\n          \
                            weir flags set tone 10% --value short --by user"
    )]
    Set(FlagSetArgs),
    /// Take back what was set: the rules of the configuration hold again.
    Reset {
        /// The flag.
        name: String,
    },
    /// Show who changed the rules of a flag, and what; the latest change first.
    History {
        /// The flag.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct FlagSetArgs {
    /// The flag.
    pub(in crate::cli) name: String,
    /// A value, such as `on`, `off`, `short` or `3`; or the part that has `--value`, such as `25%`.
    value_or_part: String,
    /// The value of a part; for a flag of type bool `on`.
    #[arg(long)]
    value: Option<String>,
    /// Who has the same value throughout, in a part: `tenant` or `user`.
    #[arg(long, value_parser = ["tenant", "user"], default_value = "tenant")]
    by: String,
    /// Only this tenant; may be given several times.
    #[arg(long = "tenant", value_name = "TENANT")]
    tenants: Vec<TenantId>,
    /// Only tenants on this plan; may be given several times.
    #[arg(long = "plan", value_name = "PLAN")]
    plans: Vec<String>,
    /// Only in this environment; may be given several times.
    #[arg(long = "environment", value_name = "ENVIRONMENT")]
    environments: Vec<String>,
}

impl FlagSetArgs {
    /// The rule that they mean for a flag of this type.
    pub(in crate::cli) fn rule(&self, kind: FlagType) -> anyhow::Result<FlagRule> {
        let parse = |text: &str| {
            kind.parse(text)
                .ok_or_else(|| anyhow::anyhow!("{text:?} is no value of {}, a flag of type {kind}", self.name))
        };
        let percent =
            self.value_or_part.strip_suffix('%').map(|_| self.value_or_part.parse::<Percent>()).transpose()?;
        let value = match (&percent, &self.value) {
            (None, None) => parse(&self.value_or_part)?,
            (None, Some(_)) => anyhow::bail!("`--value` goes with a part, such as 25%"),
            (Some(_), Some(text)) => parse(text)?,
            (Some(_), None) if kind == FlagType::Bool => FlagValue::Bool(true),
            (Some(_), None) => anyhow::bail!("say which value the part has: `--value`"),
        };
        let by = if self.by == "user" && percent.is_some() { FlagBy::User } else { FlagBy::Tenant };
        let boxed = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
        Ok(FlagRule {
            tenants: self.tenants.clone(),
            plans: boxed(&self.plans),
            environments: boxed(&self.environments),
            percent,
            by,
            value,
        })
    }
}
