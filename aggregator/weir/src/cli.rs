//! The command line: parses arguments, asks the running server or the files, and shows the answer.
mod access;
mod check;
mod explain;
mod keys;
mod operate;
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

use crate::config::Config;
use crate::schema::Subject;
use weir_billing::explain::Question;
use weir_billing::explain::period::Period;
use weir_billing::outbox::view::AdjustRequest;
use weir_billing::reconcile::ReconcileRequest;
use weir_ledger::view::{AnalysisQuery, UsageQuery};

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
    /// Show the ledger's numbers: seen, missing, counted, billed. Exit code 3 when they do not balance.
    Ledger(LedgerArgs),
    /// Look up single events.
    #[command(subcommand)]
    Events(EventsCommand),
    /// Import usage that no request reports, such as gigabyte-hours of storage, for meters to sum.
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
    /// Release rows whose reason for being held is fixed.
    #[arg(long)]
    retry_held: bool,
}

#[derive(Debug, Args)]
struct UsageArgs {
    /// Only this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Only this meter.
    #[arg(long)]
    meter: Option<String>,
    /// From this moment on (RFC 3339, UTC).
    #[arg(long, value_parser = parse_time)]
    from: Option<Timestamp>,
    /// Before this moment (RFC 3339, UTC).
    #[arg(long, value_parser = parse_time)]
    to: Option<Timestamp>,
    /// A row per hour.
    #[arg(long)]
    hourly: bool,
    /// By model, class, route, feature, prompt_version, environment, credential (one or more, with commas); for
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
    /// From this moment on (RFC 3339, UTC).
    #[arg(long, value_parser = parse_time)]
    from: Option<Timestamp>,
    /// Before this moment (RFC 3339, UTC).
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
    /// The reason; it is stored with your name.
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
    /// Check that Stripe has the configured meters, and list subscriptions whose periods begin in the middle of an
    /// hour. Exit code 3 when something is left to do.
    Setup {
        /// Create the missing meters. Without it nothing changes.
        #[arg(long)]
        apply: bool,
    },
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
        Err(error) => {
            eprintln!("weir: {error:#}");
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
            print!("{}", crate::schema::print(subject)?);
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
        Command::Readings(ReadingsCommand::Import { file, check }) => {
            readings::import(&load()?, &file, check, cli.json)
        }
        Command::Readings(ReadingsCommand::Get { id }) => readings::get(&load()?, &id),
        Command::Stripe(StripeCommand::Status) => stripe::show_status(&load()?, cli.json),
        Command::Stripe(StripeCommand::Setup { apply }) => stripe::setup(&load()?, apply, cli.json),
        Command::Reconcile(ReconcileArgs { from, to, customer }) => {
            reconcile::run(&load()?, &ReconcileRequest { from, to, customer }, cli.json)
        }
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

fn parse_time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "expected a time in UTC such as 2026-11-21T03:00:00Z".to_owned())
}
