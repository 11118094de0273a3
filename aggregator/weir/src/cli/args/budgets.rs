//! Arguments of the commands about budgets.
use clap::{Args, Subcommand};
use weir_contract::Timestamp;
use weir_contract::stage::Stage;
use weir_ledger::amount::Pico;

use super::parse::parse_time;
use crate::budgets::{BudgetQuery, HistoryQuery, PauseRequest, RaiseRequest, ResumeRequest};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum BudgetsCommand {
    /// List the budgets that have used something in their current period, the most used first. Exit code 3 when one is exceeded.
    List {
        /// Only those in this stage or a more severe one: warn, degrade, contain, exceeded.
        #[arg(long, value_parser = parse_stage)]
        stage: Option<Stage>,
    },
    /// Show the budgets of a tenant, used or not. Exit code 3 when one is exceeded.
    Show {
        /// The tenant.
        tenant: String,
    },
    /// Raise the budget of a tenant until a date. It takes effect at once, in place of an earlier raise or pause, which does not come back.
    #[command(
        after_help = "Example: weir budgets raise monthly acme --to 1000 --until 2026-12-01 --why 'launch, agreed with Ann'"
    )]
    Raise(RaiseArgs),
    /// Let everything pass until a date, whatever the budget of a tenant says.
    #[command(after_help = "Example: weir budgets pause monthly acme --until 2026-11-29 --why 'incident 42'")]
    Pause(PauseArgs),
    /// Take back a raise or a pause. Exit code 3 when there is none.
    Resume {
        /// The budget.
        budget: String,
        /// The tenant; for a shared budget any of its tenants.
        tenant: String,
    },
    /// Show every change of a stage, the latest first.
    History(HistoryArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RaiseArgs {
    #[command(flatten)]
    pause: PauseArgs,
    /// The amount, in the budget's unit.
    #[arg(long, value_parser = parse_amount)]
    to: Pico,
    /// Allow an amount that is below the one in force.
    #[arg(long)]
    lower: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PauseArgs {
    /// The budget.
    budget: String,
    /// The tenant; for a shared budget any of its tenants.
    tenant: String,
    /// The first moment at which the usual amount counts again (RFC 3339, UTC), or the start of a month, day or hour: 2026-12. At
    /// most a year from now.
    #[arg(long, value_parser = parse_time)]
    until: Timestamp,
    /// The reason; it stands in the audit.
    #[arg(long)]
    why: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct HistoryArgs {
    /// Only of this tenant, or of # and the name of a shared budget.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Only of this budget.
    #[arg(long)]
    budget: Option<String>,
    /// At most so many, up to 1000.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: Option<u32>,
}

impl RaiseArgs {
    pub(in crate::cli) fn request(self) -> RaiseRequest {
        let PauseArgs { budget, tenant, until, why } = self.pause;
        RaiseRequest { budget, tenant, amount: self.to, until, why, lower: self.lower }
    }
}

impl PauseArgs {
    pub(in crate::cli) fn request(self) -> PauseRequest {
        let PauseArgs { budget, tenant, until, why } = self;
        PauseRequest { budget, tenant, until, why }
    }
}

impl HistoryArgs {
    pub(in crate::cli) fn query(self) -> HistoryQuery {
        HistoryQuery { subject: self.tenant, budget: self.budget, before: None, limit: self.limit }
    }
}

/// The query of `weir budgets list` and `show`.
pub(in crate::cli) fn query(tenant: Option<String>, stage: Option<Stage>) -> BudgetQuery {
    BudgetQuery { tenant, stage }
}

/// The request of `weir budgets resume`.
pub(in crate::cli) fn resume(budget: String, tenant: String) -> ResumeRequest {
    ResumeRequest { budget, tenant }
}

fn parse_stage(text: &str) -> Result<Stage, String> {
    Stage::from_name(text).ok_or_else(|| format!("expected one of {}", Stage::ALL.map(Stage::as_str).join(", ")))
}

fn parse_amount(text: &str) -> Result<Pico, String> {
    Pico::parse(text).filter(|amount| amount.0 > 0).ok_or_else(|| "expected an amount above 0, such as 500".to_owned())
}
