//! The arguments of the commands that show and bring in what is counted.
use std::path::PathBuf;

use clap::{Args, Subcommand};
use weir_contract::Timestamp;
use weir_ledger::view::QuarantineQuery;

use super::parse::parse_time;
use crate::cost_events::{EventCostQuery, LIMIT_DEFAULT};
use crate::leases::view::LimitsQuery;
use crate::lookup::EventsQuery;

#[derive(Debug, Args)]
pub(in crate::cli) struct UsageArgs {
    /// Only this tenant.
    #[arg(long)]
    pub(in crate::cli) tenant: Option<String>,
    /// Only this meter.
    #[arg(long)]
    pub(in crate::cli) meter: Option<String>,
    /// From this moment on (RFC 3339, UTC), or from the start of a month, day or hour: 2026-11.
    #[arg(long, value_parser = parse_time)]
    pub(in crate::cli) from: Option<Timestamp>,
    /// Before this moment (RFC 3339, UTC), or before the start of a month, day or hour: 2026-12.
    #[arg(long, value_parser = parse_time)]
    pub(in crate::cli) to: Option<Timestamp>,
    /// A row per hour.
    #[arg(long)]
    pub(in crate::cli) hourly: bool,
    /// By model, class, route, feature, prompt_version, environment, credential, plan (one or more, with commas); for
    /// analysis only.
    #[arg(long, value_name = "DIMENSIONS", conflicts_with_all = ["meter", "hourly"])]
    pub(in crate::cli) by: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    /// Only this tenant.
    #[arg(long)]
    pub(in crate::cli) tenant: Option<String>,
    /// Only this meter.
    #[arg(long)]
    pub(in crate::cli) meter: Option<String>,
    /// From this moment on (RFC 3339, UTC), or from the start of a month, day or hour: 2026-11.
    #[arg(long, value_parser = parse_time)]
    pub(in crate::cli) from: Option<Timestamp>,
    /// Before this moment (RFC 3339, UTC), or before the start of a month, day or hour: 2026-12.
    #[arg(long, value_parser = parse_time)]
    pub(in crate::cli) to: Option<Timestamp>,
    /// By some of the dimensions of `weir usage --by`, over all hours.
    #[arg(long, value_name = "DIMENSIONS", conflicts_with = "meter")]
    pub(in crate::cli) by: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct LedgerArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: Option<LedgerCommand>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum LedgerCommand {
    /// Count the whole event log again and compare. Exit code 3 when the numbers differ.
    #[command(
        after_help = "The server must be stopped. Nothing changes unless --replace is given; the outbox is kept then, \
                            and the old ledger stays beside the new one."
    )]
    Rebuild {
        /// Replace the existing ledger by the rebuilt one.
        #[arg(long)]
        replace: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum QuarantineCommand {
    /// List the refused events that are kept, the latest first. Exit code 3 when there are some.
    List(QuarantineArgs),
    /// Judge refused events again, and count those that are good now. Exit code 3 when some are still refused.
    #[command(
        after_help = "Conflicts (an id or number of another event) are left alone. Safe to run twice: events are counted once."
    )]
    Retry(QuarantineArgs),
    /// Let refused events go that nobody needs: they are listed and counted no more. Who did so and why stays in `weir audit`.
    #[command(
        after_help = "Their numbers stay known as refused; nothing of them is ever billed. All refused events, or those that fit \
                            --reason and --source.\n\nExample: weir quarantine drop --reason malformed --why 'a scanner'"
    )]
    Drop {
        #[command(flatten)]
        which: QuarantineArgs,
        /// Why they need not be counted.
        #[arg(long)]
        why: String,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct QuarantineArgs {
    /// Only those refused for this reason, as the list names it.
    #[arg(long)]
    pub(in crate::cli) reason: Option<String>,
    /// Only those of this source.
    #[arg(long)]
    pub(in crate::cli) source: Option<String>,
}

impl QuarantineArgs {
    pub(in crate::cli) fn query(self) -> QuarantineQuery {
        QuarantineQuery { reason: self.reason, source: self.source }
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum EventsCommand {
    /// Print one event as received.
    Get {
        /// Its id.
        id: String,
    },
    /// Find events by the id of the request, the answer or the trace; at most 100. Exit code 3 when there is none.
    #[command(
        after_help = "Reads the event log from --from to --to, by the time of receipt; without them all of it, which takes seconds for \
                            each gigabyte. Refused events and repeats are among those found.\n\n\
                            Example: weir events find chatcmpl-9f2 --from 2026-11-21"
    )]
    Find(FindArgs),
    /// List the events that were counted, each with its cost: those behind a row of `weir cost` or `weir margin`.
    #[command(
        after_help = "In the order of the log. Without --csv a page of --limit events; the last line says how to go on. Events that the \
                            log has pruned are gone, which is said; their sums stand. Prints --json and --csv, too; CSV lists all.\n\n\
                            Example: weir events list --tenant acme --model gpt-4o --from 2026-11"
    )]
    List(Box<ListArgs>),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    /// Only this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// From this moment on (RFC 3339, UTC), or from the start of a month, day or hour: 2026-11.
    #[arg(long, value_parser = parse_time)]
    from: Option<Timestamp>,
    /// Before this moment (RFC 3339, UTC), or before the start of a month, day or hour: 2026-12.
    #[arg(long, value_parser = parse_time)]
    to: Option<Timestamp>,
    /// Only this model, as sums name it; "(none)" for requests without one. The same for the other dimensions.
    #[arg(long)]
    model: Option<String>,
    /// Only this class.
    #[arg(long)]
    class: Option<String>,
    /// Only this route.
    #[arg(long)]
    route: Option<String>,
    /// Only this feature.
    #[arg(long)]
    feature: Option<String>,
    /// Only this prompt version.
    #[arg(long)]
    prompt_version: Option<String>,
    /// Only this environment.
    #[arg(long)]
    environment: Option<String>,
    /// Only this credential.
    #[arg(long)]
    credential: Option<String>,
    /// Only tenants that had this plan then.
    #[arg(long)]
    plan: Option<String>,
    /// Only requests that saw this feature flag as true, or with a value: use-claude, or use-claude=?0 for false.
    #[arg(long)]
    flag: Option<String>,
    /// Only requests that used something without a price.
    #[arg(long)]
    unpriced: bool,
    /// Only requests that failed.
    #[arg(long)]
    failed: bool,
    /// Go on after a page: the cursor that it ended with.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Events of a page, at most 1000.
    #[arg(long, default_value_t = LIMIT_DEFAULT, conflicts_with = "csv")]
    limit: usize,
    /// Print CSV, all pages.
    #[arg(long, conflicts_with = "json")]
    pub(in crate::cli) csv: bool,
}

impl ListArgs {
    pub(in crate::cli) fn query(self) -> EventCostQuery {
        EventCostQuery {
            tenant: self.tenant,
            from: self.from,
            to: self.to,
            model: self.model,
            class: self.class,
            route: self.route,
            feature: self.feature,
            prompt_version: self.prompt_version,
            environment: self.environment,
            credential: self.credential,
            plan: self.plan,
            flag: self.flag,
            unpriced: self.unpriced,
            failed: self.failed,
            after: self.after,
            limit: Some(self.limit),
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct FindArgs {
    /// The gateway's name for the request (`x-request-id`), the provider's name for the answer (`chatcmpl-…`), or the trace's
    /// id (`traceparent`).
    id: String,
    /// Received from this moment on (RFC 3339, UTC), or from the start of a month, day or hour.
    #[arg(long, value_parser = parse_time)]
    from: Option<Timestamp>,
    /// Received before this moment, or before the start of a month, day or hour.
    #[arg(long, value_parser = parse_time)]
    to: Option<Timestamp>,
}

impl FindArgs {
    pub(in crate::cli) fn query(self) -> EventsQuery {
        let FindArgs { id, from, to } = self;
        EventsQuery { id, from, to }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TailArgs {
    /// Only this tenant.
    #[arg(long)]
    pub(in crate::cli) tenant: Option<String>,
    /// Only this type: `weir.usage.v1`, or `usage` for short.
    #[arg(long = "type", value_name = "TYPE")]
    pub(in crate::cli) kind: Option<String>,
    /// Only this model, as sent or as it answered; `*` at the end stands for any text.
    #[arg(long)]
    pub(in crate::cli) model: Option<String>,
    /// Begin with events received from this moment on, not with the next one.
    #[arg(long, value_parser = parse_time)]
    pub(in crate::cli) from: Option<Timestamp>,
    /// End after this many events.
    #[arg(long, value_name = "NUMBER")]
    pub(in crate::cli) count: Option<u64>,
    /// End at the end of the log.
    #[arg(long)]
    pub(in crate::cli) no_follow: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TopArgs {
    /// Seconds between two screens.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(in crate::cli) every: u64,
    /// The tenants, and the models, that are shown.
    #[arg(long, value_name = "NUMBER", default_value_t = 15)]
    pub(in crate::cli) rows: usize,
    /// End after this many screens.
    #[arg(long, value_name = "NUMBER")]
    pub(in crate::cli) count: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ReadingsCommand {
    /// Import the readings of a file. One error refuses the whole file; it is shown with line and column.
    #[command(
        after_help = "FILE is CSV with a header (id,tenant,name,time,amount in any order), or JSON objects with these fields, \
                            one a line; its name ends in .csv, .ndjson or .jsonl. Amounts are decimals with at most six places. Safe to \
                            run twice: a reading is known by its id and counted once.\n\n\
                            Exit code 3 when readings were refused: too old, too far ahead, or an id that was taken with \
                            another content.\n\nExample: weir readings import storage-2026-11-21.csv"
    )]
    Import {
        /// The file.
        file: PathBuf,
        /// Only check the file.
        #[arg(long)]
        check: bool,
    },
    /// Print one reading.
    Get {
        /// Its id.
        id: String,
    },
}

/// `weir limits`.
#[derive(Debug, Args)]
pub(in crate::cli) struct LimitsArgs {
    /// Only those of this tenant.
    #[arg(long, conflicts_with = "pool")]
    tenant: Option<String>,
    /// Only those of this pool.
    #[arg(long)]
    pool: Option<String>,
}

impl LimitsArgs {
    /// What is asked.
    pub(in crate::cli) fn query(self) -> LimitsQuery {
        LimitsQuery { tenant: self.tenant, pool: self.pool }
    }
}
