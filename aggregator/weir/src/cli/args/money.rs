//! Arguments of commands about money.
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use weir_contract::Timestamp;
use weir_ledger::view::cost::Step;

use super::parse::{parse_day, parse_time};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PricesCommand {
    /// List the entries of the price book.
    List {
        /// Only this provider, as events name it.
        #[arg(long)]
        provider: Option<String>,
    },
    /// Show which entries could answer for a model, the one in force first. Exit code 3 when there is none.
    Show {
        /// The model, as the provider answers with.
        model: String,
        /// The provider, as events name it.
        #[arg(long)]
        provider: Option<String>,
        /// At this moment (RFC 3339, UTC), or at the start of a month, day or hour: 2026-11. Without it: now.
        #[arg(long, value_parser = parse_time)]
        at: Option<Timestamp>,
    },
    /// Look for slips: overlapping patterns, gaps, kinds without a price, a price ten times its predecessor. Exit code 3 when there
    /// are some.
    Check {
        /// A file of entries. Without it: the configuration's prices.
        file: Option<PathBuf>,
    },
    /// Show what would change if the entries of a file took the place of the shipped list's, or of another file's.
    Diff {
        /// The file of entries.
        file: PathBuf,
        /// The other file.
        #[arg(long)]
        from: Option<PathBuf>,
    },
    /// Make a file of entries from a list of prices: LiteLLM's price map, models.dev's api.json, OpenRouter's list of models.
    #[command(
        after_help = "Example: weir prices import model_prices_and_context_window.json --provider openai --into prices.json"
    )]
    Import(ImportArgs),
    /// Compute costs again by the prices in use. Old and new sums stay visible; nothing that is billed changes.
    Reprice(RepriceArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArgs {
    /// The list, as JSON.
    pub(in crate::cli) file: PathBuf,
    /// Only this provider, as events name it. May be given several times.
    #[arg(long = "provider", value_name = "PROVIDER")]
    pub(in crate::cli) providers: Vec<String>,
    /// The file to write. Without it: standard output.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) into: Option<PathBuf>,
    /// Where the list comes from; it is written into the file. Without it: the list's name.
    #[arg(long)]
    pub(in crate::cli) source: Option<String>,
    /// The day on which it was taken from there; it is written into the file. Without it: today.
    #[arg(long, value_parser = parse_day)]
    pub(in crate::cli) date: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RepriceArgs {
    /// Windows that begin at this moment or later (RFC 3339, UTC), or at the start of a month, day or hour: 2026-11.
    #[arg(long, value_parser = parse_time)]
    pub(in crate::cli) from: Timestamp,
    /// Why; it is kept in the audit.
    #[arg(long)]
    pub(in crate::cli) why: String,
    /// Change nothing, and show what would change.
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CostArgs {
    /// Only this tenant.
    #[arg(long)]
    pub(in crate::cli) tenant: Option<String>,
    /// From this moment on (RFC 3339, UTC), or from the start of a month, day or hour: 2026-11.
    #[arg(long, value_parser = parse_time)]
    pub(in crate::cli) from: Option<Timestamp>,
    /// Before this moment (RFC 3339, UTC), or before the start of a month, day or hour: 2026-12.
    #[arg(long, value_parser = parse_time)]
    pub(in crate::cli) to: Option<Timestamp>,
    /// By model, class, route, feature, prompt_version, environment, credential, plan (one or more, with commas); these sums are
    /// kept for 90 days.
    #[arg(long, value_name = "DIMENSIONS", conflicts_with = "models")]
    pub(in crate::cli) by: Option<String>,
    /// A row for each step of time.
    #[arg(long, value_enum, default_value = "total")]
    pub(in crate::cli) step: StepArg,
    /// By provider, model and tariff, with units by kind, and with what has no price.
    #[arg(long)]
    pub(in crate::cli) models: bool,
    /// Costs that no request causes (`other_costs`), after spreading.
    #[arg(long, conflicts_with_all = ["by", "models"])]
    pub(in crate::cli) other: bool,
    /// Print CSV.
    #[arg(long, conflicts_with = "json")]
    pub(in crate::cli) csv: bool,
}

/// Steps of time.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum StepArg {
    Total,
    Hour,
    Day,
    Month,
}

impl StepArg {
    pub(in crate::cli) fn step(self) -> Step {
        match self {
            StepArg::Total => Step::Total,
            StepArg::Hour => Step::Hour,
            StepArg::Day => Step::Day,
            StepArg::Month => Step::Month,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CostsCommand {
    /// Compare costs with a provider's report, by day and model. Exit code 3 when something differs.
    #[command(
        after_help = "FILE is the JSON of OpenAI's /v1/organization/costs (grouped by line item) or of Anthropic's cost report, or CSV with \
                            columns for the day, the model and the amount.\n\nExample: weir costs compare november.csv --provider anthropic"
    )]
    Compare {
        /// The report.
        file: PathBuf,
        /// The provider that it is of, as events name it. Without it: all.
        #[arg(long)]
        provider: Option<String>,
    },
}
