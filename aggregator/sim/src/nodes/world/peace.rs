//! The end of a world: nothing fails any more, everything is acknowledged and counted, and the judge looks at all of it.
use std::collections::BTreeMap;

use weir_database::Connection;
use weir_event_log::LogReader;

use super::node::place;
use super::{NODES, World};
use crate::gateways::Kind;
use crate::machine::LEDGER;
use crate::oracle;

/// The most rounds until everything is answered and counted.
const ROUNDS_MAX: u32 = 1_500;
/// Rounds from one look at the rows to report to the next.
const ROUNDS_PER_LOOK: u32 = 15;
/// The time of a round.
const ROUND_MS: u64 = 150;
/// Rounds until an owner has released what was early.
const ROUNDS_OF_RELEASE: u32 = 60;
/// Rounds of a log that has lost its end.
const ROUNDS_LOST: u32 = 100;
/// Later than every event that is ahead of the clock.
const LATER_MS: u64 = 3 * 24 * 3_600_000;

impl World {
    pub(super) fn make_peace(&self) -> Result<(), String> {
        self.calm();
        self.say(|| "peace".to_owned());
        self.gateways.borrow_mut().hurry();
        self.until_all_is_counted()?;
        // What was early is counted in time.
        self.pass(LATER_MS);
        for _ in 0..ROUNDS_OF_RELEASE {
            self.round();
        }
        self.until_all_is_counted()?;
        oracle::check_all(&self.gateways.borrow())?;
        self.check_reported()?;
        if self.keeps_all || self.is_kafka {
            self.check_log()?;
        }
        let gateways = self.gateways.borrow();
        let mut summary = self.summary.borrow_mut();
        summary.add_to("items sent", gateways.count_by(|item| item.attempts() > 0));
        summary.add_to("items sent more than once", gateways.count_by(|item| item.attempts() > 1));
        Ok(())
    }

    fn round(&self) {
        self.pass(ROUND_MS);
        (0..NODES).for_each(|node| self.step(node));
        self.collect();
    }

    fn until_all_is_counted(&self) -> Result<(), String> {
        for round in 0..ROUNDS_MAX {
            self.send();
            self.round();
            self.verdict()?;
            let is_done = self.gateways.borrow().is_done() && self.waiting.borrow().is_empty();
            let looks = is_done && round % ROUNDS_PER_LOOK == 0 && self.owners_that_counted_all() == 1;
            if looks && self.unreported()? == 0 {
                return Ok(());
            }
        }
        let (unsent, unreported) = (!self.gateways.borrow().is_done(), self.unreported()?);
        Err(format!(
            "nothing fails, and not everything is acknowledged, counted and reported (unsent: {unsent}, unreported: {unreported}): {}",
            self.state()
        ))
    }

    /// Lives on with a log that has lost its end: whoever notices refuses it.
    pub(super) fn live_without_an_end(&self) -> Result<(), String> {
        self.calm();
        for _ in 0..ROUNDS_LOST {
            self.gateways.borrow_mut().serve(&mut self.rng.borrow_mut(), self.now());
            self.send();
            self.round();
            self.verdict()?;
        }
        oracle::check_upper(&self.gateways.borrow())
    }

    /// Compares the log with what was sent, and the ledger's repeats with the log's.
    fn check_log(&self) -> Result<(), String> {
        let mut reader = place(self).reader().map_err(|error| format!("the log cannot be read: {error}"))?;
        let mut found = BTreeMap::<Vec<u8>, u64>::new();
        for body in bodies(&mut *reader)? {
            let items = body.split(|byte| *byte == b'\n').filter(|part| part.len() > 2);
            items.for_each(|item| *found.entry(item.to_vec()).or_default() += 1);
        }
        let gateways = self.gateways.borrow();
        let (mut repeats, mut known) = (0, 0);
        for (number, item) in gateways.items.iter().enumerate() {
            let times = found.get(&item.body).copied().unwrap_or(0);
            known += times;
            if times > item.attempts() {
                return Err(format!(
                    "item {number} was sent {} times, and is {times} times in the log",
                    item.attempts()
                ));
            }
            if item.kind != Kind::Garbage {
                repeats += times.saturating_sub(1);
            }
        }
        let all: u64 = found.values().sum();
        if all != known {
            return Err(format!("{} items in the log were sent by nobody", all - known));
        }
        let db = Connection::open(LEDGER).map_err(|error| error.to_string())?;
        let sql = "SELECT coalesce(sum(duplicates), 0) FROM source";
        let counted: u64 = db.query_row(sql, [], |row| row.get(0)).map_err(|error| error.to_string())?;
        if counted != repeats {
            return Err(format!("the log has {repeats} repeats, and the ledger counted {counted}"));
        }
        Ok(())
    }
}

/// The bodies of the log, one item a line.
fn bodies(reader: &mut dyn LogReader) -> Result<Vec<Vec<u8>>, String> {
    let (mut after, mut all) = (0, Vec::new());
    loop {
        let records = reader.read_after(after, 1 << 20).map_err(|error| error.to_string())?;
        let Some(last) = records.last() else { return Ok(all) };
        after = last.position;
        all.extend(records.into_iter().map(|record| lines(&record.body)));
    }
}

/// A batch as lines: no item of this simulation has `},{\"specversion` in it.
fn lines(body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let inner = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(&text);
    inner.replace("},{\"specversion", "}\n{\"specversion").into_bytes()
}
