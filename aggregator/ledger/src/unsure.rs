//! What follows when a commit loses its connection: nobody knows whether it took effect.
//!
//! A file has no connection to lose. In PostgreSQL the transaction is there as a whole or not at all, and its position with it: so
//! the position is read before anything else is counted. Records that it covers are counted; the caller goes on behind them.
use crate::{LedgerError, SqliteLedger};

impl SqliteLedger {
    /// Reads the position from the database; returns whether it is another one than was known.
    pub(super) fn read_position(&mut self) -> Result<bool, LedgerError> {
        let sql = "SELECT position, forgotten_before FROM ledger";
        let (position, forgotten_before): (u64, u64) =
            self.db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let has_moved = position != self.position;
        (self.position, self.forgotten_before, self.is_position_unsure) = (position, forgotten_before, false);
        Ok(has_moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Applied;
    use crate::meters::{self, Meters};
    use crate::validate::Format;
    use weir_contract::Timestamp;
    use weir_database::Connection;
    use weir_database::testing::place;
    use weir_event_log::{Position, Record};

    /// A record of one event that is refused for good, and therefore kept.
    fn record(position: Position) -> Record {
        Record {
            position,
            follows: position - 1,
            received_at: Timestamp::from_millis(1_700_000_000_000),
            format: Format::Batch,
            gateway: None,
            forgotten_before: 0,
            body: format!("[{{\"number\":{position}}}]").into_bytes(),
        }
    }

    fn kept(ledger: &mut SqliteLedger) -> u64 {
        ledger.db().query_row("SELECT sum(times) FROM quarantine", [], |row| row.get(0)).expect("a number")
    }

    fn ledger(dir: &tempfile::TempDir) -> SqliteLedger {
        let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
        SqliteLedger::open(place(&dir.path().join("ledger.sqlite")), "log", meters).expect("a ledger")
    }

    #[test]
    fn a_commit_of_which_nobody_heard_counts_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut ledger = ledger(&dir);
        assert_eq!(ledger.apply(&[record(1)]).expect("applied").quarantined, 1);
        // As it was before the answer to the commit got lost.
        (ledger.position, ledger.is_position_unsure) = (0, true);
        assert_eq!(ledger.apply(&[record(1)]).expect("looked at"), Applied::default());
        assert_eq!((ledger.position(), kept(&mut ledger)), (1, 1));
        // And one that took no effect.
        ledger.is_position_unsure = true;
        assert_eq!(ledger.apply(&[record(2)]).expect("applied").quarantined, 1);
        assert_eq!((ledger.position(), kept(&mut ledger)), (2, 2));
    }

    #[test]
    fn a_ledger_whose_connection_is_cut_goes_on_over_a_new_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut ledger = ledger(&dir);
        if !ledger.db().is_postgres() {
            return;
        }
        let other = Connection::open(place(&dir.path().join("ledger.sqlite"))).expect("opened");
        for position in 1..=20 {
            let own: i64 = ledger.db().query_row("SELECT pg_backend_pid()", [], |row| row.get(0)).expect("a number");
            let cut = "SELECT pg_terminate_backend(CAST(?1 AS int))";
            assert!(other.query_row(cut, [own], |row| row.get::<_, bool>(0)).expect("cut"));
            let mut tries = 0;
            while ledger.position() < position {
                assert!(tries < 100, "it does not go on");
                tries += 1;
                let _ = ledger.apply(&[record(position)]);
            }
        }
        assert_eq!(kept(&mut ledger), 20);
    }
}
