//! The row that says who may write: the number of the latest process that took over.
use weir_fault::{Point, hit};

use crate::Error;

/// Makes the row. SQLite needs none, since one file has one writer.
pub(crate) const OWNER: &str = "CREATE TABLE IF NOT EXISTS ledger_owner(epoch bigint NOT NULL);
    INSERT INTO ledger_owner SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM ledger_owner)";
/// Takes the next number, and returns it: earlier ones are refused from then on.
pub(crate) const TAKE_OVER: &str = "UPDATE ledger_owner SET epoch = epoch + 1 RETURNING epoch";

/// Whether a process that took over with the number `epoch` may write where the row says `found`.
pub(crate) fn check(found: Option<i64>, epoch: i64) -> Result<(), Error> {
    if found == Some(epoch) || hit(Point::EpochUnchecked) { Ok(()) } else { Err(Error::Fenced) }
}
