//! The arguments of the commands about tenants and their keys.
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use weir_contract::scopes::Scopes;
use weir_contract::{TenantId, Timestamp};
use weir_ledger::periods::Interval;
use weir_settings::duration::Millis;
use weir_tenants::store::change::{NewKey, NewTenant, Rotation, TenantPatch};
use weir_tenants::store::provisioning::FirstKeyKind;
use weir_tenants::store::view::{HistoryQuery, ROWS_MAX, Standing, TenantsQuery};

use super::parse::{parse_scopes, parse_time};
use super::placement::{BudgetAmount, PlacementArgs};
use crate::provisioning::ProvisionRequest;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TenantsCommand {
    /// Create a tenant, active and without keys.
    #[command(after_help = "Example: weir tenants create acme --plan starter --stripe-customer cus_Nab12")]
    Create(CreateArgs),
    /// Let a tenant come in one call: record, Stripe customer and subscription, keys, vector collection, budgets, webhook; visible to
    /// gateways last. What fails is taken back.
    #[command(
        after_help = "Prints the tenant's keys, this once. The server must be running. Exit code 3 while the tenant is still on its way: \
                      repeat the command with the --idempotency-key that it printed.\n\n\
                      Example: weir tenants provision acme --plan starter --isolation pool --owner ann@example.com"
    )]
    Provision(ProvisionArgs),
    /// Let a tenant go: suspended at once, its last usage reported, archived after `provisioning.retention`, keys and vault gone.
    #[command(after_help = "`weir tenants resume` before that stops it.\n\nExample: weir tenants deprovision acme")]
    Deprovision {
        /// The tenant.
        id: TenantId,
        /// Names the request, so that a repeat begins nothing more. Absent: a random one.
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
    /// Show how far a tenant is that comes or goes: its steps and the journal of its latest 200 acts.
    Status {
        /// The tenant.
        id: TenantId,
        /// Show every act that is kept: the first 200 and the last 800.
        #[arg(long)]
        all: bool,
    },
    /// Let go of a step that fails for ever: it counts as done, or as taken back, and the tenant goes on without it.
    #[command(
        after_help = "For what cannot be taken away any more, such as a collection in a store that is gone. The reason stands in the \
                      journal and in the audit. No step by which a tenant comes can be left out: it comes whole, or is taken back.\n\n\
                      Example: weir tenants skip acme drop_collection --why 'the store was shut down in May'"
    )]
    Skip {
        /// The tenant.
        id: TenantId,
        /// The step, as `weir tenants status` names it.
        step: String,
        /// The reason.
        #[arg(long)]
        why: String,
    },
    /// List tenants by id.
    List(ListArgs),
    /// Show one tenant.
    Show {
        /// The tenant.
        id: TenantId,
    },
    /// Change a tenant. Gateways know within a second.
    #[command(after_help = "Example: weir tenants set acme --plan enterprise")]
    Set(SetArgs),
    /// Refuse a tenant's requests from now on: 403.
    Suspend {
        /// The tenant.
        id: TenantId,
    },
    /// Let a suspended or archived tenant in again.
    Resume {
        /// The tenant.
        id: TenantId,
    },
    /// Let gateways forget a tenant that has left: its keys are unknown. Its usage until now is still billed.
    Archive {
        /// The tenant.
        id: TenantId,
    },
    /// Show who changed a tenant, and what; the latest change first.
    History {
        /// The tenant.
        id: TenantId,
        /// At most so many changes.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(ROWS_MAX)))]
        limit: u32,
    },
    /// Where a tenant is told of its own budgets.
    #[command(subcommand)]
    Addresses(AddressesCommand),
    /// Make the database say what a tenants file says.
    #[command(
        after_help = "Tenants that the file does not have are archived, and keys revoked. The server must be stopped unless \
                            --check is given. Then replace `tenants` in the configuration by `tenants_database: true`.\n\n\
                            Exit code 3 with --check when something differs.\n\n\
                            Example: weir tenants import tenants.yaml --check"
    )]
    Import {
        /// The tenants file.
        file: PathBuf,
        /// Only say what differs.
        #[arg(long)]
        check: bool,
    },
    /// Print the database's tenants as a tenants file, without those that are archived. The server may run.
    #[command(after_help = "Example: weir tenants export > tenants.yaml")]
    Export,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AddressesCommand {
    /// List a tenant's addresses.
    List {
        /// The tenant.
        tenant: TenantId,
    },
    #[command(flatten)]
    Act(AddressAct),
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AddressAct {
    /// Add an address. A code is mailed there, and nothing else before it is proven. The server must be running.
    Add {
        /// The tenant.
        tenant: TenantId,
        /// The e-mail address.
        email: String,
    },
    /// Prove an address by the code that was mailed there: it is told from now on.
    Prove {
        /// The tenant.
        tenant: TenantId,
        /// The address's number, as the list has it.
        number: i64,
        /// The code.
        code: String,
    },
    /// Remove an address: nothing goes there any more.
    Remove {
        /// The tenant.
        tenant: TenantId,
        /// The address's number, as the list has it.
        number: i64,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CreateArgs {
    /// Its id; never reuse one.
    id: TenantId,
    /// Its plan, as the gateways' configuration names it.
    #[arg(long)]
    plan: String,
    /// What it is known by beside its id; may be given several times.
    #[arg(long = "identifier", value_name = "TEXT")]
    identifiers: Vec<String>,
    #[command(flatten)]
    placement: PlacementArgs,
    /// The person or team that looks after it.
    #[arg(long)]
    owner: Option<String>,
    /// Its own amount of a budget; may be given several times.
    #[arg(long = "budget", value_name = "NAME=AMOUNT")]
    budgets: Vec<BudgetAmount>,
    /// The Stripe customer that pays.
    #[arg(long, value_name = "cus_…")]
    stripe_customer: Option<String>,
    /// The beginning of one of its billing periods.
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    billing_anchor: Option<Timestamp>,
    /// The length of its billing periods. Absent: a month.
    #[arg(long, value_enum, requires = "billing_anchor", value_name = "INTERVAL")]
    billing_interval: Option<IntervalName>,
}

/// [`Interval`], for the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum IntervalName {
    Day,
    Week,
    Month,
    Year,
}

impl From<IntervalName> for Interval {
    fn from(name: IntervalName) -> Self {
        match name {
            IntervalName::Day => Interval::Day,
            IntervalName::Week => Interval::Week,
            IntervalName::Month => Interval::Month,
            IntervalName::Year => Interval::Year,
        }
    }
}

/// [`Standing`], for the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum StandingName {
    Active,
    Suspended,
    Archived,
}

impl From<StandingName> for Standing {
    fn from(name: StandingName) -> Self {
        match name {
            StandingName::Active => Standing::Active,
            StandingName::Suspended => Standing::Suspended,
            StandingName::Archived => Standing::Archived,
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    /// Only those in this state.
    #[arg(long, value_enum)]
    state: Option<StandingName>,
    /// Only those with this plan.
    #[arg(long)]
    plan: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ProvisionArgs {
    #[command(flatten)]
    tenant: CreateArgs,
    /// A key that it comes with, by name; may be given several times. Absent: one, key-1.
    #[arg(long = "key", value_name = "NAME")]
    keys: Vec<String>,
    /// The name of the Stripe customer.
    #[arg(long)]
    name: Option<String>,
    /// Where invoices go.
    #[arg(long)]
    email: Option<String>,
    /// Names the request, so that a repeat begins nothing more. Absent: a random one.
    #[arg(long, value_name = "KEY")]
    pub(in crate::cli) idempotency_key: Option<String>,
}

impl ProvisionArgs {
    pub(in crate::cli) fn request(self) -> ProvisionRequest {
        let keys = self.keys.into_iter().map(|id| FirstKeyKind { id, ..FirstKeyKind::default() }).collect::<Vec<_>>();
        let keys = Some(keys).filter(|keys| !keys.is_empty());
        ProvisionRequest { tenant: self.tenant.tenant(), keys, name: self.name, email: self.email }
    }
}

impl ListArgs {
    pub(in crate::cli) fn query(self) -> TenantsQuery {
        TenantsQuery { state: self.state.map(Into::into), plan: self.plan, cursor: None, limit: Some(ROWS_MAX) }
    }
}

impl CreateArgs {
    pub(in crate::cli) fn tenant(self) -> NewTenant {
        NewTenant {
            id: self.id,
            plan: self.plan,
            identifiers: self.identifiers,
            placement: self.placement.placement(),
            owner: self.owner,
            budgets: BudgetAmount::all(self.budgets),
            stripe_customer: self.stripe_customer,
            billing_anchor: self.billing_anchor,
            billing_interval: self.billing_interval.map(Into::into),
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SetArgs {
    /// The tenant.
    pub(in crate::cli) id: TenantId,
    /// Its plan.
    #[arg(long)]
    plan: Option<String>,
    /// All that it is known by beside its id; may be given several times. An empty text: nothing.
    #[arg(long = "identifier", value_name = "TEXT")]
    identifiers: Option<Vec<String>>,
    #[command(flatten)]
    placement: PlacementArgs,
    /// The person or team that looks after it. An empty text: nobody.
    #[arg(long)]
    owner: Option<String>,
    /// All its own amounts of budgets; may be given several times. An empty text: none.
    #[arg(long = "budget", value_name = "NAME=AMOUNT")]
    budgets: Option<Vec<BudgetAmount>>,
    /// The Stripe customer that pays. An empty text: nobody.
    #[arg(long, value_name = "cus_…")]
    stripe_customer: Option<String>,
    /// The beginning of one of its billing periods.
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    billing_anchor: Option<Timestamp>,
    /// The length of its billing periods.
    #[arg(long, value_enum, value_name = "INTERVAL")]
    billing_interval: Option<IntervalName>,
    /// Only if the tenant is still at this version.
    #[arg(long, value_name = "VERSION")]
    pub(in crate::cli) if_version: Option<u64>,
}

impl SetArgs {
    pub(in crate::cli) fn patch(self) -> TenantPatch {
        let given = |text: &String| !text.is_empty();
        TenantPatch {
            state: None,
            plan: self.plan,
            identifiers: self.identifiers.map(|all| all.into_iter().filter(given).collect()),
            placement: self.placement.is_given().then(|| self.placement.placement()),
            owner: self.owner.map(|owner| Some(owner).filter(given)),
            budgets: self.budgets.map(BudgetAmount::all),
            stripe_customer: self.stripe_customer.map(|customer| Some(customer).filter(given)),
            billing_anchor: self.billing_anchor.map(Some),
            billing_interval: self.billing_interval.map(|interval| Some(interval.into())),
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct KeyCreateArgs {
    /// The tenant.
    pub(in crate::cli) tenant: TenantId,
    /// The key's name, which appears in events. Absent: `key-1`, `key-2` and so on.
    #[arg(long)]
    id: Option<String>,
    /// Overrides the tenant's plan.
    #[arg(long)]
    plan: Option<String>,
    /// The environment of usage under it, such as `production` or `test`.
    #[arg(long)]
    environment: Option<String>,
    /// The product feature it belongs to.
    #[arg(long)]
    feature: Option<String>,
    /// What it may be used for, with commas between them: classes of requests (chat, embedding), and route:NAME. Absent: everything.
    #[arg(long, value_parser = parse_scopes, value_name = "SCOPE,…")]
    scopes: Option<Scopes>,
    /// When it expires.
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    expires: Option<Timestamp>,
}

impl KeyCreateArgs {
    pub(in crate::cli) fn key(self) -> NewKey {
        NewKey {
            id: self.id,
            plan: self.plan,
            environment: self.environment,
            feature: self.feature,
            scopes: self.scopes,
            expires: self.expires,
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RotateArgs {
    #[command(flatten)]
    pub(in crate::cli) which: WhichKey,
    /// How long the old key stays in force beside the new one, at most 90d; 0s ends it at once.
    #[arg(long, default_value = "24h", value_parser = parse_span, value_name = "SPAN")]
    overlap: Millis,
    /// The new key's name.
    #[arg(long)]
    id: Option<String>,
}

impl RotateArgs {
    pub(in crate::cli) fn rotation(&self) -> Rotation {
        Rotation { overlap: Some(self.overlap), id: self.id.clone() }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WhichKey {
    /// The tenant.
    pub(in crate::cli) tenant: TenantId,
    /// The key's name.
    pub(in crate::cli) key: String,
}

fn parse_span(text: &str) -> Result<Millis, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|error| error.to_string())
}

pub(in crate::cli) fn history(limit: u32) -> HistoryQuery {
    HistoryQuery { cursor: None, limit: Some(limit) }
}
