//! The outbox: one row for each amount to bill.
//!
//! Each closed window becomes a row ([`close`]). `assign` chooses its customer from the history in `mapping`, chooses its billing
//! period, and decides whether it is held. weir commits and syncs the row, with its identifier and the mark of its first attempt,
//! before it sends anything ([`rows`]); the answer settles the row ([`report`]). After a crash at any moment the row is sent again
//! under the same identifier, and the provider accepts it once. Once the identifier no longer protects, weir reads the provider's
//! summaries first ([`verify`]). Only one process sends ([`sender`]). People look at rows ([`look`]), release held ones ([`held`]), settle them by hand
//! ([`settle`]) and correct sums ([`adjust`]).
pub mod adjust;
pub mod adopt;
mod assign;
pub mod close;
mod error;
pub mod held;
pub mod look;
mod mapping;
pub mod policy;
pub mod report;
pub mod rows;
mod run;
mod schedule;
pub mod sender;
pub mod settle;
pub mod verify;
pub mod view;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use weir_contract::Timestamp;

use crate::Account;
pub use error::BillingError;

/// Why a row waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// The tenant has no customer. The row is sent once it has one.
    NoCustomer,
    /// The provider already had this identifier before the row was first sent.
    TakenElsewhere,
    /// The provider refuses the row as it is.
    Refused,
    /// The row is older than the provider accepts.
    TooOld,
    /// Sent and unanswered, so long ago that the identifier no longer protects.
    Unsure,
    /// The amount has more digits than the provider accepts.
    TooLarge,
    /// The invoice of the row's period is final: the provider would accept the row, and nobody would be billed.
    Invoiced,
    /// The row would take the customer's period below zero.
    BelowZero,
    /// The ledger was restored, so rows sent since the backup are unknown. The provider's summaries settle it.
    Restored,
}

impl Hold {
    /// Every reason.
    pub const ALL: [Hold; 9] = [
        Hold::NoCustomer,
        Hold::TakenElsewhere,
        Hold::Refused,
        Hold::TooOld,
        Hold::Unsure,
        Hold::TooLarge,
        Hold::Invoiced,
        Hold::BelowZero,
        Hold::Restored,
    ];

    /// The reason as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Hold::NoCustomer => "no_customer",
            Hold::TakenElsewhere => "taken_elsewhere",
            Hold::Refused => "refused",
            Hold::TooOld => "too_old",
            Hold::Unsure => "unsure",
            Hold::TooLarge => "too_large",
            Hold::Invoiced => "invoiced",
            Hold::BelowZero => "below_zero",
            Hold::Restored => "restored",
        }
    }

    /// What an operator can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Hold::NoCustomer => {
                "give the tenant a stripe_customer (`weir tenants set`, the API, or the tenants file); the next report sends it"
            }
            Hold::TakenElsewhere => {
                "another deployment, a restored backup or a key switched between modes sent it: compare with \
                                     the customer's meter event summaries"
            }
            Hold::Refused => "read the detail, mend customer or meter at Stripe",
            Hold::TooOld => "bill it by an invoice item: Stripe takes no meter event older than 35 days",
            Hold::Unsure => {
                "weir compares with the customer's meter event summaries; what they leave open, compare by hand"
            }
            Hold::TooLarge => "Stripe takes at most 15 digits: look at the events behind it",
            Hold::Invoiced => {
                "the invoice is final: bill it by an invoice item, or set `stripe.late: next_period` and run \
                 `weir report --retry-held`"
            }
            Hold::BelowZero => "credit the customer at Stripe, or adjust less: a period bills at least 0",
            Hold::Restored => {
                "weir compares with the customer's meter event summaries; what they leave open (sums that do not fit, \
                 usage that may have gone to a later period or another customer) compare by hand, and bill what is \
                 missing by an invoice item"
            }
        }
    }
}

/// The parts that identify an amount for good.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The ledger's name.
    pub ledger: &'a str,
    /// The account and its mode.
    pub account: &'a Account,
    /// The customer.
    pub customer: &'a str,
    /// The tenant; several tenants may share a customer.
    pub tenant: &'a str,
    /// The meter's name in the ledger; several meters may feed one meter of the provider.
    pub meter: &'a str,
    /// The provider's name of the meter.
    pub event_name: &'a str,
    /// The window.
    pub window: Timestamp,
    /// The revision.
    pub revision: i64,
}

impl Identity<'_> {
    /// The identifier: 69 characters that depend on all of these parts and on nothing else.
    pub fn identifier(&self) -> String {
        let livemode = if self.account.livemode { "live" } else { "test" };
        let (window, revision) = (self.window.as_secs().to_string(), self.revision.to_string());
        let parts = [
            self.ledger,
            &self.account.id,
            livemode,
            self.customer,
            self.tenant,
            self.meter,
            self.event_name,
            &window,
            &revision,
        ];
        let mut hash = Sha256::new();
        for part in parts {
            // Lengths keep neighbouring parts apart: `ab` + `c` is not `a` + `bc`.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        format!("weir_{}", hex::encode(hash.finalize()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use weir_database::testing::place;
    use weir_ledger::SqliteLedger;
    use weir_ledger::meters::{self, Meters};

    /// An empty ledger.
    pub(crate) fn ledger() -> (tempfile::TempDir, SqliteLedger) {
        let dir = tempfile::tempdir().expect("a directory");
        let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
        let ledger = SqliteLedger::open(place(&dir.path().join("ledger.sqlite")), "log", meters).expect("a ledger");
        (dir, ledger)
    }

    fn account() -> Account {
        Account { id: "acct_1".to_owned(), livemode: false }
    }

    fn identity(account: &Account) -> Identity<'_> {
        Identity {
            ledger: "l",
            account,
            customer: "cus_1",
            tenant: "acme",
            meter: "requests",
            event_name: "weir_requests",
            window: Timestamp::from_secs(3_600),
            revision: 0,
        }
    }

    #[test]
    fn an_identifier_follows_from_what_it_names() {
        let account = account();
        let one = identity(&account).identifier();
        assert_eq!(one, identity(&account).identifier());
        assert!(one.len() <= 100, "Stripe takes at most 100 characters");
    }

    #[test]
    fn whatever_differs_makes_another_identifier() {
        let account = account();
        let live = Account { livemode: true, ..account.clone() };
        let base = identity(&account);
        let others = [
            Identity { ledger: "m", ..base },
            Identity { account: &live, ..base },
            Identity { customer: "cus_2", ..base },
            Identity { tenant: "b", ..base },
            Identity { meter: "tokens", ..base },
            Identity { event_name: "x", ..base },
            Identity { window: Timestamp::from_secs(7_200), ..base },
            Identity { revision: 1, ..base },
            Identity { ledger: "lacct_1", ..base },
        ];
        let mut all: Vec<String> = others.iter().map(Identity::identifier).collect();
        all.push(base.identifier());
        all.sort();
        all.dedup();
        assert_eq!(all.len(), others.len() + 1);
    }
}
