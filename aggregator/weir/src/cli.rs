//! The command line: parses arguments, asks the running server or the files, and shows the answer.
mod access;
mod alerts;
mod args;
mod borders;
mod budgets;
mod byok;
mod check;
mod cost;
mod cost_events;
mod costs;
mod deploys;
mod explain;
mod finance;
mod flags;
mod gateway;
mod keys;
mod limits;
mod migrate;
mod models;
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
mod status;
mod stripe;
mod tail;
mod tenants;
mod tokens;
mod top;

use std::process::ExitCode;

use clap::Parser;
use weir_billing::reconcile::ReconcileRequest;
use weir_ledger::view::{AnalysisQuery, UsageQuery};
use weir_stripe::webhook::reports::SeenRequest;

use args::billing::{ReconcileArgs, StripeCommand};
use args::borders::{AuditArgs, AuditCommand};
use args::counting::{
    EventsCommand, ExportArgs, LedgerArgs, LedgerCommand, QuarantineCommand, ReadingsCommand, UsageArgs,
};
use args::{Cli, Command, KeysCommand, UserCommand};
use render::{complain, say};
use show::ever;

use crate::config::Config;

/// Exit code of a command that succeeded.
pub(crate) const EXIT_DONE: u8 = 0;
/// Exit code of a command that failed; standard error has the cause.
pub(crate) const EXIT_FAILED: u8 = 1;
/// Exit code if the work is done and something needs a person: held rows, numbers that do not balance, refused lines.
pub(crate) const EXIT_ATTENTION: u8 = 3;

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
    let asking = || access::load(&cli.config);
    match cli.command {
        Command::Serve(args) => serve::run(&cli.config, args.check),
        Command::Check(args) => check::run(&args.files, args.gateway, cli.json),
        Command::Gateway(command) => gateway::run(command),
        Command::Schema { subject } => {
            say!("{}", crate::schema::print(subject)?.trim_end_matches('\n'));
            Ok(EXIT_DONE)
        }
        Command::Keys(command) => run_keys(asking, command, cli.json),
        Command::Byok(command) => byok::run(&load()?, command, cli.json),
        Command::Flags(command) => flags::run(&asking()?, command, cli.json),
        Command::Tokens(command) => tokens::run(&asking()?, command, cli.json),
        Command::Tenants(command) => tenants::run(&asking()?, command, cli.json),
        Command::Report(args) => show::report(&asking()?, &args, cli.json),
        Command::Usage(UsageArgs { by: Some(by), tenant, from, to, .. }) => {
            show::analysis(&asking()?, &AnalysisQuery { by, tenant, from: ever(from), to }, cli.json)
        }
        Command::Usage(UsageArgs { tenant, meter, from, to, hourly, by: None }) => {
            show::usage(&asking()?, &UsageQuery { tenant, meter, from: ever(from), to, hourly }, cli.json)
        }
        Command::Export(ExportArgs { by: Some(by), tenant, from, to, .. }) => {
            operate::export_analysis(&asking()?, &AnalysisQuery { by, tenant, from: ever(from), to })
        }
        Command::Export(ExportArgs { tenant, meter, from, to, by: None }) => {
            operate::export_usage(&asking()?, &UsageQuery { tenant, meter, from: ever(from), to, hourly: true })
        }
        Command::Backup { into } => operate::backup(&load()?, &into, cli.json),
        Command::Restore { from, replace } => operate::restore(&load()?, &from, replace, cli.json),
        Command::Migrate(args) => migrate::run(&load()?, &args, cli.json),
        Command::User(UserCommand::Forget(args)) => operate::forget_user(&asking()?, &args.request(), cli.json),
        Command::Adjust(args) => operate::adjust(&asking()?, &args.request(), cli.json),
        Command::Status => status::run(&asking()?, cli.json),
        Command::Models => models::run(&asking()?, cli.json),
        Command::Audit(AuditArgs { command }) => run_audit(&asking()?, command, cli.json),
        Command::Ledger(LedgerArgs { command: None }) => show::ledger(&asking()?, cli.json),
        Command::Ledger(LedgerArgs { command: Some(LedgerCommand::Rebuild { replace }) }) => {
            rebuild::run(&load()?, replace, cli.json)
        }
        Command::Limits(args) => limits::run(&asking()?, &args.query(), cli.json),
        Command::Events(EventsCommand::Get { id }) => show::event(&asking()?, &id),
        Command::Events(EventsCommand::List(args)) => cost_events::run(&asking()?, *args, cli.json),
        Command::Events(EventsCommand::Find(args)) => show::events(&asking()?, &args.query(), cli.json),
        Command::Quarantine(QuarantineCommand::Drop { which, why }) => {
            quarantine::drop(&asking()?, which.query(), why, cli.json)
        }
        Command::Quarantine(QuarantineCommand::List(args)) => quarantine::list(&asking()?, &args.query(), cli.json),
        Command::Quarantine(QuarantineCommand::Retry(args)) => quarantine::retry(&asking()?, &args.query(), cli.json),
        Command::Readings(ReadingsCommand::Import { file, check }) => {
            readings::import(&asking()?, &file, check, cli.json)
        }
        Command::Readings(ReadingsCommand::Get { id }) => readings::get(&asking()?, &id),
        Command::Stripe(command) => run_stripe(&load()?, command, cli.json),
        Command::Reconcile(ReconcileArgs { from, to, customer }) => {
            reconcile::run(&asking()?, &ReconcileRequest { from, to, customer }, cli.json)
        }
        Command::Alerts(command) => alerts::run(&asking()?, command, cli.json),
        Command::Deploys(command) => deploys::run(&asking()?, command, cli.json),
        Command::Budgets(command) => budgets::run(&asking()?, command, cli.json),
        Command::Cost(args) => cost::run(&asking()?, args, cli.json),
        Command::Costs(command) => costs::run(&asking()?, command, cli.json),
        Command::Prices(command) => prices::run(load, command, cli.json),
        Command::Reprice(args) => prices::reprice(&load()?, args, cli.json),
        Command::Finance(command) => finance::run(&asking()?, command, cli.json),
        Command::Explain(args) => explain::run(&asking()?, args, cli.json),
        Command::Tail(args) => tail::run(&asking()?, args, cli.json),
        Command::Top(args) => top::run(&asking()?, args, cli.json),
        Command::Replay(args) => replay::run(&load()?, &args.files, cli.json),
    }
}

fn run_keys(load: impl Fn() -> anyhow::Result<Config>, command: KeysCommand, as_json: bool) -> anyhow::Result<u8> {
    match command {
        KeysCommand::New { prefix } => keys::new(&prefix, as_json),
        KeysCommand::Hash => keys::hash(as_json),
        KeysCommand::Create(args) => keys::create(&load()?, args, as_json),
        KeysCommand::List { tenant } => keys::list(&load()?, tenant.as_str(), as_json),
        KeysCommand::Rotate(args) => keys::rotate(&load()?, &args, as_json),
        KeysCommand::Revoke(which) => keys::revoke(&load()?, &which, as_json),
    }
}

fn run_audit(config: &Config, command: Option<AuditCommand>, as_json: bool) -> anyhow::Result<u8> {
    match command {
        None => operate::audit(config, as_json),
        Some(AuditCommand::Security(args)) => borders::findings(config, &args.query(), as_json),
        Some(AuditCommand::Searches(args)) => borders::searches(config, &args.query(), as_json),
    }
}

fn run_stripe(config: &Config, command: StripeCommand, as_json: bool) -> anyhow::Result<u8> {
    match command {
        StripeCommand::Status => stripe::show_status(config, as_json),
        StripeCommand::Settle(args) => stripe::settle(config, &args.request(), as_json),
        StripeCommand::Seen { why } => stripe::seen(config, &SeenRequest { why }, as_json),
        StripeCommand::Prices => stripe::prices(config, as_json),
        StripeCommand::Setup { apply } => stripe::setup(config, apply, as_json),
    }
}
