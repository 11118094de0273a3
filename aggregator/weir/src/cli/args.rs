//! The arguments of every command, and their help texts.
pub(super) mod alerts;
pub(super) mod billing;
pub(super) mod borders;
pub(super) mod budgets;
pub(super) mod byok;
pub(super) mod counting;
pub(super) mod deploys;
pub(super) mod flags;
pub(super) mod margin;
pub(super) mod migrate;
pub(super) mod money;
mod parse;
mod placement;
pub(super) mod tenants;
pub(super) mod tokens;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::cli::check::CheckedFor;
use crate::cli::gateway::GatewayCommand;
use crate::forget::ForgetRequest;
use crate::schema::Subject;
use alerts::AlertsCommand;
use billing::{AdjustArgs, ExplainArgs, ReconcileArgs, ReportArgs, StripeCommand};
use borders::AuditArgs;
use budgets::BudgetsCommand;
use byok::ByokCommand;
use counting::{
    EventsCommand, ExportArgs, LedgerArgs, LimitsArgs, QuarantineCommand, ReadingsCommand, TailArgs, TopArgs, UsageArgs,
};
use deploys::DeploysCommand;
use flags::FlagsCommand;
use margin::FinanceCommand;
use migrate::MigrateArgs;
use money::{CostArgs, CostsCommand, PricesCommand, RepriceArgs};
use tenants::{KeyCreateArgs, RotateArgs, TenantsCommand, WhichKey};
use tokens::TokensCommand;
use weir_contract::TenantId;

const EXAMPLES: &str = "\
Examples:
  weir serve --config weir.yaml            accept events
  weir serve --config weir.yaml --check    only say whether the configuration is good
  weir status                              how everything stands
  weir usage --tenant acme --hourly        what acme used, hour by hour
  weir report                              send what is due to Stripe, now
  weir ledger --json                       the books, for a script

Exit codes: 0 done; 1 failed; 2 wrong command line; 3 done, and something needs a person.";

#[derive(Debug, Parser)]
#[command(name = "weir", version, about = "Counts what tenants use, and bills it", after_help = EXAMPLES)]
pub(super) struct Cli {
    /// The server's configuration.
    #[arg(long, short, global = true, default_value = "weir.yaml", env = "WEIR_CONFIG", value_name = "FILE")]
    pub(super) config: PathBuf,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
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
    /// Copy the ledger into a PostgreSQL, or from there into a file, and compare both. The server must be stopped. An interrupted copy goes
    /// on where it was.
    #[command(
        after_help = "Example: weir migrate --to postgres://weir@db.internal/weir --password-env WEIR_POSTGRES_PASSWORD\n         weir migrate --to file"
    )]
    Migrate(MigrateArgs),
    /// Show on one screen how everything stands: gateways, counting, billing, and what needs a person. Exit code 3 when something
    /// does.
    Status,
    /// Show the models of the catalogue: prices, and requests, errors and latencies of the last 15 minutes; and which catalogue each
    /// gateway has.
    Models,
    /// Create, change and list the tenants that are kept in the database (`tenants_database: true`).
    #[command(subcommand)]
    Tenants(TenantsCommand),
    /// Store, list, remove and rotate tenants' own keys at providers.
    #[command(subcommand)]
    Byok(ByokCommand),
    /// List feature flags, set their rules, and take them back.
    #[command(subcommand)]
    Flags(FlagsCommand),
    /// Make, list and revoke tokens of the API.
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// Manage single users of tenants.
    #[command(subcommand)]
    User(UserCommand),
    /// Show the actions of administrators, the latest first; or what concerned the borders between tenants.
    Audit(AuditArgs),
    /// Show the books: what was seen, missing, counted, billed. Exit code 3 when they do not balance, events are missing, or
    /// refused events are kept.
    Ledger(LedgerArgs),
    /// Look up single events.
    #[command(subcommand)]
    Events(EventsCommand),
    /// Show events as the event log takes them, refused ones and repeats among them. Ends with Ctrl-C.
    #[command(
        after_help = "Reads the log itself, wherever it is, beside a running server. With --json it prints each \
                            event as received, one a line.\n\n\
                            Example: weir tail --tenant acme --model 'gpt-4o*' --json"
    )]
    Tail(TailArgs),
    /// Show live which tenants and models are busy: requests, failures, tokens. Ends with Ctrl-C.
    #[command(
        after_help = "Reads the log itself, wherever it is, beside a running server. The numbers are about the last \
                            minute. With --json it prints an object a screen.\n\nExample: weir top --every 5 --rows 20"
    )]
    Top(TopArgs),
    /// Show the limits of the whole fleet: what is left, and which gateway holds how much.
    Limits(LimitsArgs),
    /// List refused events, and count them after the cause of the refusal is fixed.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Import what no request says, such as gigabyte-hours of storage, for meters to sum.
    #[command(subcommand)]
    Readings(ReadingsCommand),
    /// Create, rotate and revoke tenants' API keys; make and hash keys for a tenants file.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Compare Stripe's sums with the outbox, hour by hour; print the differences and their causes.
    #[command(
        after_help = "Exit code 3 when something needs a person (held, refused_later, unexplained, not_compared); 0 when \
                            nothing differs, or only what is on its way (not_closed, pending, in_flight, lag). Changes nothing. \
                            Run it daily."
    )]
    Reconcile(ReconcileArgs),
    /// Show how much tenants have used of their budgets, and raise or pause them.
    #[command(subcommand)]
    Budgets(BudgetsCommand),
    /// Show who is told of budgets' stages, and test it.
    #[command(subcommand)]
    Alerts(AlertsCommand),
    /// Mark deploys, around which alerts compare the cost of a request.
    #[command(subcommand)]
    Deploys(DeploysCommand),
    /// Show what requests cost, by tenant, by dimensions or by model.
    Cost(CostArgs),
    /// Compare costs with what providers charged.
    #[command(subcommand)]
    Costs(CostsCommand),
    /// Show, check, compare and import prices, and compute costs again.
    #[command(subcommand)]
    Prices(PricesCommand),
    /// The same as `weir prices reprice`.
    Reprice(RepriceArgs),
    #[command(flatten)]
    Finance(FinanceCommand),
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
    /// Say what a gateway or the server would do with a configuration file: print each problem with its place and remedy.
    #[command(
        after_help = "FILE (- is standard input) is the server's configuration, a tenants file, the filter's configuration, or a file \
                            of Envoy, Kong, Istio, Envoy Gateway or Kubernetes with any of these in it; it may have several documents.\n\n\
                            Exit code 0 when all files are good; 3 with warnings only: it runs, and something in it costs more than \
                            it seems to; 1 with errors: it is refused, or does not do what it says.\n\n\
                            Examples: weir check --json envoy.yaml tenants.yaml\n          \
                            weir check --gateway kong filter.yaml"
    )]
    Check(CheckArgs),
    /// Write Envoy's configuration for a catalogue of models, or compare a file with it.
    #[command(subcommand)]
    Gateway(GatewayCommand),
    /// Print the JSON Schema of a configuration file, or the page that describes every setting.
    #[command(after_help = "Example: weir schema filter > filter.schema.json")]
    Schema {
        /// The description to print.
        subject: Subject,
    },
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Only check the configuration, its secrets and the tenants file.
    #[arg(long)]
    pub(super) check: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Remove a user's name from all stored single events, and from those that come later. Sums stay.
    #[command(
        after_help = "Needs the gateways' `events.user_key` among `user_keys` of the configuration. The user is remembered: a restored \
                            backup and replayed or late events lose the name again, within a minute.\n\n\
                            Example: weir user forget --tenant acme --user ann@example.com"
    )]
    Forget(ForgetArgs),
}

#[derive(Debug, Args)]
pub(super) struct ForgetArgs {
    /// The user as events name them, instead of --tenant and --user: `hmac:` and hex digits.
    #[arg(value_name = "HMAC", required_unless_present = "user", conflicts_with_all = ["user", "tenant"])]
    hmac: Option<String>,
    /// The user as requests name them.
    #[arg(long, value_name = "NAME", requires = "tenant")]
    user: Option<String>,
    /// The tenant whose user this is.
    #[arg(long, requires = "user")]
    tenant: Option<String>,
}

impl ForgetArgs {
    pub(super) fn request(self) -> ForgetRequest {
        ForgetRequest { user: self.hmac, name: self.user, tenant: self.tenant }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key of a tenant in the database, and print it once.
    #[command(after_help = "Example: weir keys create acme --environment production")]
    Create(KeyCreateArgs),
    /// List a tenant's keys, without the keys themselves.
    List {
        /// The tenant.
        tenant: TenantId,
    },
    /// Make the successor of a key, print it once, and let the old key expire.
    #[command(after_help = "Example: weir keys rotate acme key-1 --overlap 24h")]
    Rotate(RotateArgs),
    /// Refuse a key from now on. Gateways know within a second.
    Revoke(WhichKey),
    /// Make a new key for a tenants file; print it once, with its hash.
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

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// Log files; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Configuration files; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// The gateway that is to run a filter's configuration which stands alone in its file: says what of it that gateway cannot keep.
    #[arg(long, value_name = "GATEWAY", default_value = "envoy")]
    pub(super) gateway: CheckedFor,
}
