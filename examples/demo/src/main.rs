//! The whole of weir on one machine, on free ports, with stand-ins for the two services that cost money.
//!
//! ```text
//! traffic ─▶ real Envoy + weir.wasm ─▶ stand-in LLM provider
//!                  ▼ usage events
//!            weir serve (SQLite) ─▶ stand-in for Stripe
//! ```
//!
//! `check` ([`mod@check`]) drives some hundreds of requests through it, closes the hour and compares four accounts of what
//! happened, to the unit: the clients', the provider's, weir's and Stripe's. `fleet` does so with two gateways and three nodes. `run` ([`mod@run`]) leaves it up and says how
//! to try it by hand. Both stand on [`stack`]; [`traffic`] is who asks for what, [`credentials`] who they are,
//! [`accounts`] what each side says, [`own_page`] what a tenant sees of it, [`provisioning`] a tenant that comes in one call, [`ledger`] how it is compared and shown.

mod accounts;
mod check;
mod credentials;
mod ledger;
mod own_page;
mod provisioning;
mod run;
mod settings;
mod stack;
mod traffic;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "weir-demo", about = "Runs the whole of weir on this machine")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Drive traffic through it, close the hour, compare all accounts. Exit code 1 if they differ.
    Check {
        /// Kill `weir serve` (kill -9) in the middle of the traffic, and start it again a second later.
        #[arg(long)]
        kill_aggregator: bool,
    },
    /// The same traffic through two gateways and three nodes of `weir serve` over a Redis and a PostgreSQL; the node that owns is killed in
    /// the middle of it. Exit code 1 if the accounts differ.
    Fleet,
    /// Keep it running until Ctrl-C.
    Run,
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Check { kill_aggregator } => check::check(kill_aggregator),
        Command::Fleet => check::fleet(),
        Command::Run => run::run(),
    }
}
