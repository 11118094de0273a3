//! Arguments of the commands about deploys.
use clap::{Args, Subcommand, value_parser};
use weir_contract::Timestamp;

use super::parse::{parse_number, parse_time};
use crate::alerts::DeployRequest;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DeploysCommand {
    /// Mark a deploy: alerts compare the cost of a request before it and after it. The same mark again within ten minutes is no second one;
    /// with another --at it corrects the first. Needs a running server.
    #[command(after_help = "Example: weir deploys mark 'support prompt v8' --feature support")]
    Mark(MarkArgs),
    /// List the marks, the latest first.
    List {
        /// The most marks, at most 1000.
        #[arg(long, value_parser = value_parser!(u32).range(1..=1000))]
        limit: Option<u32>,
    },
    /// Remove a mark that was set by mistake. Needs a running server.
    #[command(after_help = "Example: weir deploys unmark 3")]
    Unmark {
        /// Its number; `weir deploys list` shows it.
        #[arg(value_parser = parse_number)]
        id: i64,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MarkArgs {
    /// What was deployed; messages and the audit name it.
    name: String,
    /// The features that it changed, with * for any text. Absent, and no prompt version either: it may have changed any.
    #[arg(long)]
    feature: Option<String>,
    /// The prompt versions that it changed, with * for any text.
    #[arg(long)]
    prompt_version: Option<String>,
    /// When it was deployed (RFC 3339, UTC), or a minute, hour or day: 2026-11-28T12:03. Absent: now.
    #[arg(long, value_parser = parse_time)]
    at: Option<Timestamp>,
}

impl MarkArgs {
    pub(in crate::cli) fn request(self) -> DeployRequest {
        let MarkArgs { name, feature, prompt_version, at } = self;
        DeployRequest { name, feature, prompt_version, at }
    }
}
