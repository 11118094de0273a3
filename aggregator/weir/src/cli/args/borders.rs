//! The arguments of the commands that show what concerned the borders between tenants.
use clap::{Args, Subcommand};
use weir_contract::Timestamp;
use weir_ledger::view::SecurityQuery;

use super::parse::parse_time;

#[derive(Debug, Args)]
pub(in crate::cli) struct AuditArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: Option<AuditCommand>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AuditCommand {
    /// Show attempts to cross the borders between tenants, and records that were taken out of answers, by minute; the latest
    /// first. Exit code 3 when one of them is critical.
    #[command(after_help = "Example: weir audit security --tenant acme --from 2026-11")]
    Security(BorderArgs),
    /// Show single searches of vector stores, the latest first.
    #[command(after_help = "Example: weir audit searches --tenant acme --from 2026-11-21T03")]
    Searches(BorderArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BorderArgs {
    /// Only this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// From this moment on (RFC 3339, UTC), or from the start of a month, day or hour: 2026-11.
    #[arg(long, value_parser = parse_time)]
    from: Option<Timestamp>,
    /// Before this moment (RFC 3339, UTC), or before the start of a month, day or hour: 2026-12.
    #[arg(long, value_parser = parse_time)]
    to: Option<Timestamp>,
}

impl BorderArgs {
    pub(in crate::cli) fn query(self) -> SecurityQuery {
        SecurityQuery { tenant: self.tenant, from: self.from, to: self.to }
    }
}
