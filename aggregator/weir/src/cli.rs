//! The command line: parses arguments, asks the running server or the files, and shows the answer.
mod access;
mod check;
mod cost;
mod explain;
mod finance;
mod keys;
mod operate;
mod prices;
mod quarantine;
mod readings;
mod rebuild;
mod reconcile;
mod render;
mod replay;
mod serve;
mod show;
mod stripe;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use weir_contract::Timestamp;

use finance::Shown;
use render::{complain, say};

use crate::config::Config;
use crate::schema::Subject;
use weir_billing::explain::Question;
use weir_billing::explain::period::Period;
use weir_billing::outbox::Hold;
use weir_billing::outbox::view::{AdjustRequest, RetryFilter, SettleRequest, Settlement};
use weir_billing::reconcile::ReconcileRequest;
use weir_ledger::view::{AnalysisQuery, QuarantineQuery, UsageQuery};
use weir_stripe::webhook::reports::SeenRequest;

/// Exit code of a command that succeeded.
pub const EXIT_DONE: u8 = 0;
/// Exit code of a command that failed; standard error has the cause.
pub const EXIT_FAILED: u8 = 1;
/// Exit code of an invalid command line; clap's own.
pub const EXIT_USAGE: u8 = 2;
/// Exit code if the work is done and something needs a person: held rows, numbers that do not balance, refused lines.
pub const EXIT_ATTENTION: u8 = 3;

const EXAMPLES: &str = "\
Examples:
  weir serve --config weir.yaml            accept events
  weir serve --config weir.yaml --check    only say whether the configuration is good
  weir usage --tenant acme --hourly        what acme used, hour by hour
  weir report                              send what is due to Stripe, now
  weir ledger --json                       the books, for a script

Exit codes: 0 done; 1 failed; 2 wrong command line; 3 done, and something needs a person.";

#[derive(Debug, Parser)]
#[command(name = "weir", version, about = "Counts what tenants use, and bills it", after_help = EXAMPLES)]
struct Cli {
    /// The server's configuration.
    #[arg(long, short, global = true, default_value = "weir.yaml", env = "WEIR_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Accept events, count them, serve the tenant directory.
    #[command(
        after_help = "Stops on SIGTERM and SIGINT, within 20 seconds. Prints one JSON line per log entry on standard error."
    )]
    Serve(ServeArgs),
    /// Close windows that are over and send their sums to Stripe.
    #[command(
        after_help = "Safe to run at any time and twice at once. Exit code 3 when rows are left: held, or waiting for another attempt."
    )]
    Report(ReportArgs),
    /// Correct a tenant's bill by adding an amount. The counted sum stays.
    #[command(
        after_help = "Example: weir adjust --tenant acme --meter requests --window 2026-11-21T03:00:00Z --by=-500 --why 'outage, #42'\n\
                            Exit code 3 when the correction is held."
    )]
    Adjust(AdjustArgs),
    /// Show the usage of tenants.
    #[command(
        after_help = "Example: weir usage --tenant acme --meter input_tokens --from 2026-11-01T00:00:00Z --hourly"
    )]
    Usage(UsageArgs),
    /// Print the usage of tenants as CSV: a row per hour, tenant and meter, or by dimensions.
    #[command(after_help = "Example: weir export --from 2026-11-01T00:00:00Z --to 2026-12-01T00:00:00Z > november.csv")]
    Export(ExportArgs),
    /// Copy log and ledger into a new directory. The server may run.
    Backup {
        /// The directory; it must not exist yet.
        into: PathBuf,
    },
    /// Put a backup into the data directory. The server must be stopped.
    #[command(
        after_help = "What was reported to Stripe after the backup was made is not in it: nothing of the hours before the \
                            restore is sent until Stripe's summaries say what is there already. `weir stripe status` shows it."
    )]
    Restore {
        /// The backup's directory.
        from: PathBuf,
        /// Move existing files of the data directory into `replaced`.
        #[arg(long)]
        replace: bool,
    },
    /// Manage single users of tenants.
    #[command(subcommand)]
    User(UserCommand),
    /// Show the actions of administrators, the latest first.
    Audit,
    /// Show the books: what was seen, missing, counted, billed. Exit code 3 when they do not balance, events are missing, or
    /// refused events are kept.
    Ledger(LedgerArgs),
    /// Look up single events.
    #[command(subcommand)]
    Events(EventsCommand),
    /// Look at refused events, and bring them in once what refused them is mended.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Import what no request says, such as gigabyte-hours of storage, for meters to sum.
    #[command(subcommand)]
    Readings(ReadingsCommand),
    /// Make and hash API keys and tokens.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Compare Stripe's sums with the outbox, hour by hour; print the differences and their causes.
    #[command(
        after_help = "Exit code 3 when something needs a person (held, refused_later, unexplained, not_compared); 0 when \
                            nothing differs, or only what is on its way (not_closed, pending, in_flight, lag). Changes nothing. \
                            Run it daily."
    )]
    Reconcile(ReconcileArgs),
    /// Show revenue, cost and margin, the worst margin first. Exit code 3 when one is negative.
    #[command(after_help = "Example: weir margin --by model --from 2026-11")]
    Margin(finance::args::MarginArgs),
    /// Replay the bill of a tenant's billing period, line by line.
    #[command(after_help = "Example: weir bill acme --at 2026-10")]
    Bill(finance::args::BillArgs),
    /// Review a week: who spends, what changed, and the likely driver of each change.
    #[command(after_help = "Example: weir review --week 2026-W47 --format html > review.html")]
    Review(finance::args::ReviewArgs),
    /// Compare price plans.
    #[command(subcommand)]
    Price(finance::args::PriceCommand),
    /// Compute revenue, cost and margin of the measured traffic under other conditions.
    #[command(after_help = "Example: weir whatif --mix gpt-5=30,gpt-5-mini=70 --cache 40")]
    Whatif(finance::args::WhatIfArgs),
    /// Compare own GPUs with the APIs, on the measured traffic.
    #[command(
        after_help = "Example: weir crossover --replicas 3 --hour 2.65 --tokens-per-second 2500 --utilisation 80 --svg crossover.svg"
    )]
    Crossover(finance::args::CrossoverArgs),
    /// Show how long tenants took to their first answer, and what they are worth against what it cost to win them. Exit code 3
    /// when one is below 3:1.
    Lifetime(finance::args::LifetimeArgs),
    /// Show what requests cost, by tenant, by dimensions or by model.
    Cost(cost::CostArgs),
    /// Show, check, compare and import prices, and compute costs again.
    #[command(subcommand)]
    Prices(prices::PricesCommand),
    /// The same as `weir prices reprice`.
    Reprice(prices::RepriceArgs),
    /// Break an invoice's line down into outbox rows, their windows and single events.
    #[command(after_help = "PERIOD is a month (2026-11), a day, an hour (2026-11-21T03), or two moments: \
                            2026-11-03T10:37:22Z/2026-12-03T10:37:22Z. Exit code 3 when a unit is neither in events nor in \
                            expired ones.\n\nExample: weir explain cus_Nab12 ai_input_tokens 2026-11 --csv > november.csv")]
    Explain(ExplainArgs),
    /// Set up Stripe, and show the state of reporting.
    #[command(subcommand)]
    Stripe(StripeCommand),
    /// Deliver events that gateways wrote to their logs.
    #[command(
        after_help = "Reads each FILE (- is standard input; gzipped or not), takes each word that starts with weir1. and is \
                            signed under `signing_key`, and hands the events to the ledger. Safe to run twice, and over \
                            rotated logs that overlap: events are counted once.\n\n\
                            Example: weir replay /var/log/envoy/access.log*"
    )]
    Replay(ReplayArgs),
    /// Check a configuration (the server's, the filter's, or an Envoy or Kong file with the filter's), and print each
    /// problem with its place and remedy.
    Check(CheckArgs),
    /// Print the JSON Schema of a configuration file, or the page that describes every setting.
    #[command(after_help = "Example: weir schema filter > filter.schema.json")]
    Schema {
        /// The description to print.
        subject: Subject,
    },
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Only check the configuration, its secrets and the tenants file.
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// Close windows as if it were this moment (2026-11-21T04:00:00Z, or `now+2h`). For tests and demonstrations.
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,
    /// Decide anew about rows that are held, once what held them is mended. All of them, or those that fit --row, --customer
    /// and --reason.
    #[arg(long)]
    retry_held: bool,
    /// Only this row; may be repeated.
    #[arg(long, value_name = "ROW", requires = "retry_held")]
    row: Vec<i64>,
    /// Only rows of this customer (`cus_…`).
    #[arg(long, requires = "retry_held")]
    customer: Option<String>,
    /// Only rows that are held for this reason, as `weir stripe status` names it.
    #[arg(long, requires = "retry_held", value_parser = parse_hold)]
    reason: Option<Hold>,
}

impl ReportArgs {
    fn retry_only(&self) -> RetryFilter {
        RetryFilter { rows: self.row.clone(), customer: self.customer.clone(), reason: self.reason }
    }
}

#[derive(Debug, Args)]
struct UsageArgs {
    /// Only this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Only this meter.
    #[arg(long)]
    meter: Option<String>,
    /// From this moment on (RFC 3339, UTC), or from the start of a month, day or hour: 2026-11.
    #[arg(long, value_parser = parse_time)]
    from: Option<Timestamp>,
    /// Before this moment (RFC 3339, UTC), or before the start of a month, day or hour: 2026-12.
    #[arg(long, value_parser = parse_time)]
    to: Option<Timestamp>,
    /// A row per hour.
    #[arg(long)]
    hourly: bool,
    /// By model, class, route, feature, prompt_version, environment, credential, plan (one or more, with commas); for
    /// analysis only.
    #[arg(long, value_name = "DIMENSIONS", conflicts_with_all = ["meter", "hourly"])]
    by: Option<String>,
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// Only this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Only this meter.
    #[arg(long)]
    meter: Option<String>,
    /// From this moment on (RFC 3339, UTC), or from the start of a month, day or hour: 2026-11.
    #[arg(long, value_parser = parse_time)]
    from: Option<Timestamp>,
    /// Before this moment (RFC 3339, UTC), or before the start of a month, day or hour: 2026-12.
    #[arg(long, value_parser = parse_time)]
    to: Option<Timestamp>,
    /// By some of the dimensions of `weir usage --by`, over all hours.
    #[arg(long, value_name = "DIMENSIONS", conflicts_with = "meter")]
    by: Option<String>,
}

#[derive(Debug, Args)]
struct AdjustArgs {
    /// The tenant.
    #[arg(long)]
    tenant: String,
    /// The meter.
    #[arg(long)]
    meter: String,
    /// A moment in the window that is corrected.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    window: Timestamp,
    /// The amount to add; negative to subtract.
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    by: i64,
    /// Why; it is kept with the name of your account on this machine.
    #[arg(long)]
    why: String,
}

impl AdjustArgs {
    fn request(self) -> AdjustRequest {
        let AdjustArgs { tenant, meter, window, by, why } = self;
        AdjustRequest { tenant, meter, window, value: by, why }
    }
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Remove a user's name from all stored single events. Sums stay.
    #[command(
        after_help = "Events that a gateway sends again afterwards bring the name back: forget once more after a replay."
    )]
    Forget {
        /// The user as events name them: `hmac:` and hex digits.
        user: String,
    },
}

#[derive(Debug, Args)]
struct LedgerArgs {
    #[command(subcommand)]
    command: Option<LedgerCommand>,
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
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
enum QuarantineCommand {
    /// List the refused events that are kept, the latest first. Exit code 3 when there are some.
    List(QuarantineArgs),
    /// Judge refused events again, and count those that are good now. Exit code 3 when some are still refused.
    #[command(
        after_help = "Conflicts (an id or number of another event) are left alone. Safe to run twice: events are counted once."
    )]
    Retry(QuarantineArgs),
}

#[derive(Debug, Args)]
struct QuarantineArgs {
    /// Only those refused for this reason, as the list names it.
    #[arg(long)]
    reason: Option<String>,
    /// Only those of this source.
    #[arg(long)]
    source: Option<String>,
}

impl QuarantineArgs {
    fn query(self) -> QuarantineQuery {
        QuarantineQuery { reason: self.reason, source: self.source }
    }
}

#[derive(Debug, Subcommand)]
enum EventsCommand {
    /// Print one event as received.
    Get {
        /// Its id.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
enum ReadingsCommand {
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

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a new key; print it once, with its hash.
    #[command(after_help = "Example: weir keys new --prefix sk_weir_")]
    New {
        /// The beginning of the key.
        #[arg(long, default_value = "sk_weir_")]
        prefix: String,
    },
    /// Print the SHA-256 of a key read from standard input.
    #[command(after_help = "Example: printf %s \"$KEY\" | weir keys hash")]
    Hash,
}

#[derive(Debug, Subcommand)]
enum StripeCommand {
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
    /// Look whether Stripe has the meters that the configuration names, and list subscriptions whose periods begin in the
    /// middle of an hour. Exit code 3 when something is left to do.
    Setup {
        /// Create the missing meters. Without it nothing changes.
        #[arg(long)]
        apply: bool,
    },
}

#[derive(Debug, Args)]
struct SettleArgs {
    /// Numbers of held rows.
    #[arg(required = true, value_name = "ROW")]
    rows: Vec<i64>,
    /// `invoiced`: billed by other means, such as an invoice item. `void`: not billed.
    #[arg(long = "as", value_name = "OUTCOME", value_parser = parse_settlement)]
    outcome: Settlement,
    /// The invoice or invoice item that bills it; may be left out of what is void.
    #[arg(long = "ref", value_name = "REF", default_value = "")]
    reference: String,
    /// Why; it is kept with your name.
    #[arg(long)]
    why: String,
}

impl SettleArgs {
    fn request(self) -> SettleRequest {
        let SettleArgs { rows, outcome, reference, why } = self;
        SettleRequest { rows, outcome, reference, why }
    }
}

#[derive(Debug, Args)]
struct ReconcileArgs {
    /// From this moment's hour on (RFC 3339, UTC). Without it: three days back.
    #[arg(long, value_parser = parse_time)]
    from: Option<Timestamp>,
    /// Before this moment's hour (RFC 3339, UTC). Without it: up to now.
    #[arg(long, value_parser = parse_time)]
    to: Option<Timestamp>,
    /// Only this customer (`cus_…`). The result is not kept for metrics.
    #[arg(long)]
    customer: Option<String>,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// Stripe's customer (`cus_…`), or a tenant.
    customer: String,
    /// Stripe's name of the meter, or weir's.
    meter: String,
    /// The invoice's period.
    #[arg(value_parser = Period::parse)]
    period: Period,
    /// Print CSV with one line per event; the column `amount` adds up to the amount billed.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// List single events as well.
    #[arg(long)]
    events: bool,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    /// Log files; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// Configuration files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) if render::is_broken_pipe(&error) => ExitCode::from(EXIT_DONE),
        Err(error) => {
            complain!("weir: {}", render::chain(&error));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<u8> {
    let load = || Config::load(&cli.config);
    match cli.command {
        Command::Serve(args) => serve::run(&cli.config, args.check),
        Command::Check(args) => check::run(&args.files),
        Command::Schema { subject } => {
            say!("{}", crate::schema::print(subject)?.trim_end_matches('\n'));
            Ok(EXIT_DONE)
        }
        Command::Keys(KeysCommand::New { prefix }) => keys::new(&prefix, cli.json),
        Command::Keys(KeysCommand::Hash) => keys::hash(cli.json),
        Command::Report(args) => show::report(&load()?, &args, cli.json),
        Command::Usage(UsageArgs { by: Some(by), tenant, from, to, .. }) => {
            show::analysis(&load()?, &AnalysisQuery { by, tenant, from, to }, cli.json)
        }
        Command::Usage(UsageArgs { tenant, meter, from, to, hourly, by: None }) => {
            show::usage(&load()?, &UsageQuery { tenant, meter, from, to, hourly }, cli.json)
        }
        Command::Export(ExportArgs { by: Some(by), tenant, from, to, .. }) => {
            operate::export_analysis(&load()?, &AnalysisQuery { by, tenant, from, to })
        }
        Command::Export(ExportArgs { tenant, meter, from, to, by: None }) => {
            operate::export_usage(&load()?, &UsageQuery { tenant, meter, from, to, hourly: true })
        }
        Command::Backup { into } => operate::backup(&load()?, &into, cli.json),
        Command::Restore { from, replace } => operate::restore(&load()?, &from, replace, cli.json),
        Command::User(UserCommand::Forget { user }) => operate::forget_user(&load()?, &user, cli.json),
        Command::Adjust(args) => operate::adjust(&load()?, &args.request(), cli.json),
        Command::Audit => operate::audit(&load()?, cli.json),
        Command::Ledger(LedgerArgs { command: None }) => show::ledger(&load()?, cli.json),
        Command::Ledger(LedgerArgs { command: Some(LedgerCommand::Rebuild { replace }) }) => {
            rebuild::run(&load()?, replace, cli.json)
        }
        Command::Events(EventsCommand::Get { id }) => show::event(&load()?, &id),
        Command::Quarantine(QuarantineCommand::List(args)) => quarantine::list(&load()?, &args.query(), cli.json),
        Command::Quarantine(QuarantineCommand::Retry(args)) => quarantine::retry(&load()?, &args.query(), cli.json),
        Command::Readings(ReadingsCommand::Import { file, check }) => {
            readings::import(&load()?, &file, check, cli.json)
        }
        Command::Readings(ReadingsCommand::Get { id }) => readings::get(&load()?, &id),
        Command::Stripe(StripeCommand::Status) => stripe::show_status(&load()?, cli.json),
        Command::Stripe(StripeCommand::Settle(args)) => stripe::settle(&load()?, &args.request(), cli.json),
        Command::Stripe(StripeCommand::Seen { why }) => stripe::seen(&load()?, &SeenRequest { why }, cli.json),
        Command::Stripe(StripeCommand::Setup { apply }) => stripe::setup(&load()?, apply, cli.json),
        Command::Reconcile(ReconcileArgs { from, to, customer }) => {
            reconcile::run(&load()?, &ReconcileRequest { from, to, customer }, cli.json)
        }
        Command::Margin(args) => finance::margin(&load()?, &args.query(), Shown::of(cli.json, args.csv)),
        Command::Bill(args) => finance::bill(&load()?, &args.query(), Shown::of(cli.json, args.csv)),
        Command::Review(args) => {
            finance::review(&load()?, &args.query(), args.format.into(), Shown::of(cli.json, args.csv))
        }
        Command::Price(finance::args::PriceCommand::Compare(args)) => {
            finance::compare(&load()?, &args.query(), Shown::of(cli.json, args.csv))
        }
        Command::Whatif(args) => finance::whatif(&load()?, &args.query(), Shown::of(cli.json, args.csv)),
        Command::Crossover(args) => {
            finance::crossover(&load()?, &args.query(), args.svg.as_deref(), Shown::of(cli.json, args.csv))
        }
        Command::Lifetime(args) => finance::lifetime(&load()?, Shown::of(cli.json, args.csv)),
        Command::Cost(args) => cost::run(&load()?, args, cli.json),
        Command::Prices(command) => prices::run(load, command, cli.json),
        Command::Reprice(args) => prices::reprice(&load()?, args, cli.json),
        Command::Explain(ExplainArgs { customer, meter, period, csv, events }) => {
            let shown = match (csv, cli.json) {
                (true, _) => explain::Shown::Csv,
                (false, true) => explain::Shown::Json,
                (false, false) => explain::Shown::Table { events },
            };
            explain::run(&load()?, &Question { customer, meter, period }, shown)
        }
        Command::Replay(args) => replay::run(&load()?, &args.files, cli.json),
    }
}

fn parse_settlement(text: &str) -> Result<Settlement, String> {
    let known = [Settlement::Invoiced, Settlement::Void];
    known.into_iter().find(|known| known.as_str() == text).ok_or_else(|| "expected invoiced or void".to_owned())
}

fn parse_hold(text: &str) -> Result<Hold, String> {
    let names = || Hold::ALL.map(Hold::as_str).join(", ");
    Hold::ALL.into_iter().find(|hold| hold.as_str() == text).ok_or_else(|| format!("expected one of {}", names()))
}

/// A moment: RFC 3339 in UTC, or the first one of a month, day or hour.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    let first = || Period::parse(text).ok().filter(|_| !text.contains('/')).map(|period| period.from);
    let wrong = "expected a time in UTC such as 2026-11-21T03:00:00Z, or a month, day or hour: 2026-11, 2026-11-21, 2026-11-21T03";
    Timestamp::parse(text).or_else(first).ok_or_else(|| wrong.to_owned())
}
