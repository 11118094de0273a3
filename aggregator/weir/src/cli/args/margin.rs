//! Arguments of the commands about money.
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use weir_contract::Timestamp;
use weir_money::document::Form;

use super::parse::parse_time;
use crate::finance::query::{BillQuery, CompareQuery, CrossoverQuery, MarginQuery, ReviewQuery, WhatIfQuery};

/// The commands.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum FinanceCommand {
    /// Show revenue, cost and margin, the worst margin first. Exit code 3 when one is negative.
    #[command(
        after_help = "Examples: weir margin --by model --from 2026-11\n          weir margin --by flag --flag use-claude"
    )]
    Margin(MarginArgs),
    /// Replay the bill of a tenant's billing period, line by line.
    #[command(after_help = "Example: weir bill acme --at 2026-10")]
    Bill(BillArgs),
    /// Review a week: who spends, what changed, and the likely driver of each change.
    #[command(after_help = "Example: weir review --week 2026-W47 --format html > review.html")]
    Review(ReviewArgs),
    /// Compare price plans.
    #[command(subcommand)]
    Price(PriceCommand),
    /// Compute revenue, cost and margin of the measured traffic under other conditions.
    #[command(after_help = "Example: weir whatif --mix gpt-5=30,gpt-5-mini=70 --cache 40")]
    Whatif(WhatIfArgs),
    /// Compare own GPUs with the APIs, on the measured traffic.
    #[command(
        after_help = "Example: weir crossover --replicas 3 --hour 2.65 --tokens-per-second 2500 --utilisation 80 --svg crossover.svg"
    )]
    Crossover(CrossoverArgs),
    /// Show how long tenants took to their first answer, and what they are worth against what it cost to win them. Exit code 3
    /// when one is below 3:1.
    Lifetime(LifetimeArgs),
}

/// A span of time.
#[derive(Clone, Copy, Debug, Args)]
pub(in crate::cli) struct SpanArgs {
    /// From this moment on (RFC 3339, UTC), or from the start of a month, day or hour: 2026-11.
    #[arg(long, value_parser = parse_time)]
    from: Option<Timestamp>,
    /// Before this moment (RFC 3339, UTC), or before the start of a month, day or hour: 2026-12.
    #[arg(long, value_parser = parse_time)]
    to: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MarginArgs {
    /// What rows stand for: tenant, plan, feature, prompt_version, model, class, route, environment, credential, or flag.
    #[arg(long, default_value = "tenant")]
    by: String,
    /// The feature flag whose values rows stand for, with --by flag.
    #[arg(long, value_name = "FLAG")]
    flag: Option<String>,
    /// Only this tenant.
    #[arg(long)]
    tenant: Option<String>,
    #[command(flatten)]
    span: SpanArgs,
    /// Print CSV.
    #[arg(long, conflicts_with = "json")]
    pub(in crate::cli) csv: bool,
}

impl MarginArgs {
    pub(in crate::cli) fn query(&self) -> MarginQuery {
        let SpanArgs { from, to } = self.span;
        MarginQuery { by: Some(self.by.clone()), flag: self.flag.clone(), tenant: self.tenant.clone(), from, to }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BillArgs {
    /// The tenant.
    tenant: String,
    /// A moment of the billing period (RFC 3339, UTC), or a month or day. Without it: now.
    #[arg(long, value_parser = parse_time)]
    at: Option<Timestamp>,
    /// Print CSV.
    #[arg(long, conflicts_with = "json")]
    pub(in crate::cli) csv: bool,
}

impl BillArgs {
    pub(in crate::cli) fn query(&self) -> BillQuery {
        BillQuery { tenant: self.tenant.clone(), at: self.at }
    }
}

/// Forms of the review.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum Format {
    /// For a terminal.
    Text,
    /// Markdown.
    Markdown,
    /// A page of its own.
    Html,
}

impl From<Format> for Form {
    fn from(format: Format) -> Form {
        match format {
            Format::Text => Form::Text,
            Format::Markdown => Form::Markdown,
            Format::Html => Form::Html,
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ReviewArgs {
    /// The week, such as 2026-W47, or one of its days. Without it: the last one that is over.
    #[arg(long)]
    week: Option<String>,
    /// The time zone in which weeks begin, such as Europe/Berlin.
    #[arg(long, default_value = "UTC", value_name = "ZONE")]
    timezone: String,
    /// The currency. Without it: the one with the greatest cost.
    #[arg(long)]
    currency: Option<String>,
    /// The form of the report.
    #[arg(long, default_value = "text", conflicts_with = "json")]
    pub(in crate::cli) format: Format,
    /// Print CSV.
    #[arg(long, conflicts_with_all = ["json", "format"])]
    pub(in crate::cli) csv: bool,
}

impl ReviewArgs {
    pub(in crate::cli) fn query(&self) -> ReviewQuery {
        let ReviewArgs { week, timezone, currency, .. } = self;
        ReviewQuery { week: week.clone(), timezone: Some(timezone.clone()), currency: currency.clone(), form: None }
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PriceCommand {
    /// Price a tenant's real usage under several price plans: revenue, margin, who pays more, how steady the bills are.
    #[command(after_help = "Example: weir price compare --tenant acme --plans per-token,credits,tiered --from 2026-08")]
    Compare(CompareArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CompareArgs {
    /// The tenant.
    #[arg(long)]
    tenant: String,
    /// Price plans, with commas between them. Without it: all.
    #[arg(long)]
    plans: Option<String>,
    #[command(flatten)]
    span: SpanArgs,
    /// Print CSV.
    #[arg(long, conflicts_with = "json")]
    pub(in crate::cli) csv: bool,
}

impl CompareArgs {
    pub(in crate::cli) fn query(&self) -> CompareQuery {
        let SpanArgs { from, to } = self.span;
        CompareQuery { tenant: self.tenant.clone(), plans: self.plans.clone(), from, to }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WhatIfArgs {
    /// Only this tenant.
    #[arg(long)]
    tenant: Option<String>,
    #[command(flatten)]
    span: SpanArgs,
    /// Shares of requests by model, in percent: large=30,small=70.
    #[arg(long, value_name = "MODEL=PERCENT,…")]
    mix: Option<String>,
    /// Prices of models by pattern, in percent of today's: gpt-*=80.
    #[arg(long, value_name = "MODEL=PERCENT,…")]
    price: Option<String>,
    /// The share of input from a cache, in percent.
    #[arg(long, value_name = "PERCENT")]
    cache: Option<String>,
    /// The most that a tenant costs per calendar month.
    #[arg(long, value_name = "AMOUNT")]
    cap: Option<String>,
    /// Revenue in percent of today's.
    #[arg(long, value_name = "PERCENT")]
    revenue: Option<String>,
    /// The currency. Without it: the one with the greatest cost.
    #[arg(long)]
    currency: Option<String>,
    /// Print CSV.
    #[arg(long, conflicts_with = "json")]
    pub(in crate::cli) csv: bool,
}

impl WhatIfArgs {
    pub(in crate::cli) fn query(&self) -> WhatIfQuery {
        let SpanArgs { from, to } = self.span;
        WhatIfQuery {
            tenant: self.tenant.clone(),
            from,
            to,
            mix: self.mix.clone(),
            price: self.price.clone(),
            cache: self.cache.clone(),
            cap: self.cap.clone(),
            revenue: self.revenue.clone(),
            currency: self.currency.clone(),
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CrossoverArgs {
    /// Only requests of these models, by pattern, with commas between them.
    #[arg(long)]
    models: Option<String>,
    #[command(flatten)]
    span: SpanArgs,
    /// Replicas that run at least.
    #[arg(long, default_value_t = 1)]
    replicas: u64,
    /// The price of a replica per hour.
    #[arg(long, value_name = "AMOUNT", required_unless_present = "month", conflicts_with = "month")]
    hour: Option<String>,
    /// The price of all replicas per month.
    #[arg(long, value_name = "AMOUNT")]
    month: Option<String>,
    /// Tokens per second of a replica at full use.
    #[arg(long, value_name = "TOKENS", required_unless_present = "capacity", conflicts_with = "capacity")]
    tokens_per_second: Option<u64>,
    /// How much of it is used, in percent.
    #[arg(long, value_name = "PERCENT", default_value = "100")]
    utilisation: String,
    /// Requests per month that all replicas carry.
    #[arg(long, value_name = "REQUESTS")]
    capacity: Option<u64>,
    /// Requests per month, instead of those that were measured.
    #[arg(long, requires = "api_cost")]
    requests: Option<u64>,
    /// What an API charges for --requests.
    #[arg(long, value_name = "AMOUNT", requires = "requests")]
    api_cost: Option<String>,
    /// Tokens of a request, with --requests. Without it: 1000.
    #[arg(long, value_name = "TOKENS", requires = "requests")]
    tokens_per_request: Option<u64>,
    /// The currency. Without it: the one with the greatest cost.
    #[arg(long)]
    currency: Option<String>,
    /// Write the curve to this file.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) svg: Option<PathBuf>,
    /// Print the points of the curve as CSV.
    #[arg(long, conflicts_with = "json")]
    pub(in crate::cli) csv: bool,
}

impl CrossoverArgs {
    pub(in crate::cli) fn query(&self) -> CrossoverQuery {
        let SpanArgs { from, to } = self.span;
        CrossoverQuery {
            models: self.models.clone(),
            from,
            to,
            replicas: Some(self.replicas),
            hour: self.hour.clone(),
            month: self.month.clone(),
            tokens_per_second: self.tokens_per_second,
            utilisation: Some(self.utilisation.clone()),
            capacity: self.capacity,
            requests: self.requests,
            api_cost: self.api_cost.clone(),
            tokens_per_request: self.tokens_per_request,
            currency: self.currency.clone(),
            form: None,
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct LifetimeArgs {
    /// Print CSV.
    #[arg(long, conflicts_with = "json")]
    pub(in crate::cli) csv: bool,
}
