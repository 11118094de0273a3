//! The arguments of the commands about tokens of the API.
use clap::{Args, Subcommand};
use weir_contract::Timestamp;

use super::parse::parse_time;
use crate::config::tokens::{NewToken, Scope};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TokensCommand {
    /// Make a token, and print it once.
    #[command(
        after_help = "Scopes: ingest, directory, byok, readings, metrics, viewer, operator, admin, tenant:ID.\n\n\
                            Example: weir tokens create laptop --person ann --scope operator"
    )]
    Create(TokenCreateArgs),
    /// List tokens, those of the configuration too, without the tokens themselves.
    List,
    /// Refuse a token from now on.
    Revoke {
        /// The token's name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TokenCreateArgs {
    /// Its name, which the audit tells; never used again.
    name: String,
    /// What it opens; may be given several times.
    #[arg(long = "scope", required = true, value_name = "SCOPE")]
    scopes: Vec<Scope>,
    /// The person who gets it, for the audit.
    #[arg(long)]
    person: Option<String>,
    /// The only gateway whose events it may send.
    #[arg(long)]
    gateway: Option<String>,
    /// When it expires.
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    expires: Option<Timestamp>,
}

impl TokenCreateArgs {
    pub(in crate::cli) fn token(self) -> NewToken {
        NewToken {
            name: self.name,
            person: self.person,
            scopes: self.scopes,
            gateway: self.gateway,
            expires: self.expires,
        }
    }
}
