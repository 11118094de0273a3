//! The arguments of `weir migrate`.
use std::path::PathBuf;

use clap::Args;

/// Where a ledger moves.
#[derive(Debug, Args)]
pub(in crate::cli) struct MigrateArgs {
    /// Where to: `postgres://USER@HOST:PORT/DATABASE`, or `file` for ledger.sqlite in the data directory.
    #[arg(long, value_name = "PLACE")]
    pub to: String,
    /// The environment variable that holds the password at the new place.
    #[arg(long, value_name = "NAME", conflicts_with = "password_file")]
    pub password_env: Option<String>,
    /// The file that holds the password at the new place.
    #[arg(long, value_name = "PATH")]
    pub password_file: Option<PathBuf>,
    /// Roots that the new server's certificate must lead to, in PEM.
    #[arg(long, value_name = "PATH")]
    pub ca: Option<PathBuf>,
    /// The schema at the new place; absent: `weir`.
    #[arg(long, value_name = "NAME")]
    pub schema: Option<String>,
}
