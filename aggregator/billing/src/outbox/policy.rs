//! The conditions on which rows are made and sent.
use std::collections::BTreeMap;
use weir_fault::{self as fault, Point};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

use crate::Account;

/// How to treat usage whose invoice is already final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Late {
    /// Holds it for a person.
    #[default]
    Hold,
    /// Bills it in the open period.
    NextPeriod,
}

/// What is needed to make and send rows.
#[derive(Clone, Debug, Default)]
pub struct BillingPolicy {
    /// The ledger's name.
    pub ledger: String,
    /// The account that rows are sent to.
    pub account: Account,
    /// The provider's meter for each meter that is billed.
    pub event_names: BTreeMap<String, String>,
    /// How long a window stays open after its end, in milliseconds.
    pub grace_ms: u64,
    /// How long after the end of a period its invoice stays open, in milliseconds.
    pub invoice_delay_ms: u64,
    /// How to treat usage that comes later.
    pub late: Late,
    /// The sender's epoch.
    pub epoch: i64,
}

impl BillingPolicy {
    /// Returns true if the invoice of a period that ended at `end` is final.
    pub(super) fn is_invoiced(&self, end: Timestamp, now: Timestamp) -> bool {
        if fault::hit(Point::CutOffIgnored) {
            return false;
        }
        end.plus_millis(self.invoice_delay_ms) <= now
    }
}
