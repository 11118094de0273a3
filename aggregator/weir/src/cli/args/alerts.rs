//! Arguments of the commands about alerts.
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AlertsCommand {
    /// List the receivers of alerts, and the latest messages. Exit code 3 when one was given up.
    List,
    /// Send a test to a receiver, now. Exit code 3 when it does not take it. Needs a running server.
    #[command(after_help = "Example: weir alerts test on-call")]
    Test {
        /// The receiver.
        receiver: String,
    },
}
