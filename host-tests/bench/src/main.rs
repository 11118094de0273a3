//! `weir-bench`: prints what weir costs. `make bench`, `make fuel`.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use weir_bench::envoy::{self, Effort};
use weir_bench::{curves, fuel, hostcalls};

#[derive(Debug, Parser)]
#[command(about = "Measures what weir costs")]
struct Cli {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Instructions by phase, and what has changed against the table that is kept.
    Fuel {
        /// Keep the new figures.
        #[arg(long)]
        accept: bool,
    },
    /// Instructions and memory by tenants, bodies, chunks and workers.
    Curves,
    /// What one call into the real Envoy costs, what entering a phase does, and what that explains.
    Hostcalls {
        /// Rounds through everything; 9 take some three minutes.
        #[arg(long, default_value_t = 9)]
        rounds: usize,
    },
    /// CPU and latency in the real Envoy, beside no filter, an empty one, Envoy's own, and Lua.
    Envoy {
        /// Rounds through everything; 9 take some two minutes.
        #[arg(long, default_value_t = 9)]
        rounds: usize,
        /// Only cases whose name contains this.
        #[arg(long)]
        only: Option<String>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().part {
        Part::Fuel { accept } => print_fuel(accept)?,
        Part::Curves => print!("{}", curves::run()?),
        Part::Hostcalls { rounds } => print!("{}", hostcalls::run(rounds)?),
        Part::Envoy { rounds, only } => {
            print!("{}", envoy::run(&Effort { rounds, only })?);
            println!("first request after the start: {} us", envoy::first_request()? / 1_000);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_fuel(accept: bool) -> anyhow::Result<()> {
    let now = fuel::measure()?;
    print!("{now}");
    for request in ["get", "chat", "stream"] {
        println!("hostcalls of a {request}: {:?}", fuel::hostcalls_by_name(request));
    }
    for tenants in [10, 1_000, 10_000] {
        println!("memory of a worker with {tenants} tenants: {} KiB", fuel::memory(tenants) >> 10);
    }
    let changes = fuel::kept().map(|kept| now.changes(&kept, 0, 0)).unwrap_or_default();
    println!("{} figures differ from the table that is kept", changes.len());
    changes.iter().for_each(|change| println!("  {change}"));
    if accept {
        fuel::keep(&now)?;
    }
    Ok(())
}
