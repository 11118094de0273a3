//! The arguments of the commands that bill and compare.
use clap::{Args, Subcommand};
use weir_billing::explain::period::Period;
use weir_billing::outbox::Hold;
use weir_billing::outbox::view::{AdjustRequest, RetryFilter, SettleRequest, Settlement};
use weir_contract::Timestamp;

use super::parse::{parse_hold, parse_settlement, parse_time};

#[derive(Debug, Args)]
pub(in crate::cli) struct ReportArgs {
    /// Close windows as if it were this moment (2026-11-21T04:00:00Z, or `now+2h`). For tests and demonstrations.
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) as_of: Option<String>,
    /// Decide anew about rows that are held, once what held them is mended. All of them, or those that fit --row, --customer
    /// and --reason.
    #[arg(long)]
    pub(in crate::cli) retry_held: bool,
    /// Only this row; may be repeated.
    #[arg(long, value_name = "ROW", requires = "retry_held")]
    pub(in crate::cli) row: Vec<i64>,
    /// Only rows of this customer (`cus_…`).
    #[arg(long, requires = "retry_held")]
    pub(in crate::cli) customer: Option<String>,
    /// Only rows that are held for this reason, as `weir stripe status` names it.
    #[arg(long, requires = "retry_held", value_parser = parse_hold)]
    pub(in crate::cli) reason: Option<Hold>,
}

impl ReportArgs {
    pub(in crate::cli) fn retry_only(&self) -> RetryFilter {
        RetryFilter { rows: self.row.clone(), customer: self.customer.clone(), reason: self.reason }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AdjustArgs {
    /// The tenant.
    #[arg(long)]
    pub(in crate::cli) tenant: String,
    /// The meter.
    #[arg(long)]
    pub(in crate::cli) meter: String,
    /// A moment in the window that is corrected.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(in crate::cli) window: Timestamp,
    /// The amount to add; negative to subtract.
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    pub(in crate::cli) by: i64,
    /// Why; it is kept with the name of your account on this machine.
    #[arg(long)]
    pub(in crate::cli) why: String,
}

impl AdjustArgs {
    pub(in crate::cli) fn request(self) -> AdjustRequest {
        let AdjustArgs { tenant, meter, window, by, why } = self;
        AdjustRequest { tenant, meter, window, value: by, why }
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum StripeCommand {
    /// Show pending and held rows with age, reason and remedy, errors that Stripe found later, and the last comparison.
    /// Exit code 3 when something needs a person.
    Status,
    /// Settle held rows by hand, all of those named or none: nothing sends them any more.
    #[command(
        after_help = "Rows are numbered in `weir stripe status`. Who settled them and why stays in `weir audit`.\n\n\
                            Example: weir stripe settle 17 18 --as invoiced --ref ii_1Nab --why 'billed with the March invoice'"
    )]
    Settle(SettleArgs),
    /// Acknowledge the errors that Stripe found later, and reports that could not be read: until there are new ones, `weir
    /// stripe status` exits with 0 in spite of them.
    Seen {
        /// What was done about them; it is kept in the audit.
        #[arg(long)]
        why: String,
    },
    /// Compare `price_plans` with Stripe's prices, and say what differs. Exit code 3 when something does.
    Prices,
    /// Look whether Stripe has the meters that the configuration names, and list subscriptions whose periods begin in the
    /// middle of an hour. Exit code 3 when something is left to do.
    Setup {
        /// Create the missing meters. Without it nothing changes.
        #[arg(long)]
        apply: bool,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SettleArgs {
    /// Numbers of held rows.
    #[arg(required = true, value_name = "ROW")]
    pub(in crate::cli) rows: Vec<i64>,
    /// `invoiced`: billed by other means, such as an invoice item. `void`: not billed.
    #[arg(long = "as", value_name = "OUTCOME", value_parser = parse_settlement)]
    pub(in crate::cli) outcome: Settlement,
    /// The invoice or invoice item that bills it; may be left out of what is void.
    #[arg(long = "ref", value_name = "REF", default_value = "")]
    pub(in crate::cli) reference: String,
    /// Why; it is kept with your name.
    #[arg(long)]
    pub(in crate::cli) why: String,
}

impl SettleArgs {
    pub(in crate::cli) fn request(self) -> SettleRequest {
        let SettleArgs { rows, outcome, reference, why } = self;
        SettleRequest { rows, outcome, reference, why }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ReconcileArgs {
    /// From this moment's hour on (RFC 3339, UTC). Without it: three days back.
    #[arg(long, value_parser = parse_time)]
    pub(in crate::cli) from: Option<Timestamp>,
    /// Before this moment's hour (RFC 3339, UTC). Without it: up to now.
    #[arg(long, value_parser = parse_time)]
    pub(in crate::cli) to: Option<Timestamp>,
    /// Only this customer (`cus_…`). The result is not kept for metrics.
    #[arg(long)]
    pub(in crate::cli) customer: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArgs {
    /// Stripe's customer (`cus_…`), or a tenant.
    pub(in crate::cli) customer: String,
    /// Stripe's name of the meter, or weir's.
    pub(in crate::cli) meter: String,
    /// The invoice's period.
    #[arg(value_parser = Period::parse)]
    pub(in crate::cli) period: Period,
    /// Print CSV with one line per event; the column `amount` adds up to the amount billed.
    #[arg(long, conflicts_with = "json")]
    pub(in crate::cli) csv: bool,
    /// List single events as well.
    #[arg(long)]
    pub(in crate::cli) events: bool,
}
