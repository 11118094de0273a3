//! One suite for all implementations of the port. A backend provides a [`Bench`], and `conformance!` runs the whole suite.
use weir_contract::Timestamp;

use crate::redact::Users;
use crate::{Admission, AppendError, Checkpoint, EventLog, Format, LogReader, NewRecord, Record};

/// A log under test that can be opened again.
pub(crate) trait Bench: Sized {
    type Log: EventLog;
    type Reader: LogReader;

    /// A new and empty log.
    fn fresh() -> Self;

    /// Opens the writer and a reader, as a starting process does.
    fn open(&self) -> (Self::Log, Self::Reader);
}

/// Runs the suite over a [`Bench`].
macro_rules! conformance {
    ($bench:ty) => {
        $crate::conformance::conformance!($bench: a_new_log_is_empty, records_are_read_back_as_they_came_in_order,
            positions_increase_and_each_record_follows_the_one_before, a_read_is_bounded_but_never_empty_while_there_is_more,
            one_record_is_found_by_its_position_alone, a_log_that_is_opened_anew_goes_on_where_it_ended,
            old_records_go_and_positions_never_start_again, a_user_is_taken_out_and_nothing_else_changes,
            a_checkpoint_changes_nothing_that_is_read);
    };
    ($bench:ty: $($name:ident),*) => {
        $(#[test]
        fn $name() {
            $crate::conformance::$name::<$bench>();
        })*
    };
}
pub(crate) use conformance;

/// Why a second writer is refused while the first one attends to its log.
pub(crate) fn refusal_of_a_second<E: std::fmt::Display + std::fmt::Debug + Send + 'static>(
    first: &mut impl Checkpoint,
    second: impl FnOnce() -> Result<(), E> + Send + 'static,
) -> String {
    let second = std::thread::spawn(second);
    while !second.is_finished() {
        first.checkpoint().expect("it goes on");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    second.join().expect("ended").expect_err("refused").to_string()
}

fn record(second: u64, body: &[u8]) -> NewRecord {
    let admission =
        Admission { received_at: Timestamp::from_secs(second), gateway: Some("gw-1"), forgotten_before: second };
    NewRecord::new(admission, Format::Batch, body)
}

fn all(reader: &mut impl LogReader) -> Vec<Record> {
    reader.read_after(0, usize::MAX).expect("read")
}

fn bodies(records: &[Record]) -> Vec<&[u8]> {
    records.iter().map(|record| record.body.as_slice()).collect()
}

pub(crate) fn a_new_log_is_empty<B: Bench>() {
    let bench = B::fresh();
    let (log, mut reader) = bench.open();
    assert_eq!((log.end().position, log.end().forgotten_before), (0, 0));
    assert_eq!(all(&mut reader), []);
}

pub(crate) fn records_are_read_back_as_they_came_in_order<B: Bench>() {
    let bench = B::fresh();
    let (mut log, mut reader) = bench.open();
    let first = log.append(&[record(1, b"[1]"), record(2, b"[2]")]).expect("appended")[0];
    log.append(&[record(3, b"[3]")]).expect("appended");
    assert_eq!(bodies(&all(&mut reader)), [b"[1]", b"[2]", b"[3]"]);
    let later = reader.read_after(first.position, usize::MAX).expect("read");
    assert_eq!(bodies(&later), [b"[2]", b"[3]"]);
    let Record { received_at, format, gateway, forgotten_before, .. } = &later[0];
    assert_eq!((*received_at, *format, *forgotten_before), (Timestamp::from_secs(2), Format::Batch, 2));
    assert_eq!(gateway.as_deref(), Some("gw-1"));
}

pub(crate) fn positions_increase_and_each_record_follows_the_one_before<B: Bench>() {
    let bench = B::fresh();
    let (mut log, mut reader) = bench.open();
    let mut placed = log.append(&[record(1, b"[1]"), record(2, b"[2]")]).expect("appended");
    placed.extend(log.append(&[record(3, b"[3]")]).expect("appended"));
    assert!(placed.iter().zip(&placed[1..]).all(|(one, next)| one.position < next.position), "{placed:?}");
    assert_eq!(log.end().position, placed[2].position);
    let records = all(&mut reader);
    let positions: Vec<_> = records.iter().map(|record| record.position).collect();
    assert_eq!(positions, [placed[0].position, placed[1].position, placed[2].position]);
    let follows: Vec<_> = records.iter().map(|record| record.follows).collect();
    assert_eq!(follows, [0, positions[0], positions[1]]);
    for (placement, record) in placed.iter().zip(&records) {
        assert!(placement.follows.is_none_or(|follows| follows == record.follows), "both ends say the same");
    }
}

pub(crate) fn a_read_is_bounded_but_never_empty_while_there_is_more<B: Bench>() {
    let bench = B::fresh();
    let (mut log, mut reader) = bench.open();
    log.append(&[record(1, &[b' '; 100]), record(2, &[b' '; 100]), record(3, &[b' '; 100])]).expect("appended");
    assert_eq!(reader.read_after(0, 150).expect("read").len(), 2);
    assert_eq!(reader.read_after(0, 1).expect("read").len(), 1);
    assert_eq!(reader.read_after(log.end().position, 1).expect("read"), []);
}

pub(crate) fn one_record_is_found_by_its_position_alone<B: Bench>() {
    let bench = B::fresh();
    let (mut log, mut reader) = bench.open();
    let placed = log.append(&[record(1, b"[1]"), record(2, b"[2]")]).expect("appended");
    let found = reader.get(placed[1].position).expect("read");
    assert_eq!(found.as_ref().map(|record| record.body.as_slice()), Some(b"[2]".as_slice()));
    assert_eq!(reader.get(placed[1].position + 1).expect("read"), None);
}

pub(crate) fn a_log_that_is_opened_anew_goes_on_where_it_ended<B: Bench>() {
    let bench = B::fresh();
    let (mut log, reader) = bench.open();
    log.append(&[record(1, b"[1]"), record(2, b"[2]")]).expect("appended");
    let end = log.end();
    drop((log, reader));
    let (mut log, mut reader) = bench.open();
    assert_eq!(log.end(), end);
    let placed = log.append(&[record(3, b"[3]")]).expect("appended");
    assert!(placed[0].position > end.position);
    assert_eq!(all(&mut reader)[2].follows, end.position);
}

pub(crate) fn old_records_go_and_positions_never_start_again<B: Bench>() {
    let bench = B::fresh();
    let (mut log, mut reader) = bench.open();
    let placed = log.append(&[record(1, b"[1]"), record(2, b"[2]"), record(9, b"[3]")]).expect("appended");
    let (first, last) = (placed[0].position, placed[2].position);
    let Ok(retention) = log.retention() else { return };
    assert_eq!(retention.prune(first, Timestamp::from_secs(5)), Ok(1), "what is not counted yet stays");
    assert_eq!(retention.prune(last, Timestamp::from_secs(5)), Ok(1), "what is young stays");
    assert_eq!(retention.prune(last, Timestamp::from_secs(99)), Ok(0), "the last one stays");
    let left = all(&mut reader);
    assert_eq!(bodies(&left), [b"[3]"]);
    assert_eq!(left[0].follows, placed[1].position, "it still says what it followed: so a gap is seen");
    drop((log, reader));
    let (mut log, _reader) = bench.open();
    assert!(log.append(&[record(10, b"[4]")]).expect("appended")[0].position > last);
}

pub(crate) fn a_user_is_taken_out_and_nothing_else_changes<B: Bench>() {
    let bench = B::fresh();
    let (mut log, mut reader) = bench.open();
    let user = "hmac:0123456789abcdef";
    log.append(&[record(1, user.as_bytes()), record(2, b"hmac:fedcba9876543210")]).expect("appended");
    log.append(&[record(3, user.as_bytes())]).expect("appended");
    let (until, users) = (all(&mut reader)[1].position, Users::new([user]));
    let redaction = match log.redaction() {
        Ok(redaction) => redaction,
        Err(cannot) => return assert!(!cannot.to_string().is_empty()),
    };
    let (mut after, mut changed) = (Some(0), 0);
    while let Some(position) = after {
        let redacted: Result<_, AppendError> = redaction.redact(position, until, &users);
        let redacted = redacted.expect("redacted");
        (after, changed) = (redacted.through, changed + redacted.records);
    }
    assert_eq!(changed, 1);
    let expected: [&[u8]; 3] = [b"hmac:0000000000000000", b"hmac:fedcba9876543210", user.as_bytes()];
    assert_eq!(bodies(&all(&mut reader)), expected, "the third is after the end");
}

pub(crate) fn a_checkpoint_changes_nothing_that_is_read<B: Bench>() {
    let bench = B::fresh();
    let (mut log, mut reader) = bench.open();
    log.append(&[record(1, &[b'x'; 10_000])]).expect("appended");
    let before = all(&mut reader);
    if let Ok(checkpoint) = log.checkpoint() {
        checkpoint.checkpoint().expect("a checkpoint");
    }
    assert_eq!(all(&mut reader), before);
}
