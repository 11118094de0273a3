//! The errors of billing.
use crate::Account;
use weir_ledger::{LedgerError, LedgerFailure};

/// Why rows cannot be made, sent or settled.
#[derive(Debug, thiserror::Error)]
pub enum BillingError {
    /// The ledger, whose database the outbox shares.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Existing rows were made for another account or mode.
    #[error(
        "the ledger reports to {pinned}, the configured key is of {configured}: use the key of the former, or another \
         `data` directory"
    )]
    OtherAccount {
        /// The account pinned by the first report.
        pinned: Account,
        /// The account that the key belongs to.
        configured: Account,
    },
    /// The key belongs to another account than the configuration names.
    #[error("`stripe.account` is {configured}, the key is of {found}: one of them is wrong")]
    WrongKey {
        /// The account in the configuration.
        configured: String,
        /// The account that the provider reports.
        found: String,
    },
    /// Another process has taken over sending.
    #[error("another process has taken over reporting from this ledger; this one sends nothing more")]
    Fenced,
    /// What a person wants makes no sense.
    #[error("{0}")]
    Adjustment(String),
    /// Nobody knows the tenant or the meter that a person names.
    #[error("{0}")]
    Unknown(String),
    /// Rows that cannot be settled, or let go, as a person wants it.
    #[error("{0}")]
    Settlement(String),
}

impl From<weir_database::Error> for BillingError {
    fn from(error: weir_database::Error) -> Self {
        BillingError::Ledger(error.into())
    }
}

impl LedgerFailure for BillingError {
    fn ledger(&self) -> Option<&LedgerError> {
        match self {
            BillingError::Ledger(error) => Some(error),
            _ => None,
        }
    }
}
