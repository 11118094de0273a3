//! Group commit: one thread appends the records of all connections, many records per sync.
//!
//! While the disk syncs one group, the next one collects in the queue. More waiting connections mean larger groups.
mod progress;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use weir_fault::{self as fault, Point};

use tokio::sync::oneshot;
use weir_contract::Timestamp;

use super::redact::{Redacted, Users};
use super::{AppendError, Checkpoint, EventLog, NewRecord, Placement, Position};
use weir_clock::Clock;

pub use progress::Progress;

/// The most bodies that wait for the writer. Further ones are refused as [`SubmitError::Busy`]. The server bounds the memory of
/// all bodies separately.
pub(crate) const QUEUE_MAX_RECORDS: usize = 1_024;
/// The compressed size that closes a group, in bytes: about what a plain disk writes in 20 ms.
const GROUP_MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most records of a group.
const GROUP_MAX_RECORDS: usize = 512;

/// The longest wait for a record before the thread turns to other work.
const IDLE: Duration = Duration::from_millis(500);

/// The answer to one record.
pub type Appended = Result<Position, AppendError>;

struct Job<T> {
    record: NewRecord,
    beside: Option<T>,
    answer: oneshot::Sender<Appended>,
}

/// Work between two groups.
enum Chore {
    /// [`Retention::prune`](super::Retention::prune).
    Prune { through: Position, before: Timestamp, answer: oneshot::Sender<Result<usize, AppendError>> },
    /// [`Redaction::redact`](super::Redaction::redact).
    Redact { after: Position, until: Position, users: Users, answer: oneshot::Sender<Result<Redacted, AppendError>> },
}

/// Why the queue did not accept a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// [`QUEUE_MAX_RECORDS`] are waiting already.
    #[error("the queue to the event log is full")]
    Busy,
    /// The writer has stopped.
    #[error("the event log takes nothing more: {0}")]
    Stopped(String),
}

/// A synced record, and the value that was submitted with it.
#[derive(Debug)]
pub struct Synced<T> {
    /// Its position.
    pub position: Position,
    /// The position of the record right before it.
    pub follows: Position,
    /// The submitted record.
    pub record: NewRecord,
    /// The value submitted with it.
    pub beside: T,
}

/// Submits records to the log. Cheap to clone; each connection has one. A caller may submit a parsed body `T` with the record;
/// it reaches the ledger directly, which then need not read the record back and parse it again.
#[derive(Debug)]
pub struct LogWriter<T> {
    jobs: SyncSender<Job<T>>,
    chores: SyncSender<Chore>,
    progress: Arc<Progress>,
}

impl<T> Clone for LogWriter<T> {
    fn clone(&self) -> Self {
        let LogWriter { jobs, chores, progress } = self;
        LogWriter { jobs: jobs.clone(), chores: chores.clone(), progress: Arc::clone(progress) }
    }
}

/// The writer's thread. It ends when all [`LogWriter`]s are dropped, or when the log breaks.
#[derive(Debug)]
pub struct WriterThread(JoinHandle<()>);

impl WriterThread {
    /// Waits until all submitted records are appended and answered.
    pub fn join(self) {
        let _ = self.0.join();
    }
}

impl<T: Send + 'static> LogWriter<T> {
    /// Starts the writer on `log`. After each group its thread calls `appended` with the records that came with a `T`. If it stops because the
    /// log lacks what was acknowledged, it calls `lost` with what it knows: nobody else may ever find out.
    pub fn start(
        log: Box<dyn EventLog>,
        clock: Arc<dyn Clock>,
        appended: impl Fn(Vec<Synced<T>>) + Send + 'static,
        lost: impl FnOnce(&str) + Send + 'static,
    ) -> std::io::Result<(Self, WriterThread)> {
        let (ways, mut writer) = Self::without_thread(log, clock);
        let run = move || {
            while writer.turn(IDLE, &appended) == Turn::Again {}
            if let Some(why) = writer.progress.lost() {
                lost(why);
            }
        };
        let thread = std::thread::Builder::new().name("log-writer".to_owned()).spawn(run)?;
        Ok((ways, WriterThread(thread)))
    }

    /// Like [`LogWriter::start`], but without a thread: the caller runs [`Writer::turn`].
    pub fn without_thread(log: Box<dyn EventLog>, clock: Arc<dyn Clock>) -> (Self, Writer<T>) {
        let (jobs, queue) = sync_channel(QUEUE_MAX_RECORDS);
        let (chores, waiting) = sync_channel(1);
        let progress = Arc::new(Progress::at(log.end().position));
        let writer = Writer { log, queue, chores: waiting, clock, progress: Arc::clone(&progress) };
        (LogWriter { jobs, chores, progress }, writer)
    }

    /// Submits a record. The receiver answers once the record is synced or refused.
    pub fn submit(&self, record: NewRecord, beside: Option<T>) -> Result<oneshot::Receiver<Appended>, SubmitError> {
        if let Some(why) = self.progress.broken() {
            return Err(SubmitError::Stopped(why.to_owned()));
        }
        let (answer, answered) = oneshot::channel();
        match self.jobs.try_send(Job { record, beside, answer }) {
            Ok(()) => Ok(answered),
            Err(TrySendError::Full(_)) => Err(SubmitError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(SubmitError::Stopped(self.why_stopped())),
        }
    }

    /// Runs [`Retention::prune`](super::Retention::prune) between two groups. None if other work is waiting already, or the
    /// writer has stopped.
    pub async fn prune(&self, through: Position, before: Timestamp) -> Option<Result<usize, AppendError>> {
        let (answer, answered) = oneshot::channel();
        self.chores.try_send(Chore::Prune { through, before, answer }).ok()?;
        answered.await.ok()
    }

    /// Runs [`Redaction::redact`](super::Redaction::redact) between two groups. None if other work is waiting already, or the
    /// writer has stopped.
    pub async fn redact(
        &self,
        after: Position,
        until: Position,
        users: &Users,
    ) -> Option<Result<Redacted, AppendError>> {
        let (answer, answered) = oneshot::channel();
        self.chores.try_send(Chore::Redact { after, until, users: users.clone(), answer }).ok()?;
        answered.await.ok()
    }

    /// The writer's counters and state.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    fn why_stopped(&self) -> String {
        self.progress.broken().unwrap_or("it is shutting down").to_owned()
    }
}

/// Whether the writer continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// More work may come.
    Again,
    /// All [`LogWriter`]s are dropped, or the log is broken.
    End,
}

/// The writer, which a thread runs turn by turn.
pub struct Writer<T> {
    log: Box<dyn EventLog>,
    queue: Receiver<Job<T>>,
    chores: Receiver<Chore>,
    clock: Arc<dyn Clock>,
    progress: Arc<Progress>,
}

impl<T> std::fmt::Debug for Writer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl<T> Writer<T> {
    /// Waits at most `patience` for records and appends them. Then does waiting work, and a checkpoint if one is due.
    pub fn turn(&mut self, patience: Duration, appended: &dyn Fn(Vec<Synced<T>>)) -> Turn {
        let Some(group) = self.next_group(patience) else { return Turn::End };
        let over =
            fatal(self.commit(group, appended)).or_else(|| fatal(self.chore())).or_else(|| fatal(self.checkpoint()));
        over.map_or(Turn::Again, |error| self.give_up(error))
    }

    /// Appends a group and answers it.
    fn commit(&mut self, group: Vec<Job<T>>, appended: &dyn Fn(Vec<Synced<T>>)) -> Result<(), AppendError> {
        if group.is_empty() {
            return Ok(());
        }
        let (records, others): (Vec<_>, Vec<_>) =
            group.into_iter().map(|job| (job.record, (job.beside, job.answer))).unzip();
        let (beside, answers): (Vec<_>, Vec<_>) = others.into_iter().unzip();
        if fault::hit(Point::AckBeforeAppend) {
            answers.into_iter().for_each(|answer| drop(answer.send(Ok(self.progress.last()))));
            return self.append(&records).map(drop);
        }
        let outcome = self.append(&records);
        for (number, answer) in answers.into_iter().enumerate() {
            // Fails where the connection has closed meanwhile.
            let _ = answer.send(outcome.as_ref().map(|placed| placed[number].position).map_err(Clone::clone));
        }
        let placed = outcome?.into_iter().zip(records).zip(beside);
        let synced = placed.filter_map(|((Placement { position, follows }, record), beside)| {
            Some(Synced { position, follows: follows?, record, beside: beside? })
        });
        appended(synced.collect());
        Ok(())
    }

    fn chore(&mut self) -> Result<(), AppendError> {
        match self.chores.try_recv() {
            Err(_) => Ok(()),
            Ok(Chore::Prune { through, before, answer }) => {
                let outcome = self.log.retention().map_err(Into::into).and_then(|log| log.prune(through, before));
                let _ = answer.send(outcome.clone());
                outcome.map(drop)
            }
            Ok(Chore::Redact { after, until, users, answer }) => {
                let outcome = self.log.redaction().map_err(Into::into).and_then(|log| log.redact(after, until, &users));
                let _ = answer.send(outcome.clone());
                outcome.map(drop)
            }
        }
    }

    /// A log without checkpoints has nothing to do here. Where one shows that nothing can be written now, readiness says so before
    /// the next record comes.
    fn checkpoint(&mut self) -> Result<(), AppendError> {
        let outcome = self.log.checkpoint().map_or(Ok(()), Checkpoint::checkpoint);
        if let Err(error @ AppendError::Locked(_)) = &outcome {
            self.progress.refuse(self.clock.elapsed(), error);
        }
        outcome
    }

    /// Waits for one job, then takes all waiting jobs up to the group's bounds. Returns an empty group if no job comes in time,
    /// and None once all [`LogWriter`]s are dropped.
    fn next_group(&self, patience: Duration) -> Option<Vec<Job<T>>> {
        let first = match self.queue.recv_timeout(patience) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => return Some(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => return None,
        };
        let mut bytes = first.record.packed_bytes();
        let mut group = vec![first];
        while bytes < GROUP_MAX_BYTES && group.len() < GROUP_MAX_RECORDS {
            let Ok(job) = self.queue.try_recv() else { break };
            bytes += job.record.packed_bytes();
            group.push(job);
        }
        Some(group)
    }

    fn append(&mut self, records: &[NewRecord]) -> Result<Vec<Placement>, AppendError> {
        let placements = match self.log.append(records) {
            Ok(placements) => placements,
            Err(error) => return self.refuse(error, records.len()),
        };
        assert_eq!(placements.len(), records.len(), "every record of a group has its place");
        self.progress.succeeded();
        self.progress.add_group(self.log.end().position);
        Ok(placements)
    }

    fn refuse(&self, error: AppendError, records: usize) -> Result<Vec<Placement>, AppendError> {
        match &error {
            // Said once the writer gives up.
            AppendError::TakenOver(_) => {}
            error => tracing::error!(%error, "nothing was acknowledged"),
        }
        self.progress.refuse(self.clock.elapsed(), &error);
        let nowhere = || vec![Placement { position: self.progress.last(), follows: None }; records];
        match error {
            AppendError::Full(_) if fault::hit(Point::FullAcknowledged) => Ok(nowhere()),
            AppendError::Broken(_) | AppendError::Lost(_) | AppendError::TakenOver(_)
                if fault::hit(Point::FailedSyncAcknowledged) =>
            {
                Ok(nowhere())
            }
            error => Err(error),
        }
    }

    /// Stops the writer. After a failed sync the contents of the disk are unknown, and a later successful sync proves nothing,
    /// because the operating system may have dropped the pages. Only opening the log again helps.
    fn give_up(&self, over: AppendError) -> Turn {
        let why = match &over {
            AppendError::TakenOver(why) => {
                tracing::warn!(%why, "another weir writes to the event log now; this one acknowledges nothing more");
                why.clone()
            }
            AppendError::Lost(why) => {
                tracing::error!(%why, "the event log lacks what was acknowledged; nothing more is acknowledged");
                self.progress.set_lost(why.clone());
                why.clone()
            }
            AppendError::Broken(why) => {
                tracing::error!(%why, "the event log is broken; nothing more is acknowledged until weir is started again");
                why.clone()
            }
            other => other.to_string(),
        };
        self.progress.set_broken(why);
        for job in self.queue.try_iter() {
            let _ = job.answer.send(Err(over.clone()));
        }
        Turn::End
    }
}

/// Returns the error if the log must not be written again. Callers have received all other errors, and the next turn may
/// succeed.
fn fatal(outcome: Result<(), AppendError>) -> Option<AppendError> {
    match outcome {
        Err(error @ (AppendError::Broken(_) | AppendError::Lost(_) | AppendError::TakenOver(_))) => Some(error),
        Ok(()) | Err(AppendError::Full(_) | AppendError::Locked(_) | AppendError::Unsupported(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::End;
    use crate::{Admission, Format};
    use std::sync::mpsc;
    use weir_clock::ManualClock;

    /// A log whose appends wait for an order and return it.
    struct ToldLog {
        last: Position,
        orders: mpsc::Receiver<Result<(), AppendError>>,
        appended: mpsc::Sender<usize>,
    }

    impl EventLog for ToldLog {
        fn end(&self) -> End {
            End { position: self.last, forgotten_before: 0 }
        }

        fn append(&mut self, records: &[NewRecord]) -> Result<Vec<Placement>, AppendError> {
            let _ = self.appended.send(records.len());
            self.orders.recv().unwrap_or_else(|_| Err(AppendError::Broken("test over".to_owned())))?;
            let first = self.last + 1;
            self.last += records.len() as Position;
            let placed = |position| Placement { position, follows: Some(position - 1) };
            Ok((first..=self.last).map(placed).collect())
        }
    }

    struct Rig {
        writer: LogWriter<()>,
        order: mpsc::Sender<Result<(), AppendError>>,
        groups: mpsc::Receiver<usize>,
        lost: mpsc::Receiver<String>,
    }

    fn rig() -> Rig {
        let ((order, orders), (appended, groups)) = (mpsc::channel(), mpsc::channel());
        let log = ToldLog { last: 0, orders, appended };
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let (tell, lost) = mpsc::channel();
        let told = move |why: &str| drop(tell.send(why.to_owned()));
        let (writer, _thread) = LogWriter::start(Box::new(log), clock, |_| (), told).expect("a thread");
        Rig { writer, order, groups, lost }
    }

    fn record() -> NewRecord {
        let admission = Admission { received_at: Timestamp::from_millis(1), gateway: None, forgotten_before: 0 };
        NewRecord::new(admission, Format::Event, b"{}")
    }

    #[test]
    fn nothing_is_answered_before_the_sync() {
        let rig = rig();
        let mut answer = rig.writer.submit(record(), None).expect("room");
        assert_eq!(rig.groups.recv(), Ok(1));
        assert!(answer.try_recv().is_err(), "the append has not returned");
        rig.order.send(Ok(())).expect("writer lives");
        assert_eq!(answer.blocking_recv(), Ok(Ok(1)));
    }

    #[test]
    fn what_gathers_during_a_sync_shares_the_next_one() {
        let rig = rig();
        let first = rig.writer.submit(record(), None).expect("room");
        assert_eq!(rig.groups.recv(), Ok(1));
        let others: Vec<_> = (0..5).map(|_| rig.writer.submit(record(), None).expect("room")).collect();
        rig.order.send(Ok(())).expect("writer lives");
        assert_eq!(rig.groups.recv(), Ok(5));
        rig.order.send(Ok(())).expect("writer lives");
        assert_eq!(first.blocking_recv(), Ok(Ok(1)));
        let positions: Vec<_> = others.into_iter().map(|answer| answer.blocking_recv()).collect();
        assert_eq!(positions, [2, 3, 4, 5, 6].map(|own| Ok(Ok(own))), "each is told where its own record stands");
    }

    #[test]
    fn a_full_disk_refuses_and_the_next_append_may_succeed() {
        let rig = rig();
        let full = AppendError::Full("no space".to_owned());
        let answer = rig.writer.submit(record(), None).expect("room");
        rig.order.send(Err(full.clone())).expect("writer lives");
        assert_eq!(answer.blocking_recv(), Ok(Err(full)));
        let answer = rig.writer.submit(record(), None).expect("room");
        rig.order.send(Ok(())).expect("writer lives");
        assert_eq!(answer.blocking_recv(), Ok(Ok(1)));
    }

    #[test]
    fn what_the_log_has_lost_is_told_once_the_writer_stops() {
        let rig = rig();
        let lost = AppendError::Lost("it ends at record 1, and record 2 was acknowledged".to_owned());
        let answer = rig.writer.submit(record(), None).expect("room");
        rig.order.send(Err(lost.clone())).expect("writer lives");
        assert_eq!(answer.blocking_recv(), Ok(Err(lost.clone())));
        assert_eq!(rig.lost.recv(), Ok(lost.to_string()));
        assert_eq!(rig.writer.progress().lost(), Some(lost.to_string().as_str()));
        assert!(rig.writer.submit(record(), None).is_err(), "it takes nothing more");
    }

    #[test]
    fn after_a_failed_sync_the_writer_stops_for_good_and_says_so() {
        let rig = rig();
        let broken = AppendError::Broken("I/O error".to_owned());
        let answer = rig.writer.submit(record(), None).expect("room");
        assert_eq!(rig.groups.recv(), Ok(1));
        let waiting = rig.writer.submit(record(), None).expect("room");
        rig.order.send(Err(broken.clone())).expect("writer lives");
        assert_eq!(answer.blocking_recv(), Ok(Err(broken.clone())));
        assert_eq!(waiting.blocking_recv(), Ok(Err(broken)));
        assert_eq!(rig.writer.submit(record(), None).err(), Some(SubmitError::Stopped("I/O error".to_owned())));
    }

    #[test]
    fn a_log_that_cannot_drop_records_says_so_and_goes_on() {
        let rig = rig();
        let pruned = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime")
            .block_on(rig.writer.prune(9, Timestamp::from_millis(1)));
        assert!(matches!(pruned, Some(Err(AppendError::Unsupported(_)))), "{pruned:?}");
        let answer = rig.writer.submit(record(), None).expect("room");
        rig.order.send(Ok(())).expect("writer lives");
        assert_eq!(answer.blocking_recv(), Ok(Ok(1)));
    }

    #[test]
    fn a_full_queue_refuses_instead_of_growing() {
        let rig = rig();
        let mut answers = vec![rig.writer.submit(record(), None).expect("room")];
        assert_eq!(rig.groups.recv(), Ok(1));
        answers.extend((0..QUEUE_MAX_RECORDS).map(|_| rig.writer.submit(record(), None).expect("room")));
        assert_eq!(rig.writer.submit(record(), None).err(), Some(SubmitError::Busy));
    }
}
