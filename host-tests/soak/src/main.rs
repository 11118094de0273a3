//! `weir-soak`: long runs that print what they measured. `make soak`, `make routing-soak`, `make hostile`, `make spool`, `make estimate`.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use std::time::Duration;
use weir_soak::spool::Drill;
use weir_soak::{estimate, hostile, photographs, routing, soak, spool};

#[derive(Debug, Parser)]
#[command(about = "Runs weir end to end under faults and prints what became of every number")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Mixed providers, clients that leave, an aggregator that fails, lies and dies; then every number and every token.
    Soak {
        /// How many requests.
        #[arg(long, default_value_t = 20_000)]
        requests: usize,
        /// The same seed sends the same requests and meets the same faults.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Clients of two dialects and three providers that fail in every way; then who was asked, who answered, and what it cost.
    Routing {
        /// How many requests.
        #[arg(long, default_value_t = 20_000)]
        requests: u64,
        /// The same seed sends the same requests and meets the same failures.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// What failover costs a client: p50 behind a provider that fails, and behind an open breaker, beside that of the one that answers.
    Failover {
        /// How many times four requests of each kind.
        #[arg(long, default_value_t = 100)]
        rounds: usize,
    },
    /// Crafted requests and answers; then whether the gateway serves as before, and whether its accounts and Envoy's agree.
    Hostile {
        /// How many requests.
        #[arg(long, default_value_t = 100_000)]
        requests: usize,
        /// The same seed sends the same requests.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Requests with a picture of 5 MB, all at once through one worker: what they cost in memory.
    Photographs {
        /// How many.
        #[arg(long, default_value_t = 100)]
        count: usize,
    },
    /// Kills Envoy under load and replays its access log: what is lost?
    Spool {
        /// Envoy's --file-flush-interval-msec.
        #[arg(long, default_value_t = 1_000)]
        flush_ms: u32,
        /// Seconds of load before the kill.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// weir serve is away meanwhile: the log is all there is.
        #[arg(long)]
        aggregator_away: bool,
    },
    /// How far estimates are from a tokenizer's counts.
    Estimate,
}

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = match Cli::parse().command {
        Command::Soak { requests, seed } => runtime.block_on(soak::run(requests, seed))?,
        Command::Routing { requests, seed } => runtime.block_on(routing::run(requests, seed))?,
        Command::Failover { rounds } => runtime.block_on(routing::failover::run(rounds))?,
        Command::Hostile { requests, seed } => runtime.block_on(hostile::run(requests, seed))?,
        Command::Photographs { count } => runtime.block_on(photographs::run(count))?,
        Command::Spool { flush_ms, seconds, aggregator_away } => {
            let drill = Drill { flush_ms, load: Duration::from_secs(seconds), aggregator_away };
            runtime.block_on(spool::run(drill))?
        }
        Command::Estimate => {
            print!("{}", estimate::table(&estimate::measure()?));
            return Ok(ExitCode::SUCCESS);
        }
    };
    Ok(if figures.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
