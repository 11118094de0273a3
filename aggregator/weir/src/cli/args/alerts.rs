//! Arguments of the commands about alerts.
use clap::{ArgGroup, Args, Subcommand, value_parser};
use weir_contract::Timestamp;

use super::parse::{parse_number, parse_time};
use crate::alerts::{AckRequest, AlertHistoryQuery, SilenceRequest};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AlertsCommand {
    /// List what fires, the silences, the receivers, and the latest messages. Exit code 3 when something fires that nobody has
    /// acknowledged, or a message was given up.
    List,
    /// Send a test to a receiver, now. Exit code 3 when it does not take it. Needs a running server.
    #[command(after_help = "Example: weir alerts test on-call")]
    Test {
        /// The receiver.
        receiver: String,
    },
    /// Tell nobody of some alerts, or of stages of budgets, until a date. What still holds then is told. Needs a running server.
    #[command(after_help = "Examples:
  weir alerts silence 'cost-drift-*' --subject support --until 2026-12-01 --why 'known, fix on Monday'
  weir alerts silence --budget monthly --tenant acme --until 2026-12-01 --why 'raised, agreed with Ann'
  weir alerts silence --tenant acme --until 2026-11-28T18 --why 'load test'")]
    Silence(SilenceArgs),
    /// End a silence before its date. Needs a running server.
    #[command(after_help = "Example: weir alerts unsilence 3")]
    Unsilence {
        /// Its number; `weir alerts list` shows it.
        #[arg(value_parser = parse_number)]
        id: i64,
    },
    /// Say that you look after an alert that fires. Your token's name stands beside it. Needs a running server.
    #[command(after_help = "Example: weir alerts ack margin-low acme --why 'talking to them'")]
    Ack(AckArgs),
    /// Show every beginning and end of an alert, the latest first.
    History(AlertHistoryArgs),
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("of").required(true).multiple(true).args(["rule", "budget", "tenant"])))]
pub(in crate::cli) struct SilenceArgs {
    /// The rules, with * for any text. Absent, and no budget either: all that is about the tenant.
    rule: Option<String>,
    /// The budgets, with * for any text: nobody is told of their stages.
    #[arg(long)]
    budget: Option<String>,
    /// The subjects, with * for any text. Absent: all.
    #[arg(long)]
    subject: Option<String>,
    /// Only what is about these tenants, with * for any text. Absent: all.
    #[arg(long)]
    tenant: Option<String>,
    /// The first moment at which people are told again (RFC 3339, UTC), or the start of a month, day or hour: 2026-12.
    #[arg(long, value_parser = parse_time)]
    until: Timestamp,
    /// The reason; it stands in the audit.
    #[arg(long)]
    why: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AckArgs {
    /// The rule.
    rule: String,
    /// The subject. Absent: the alert about everything together.
    subject: Option<String>,
    /// The reason or remark; it stands in the audit.
    #[arg(long)]
    why: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AlertHistoryArgs {
    /// Only of this rule.
    #[arg(long)]
    rule: Option<String>,
    /// Only changes before this number.
    #[arg(long, value_parser = parse_number)]
    before: Option<i64>,
    /// The most changes, at most 1000.
    #[arg(long, value_parser = value_parser!(u32).range(1..=1000))]
    limit: Option<u32>,
}

impl SilenceArgs {
    pub(in crate::cli) fn request(self) -> SilenceRequest {
        let SilenceArgs { rule, budget, subject, tenant, until, why } = self;
        SilenceRequest { rule, budget, subject, tenant, until, why }
    }
}

impl AckArgs {
    pub(in crate::cli) fn request(self) -> AckRequest {
        let AckArgs { rule, subject, why } = self;
        AckRequest { rule, subject, why }
    }
}

impl AlertHistoryArgs {
    pub(in crate::cli) fn query(self) -> AlertHistoryQuery {
        let AlertHistoryArgs { rule, before, limit } = self;
        AlertHistoryQuery { rule, before, limit }
    }
}
