//! The ledger's thread: its only writer. It follows the log and runs other callers' work between transactions.
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::{Applied, LedgerError, LedgerFailure, LoggedBatch, SqliteLedger, ValidatedBody, apply};
use crate::ahead::{Judge, Reading, StepError};
use crate::recent::Recent;
use crate::validate::EventHasher;
use weir_clock::Clock;
use weir_event_log::writer::Synced;
use weir_event_log::{LogReader, Position};

/// Bytes of records per transaction, uncompressed: some 12,000 events. Each sum is then written once for many events,
/// and a transaction still takes a fraction of a second.
const STEP_MAX_BYTES: usize = 12 * 1024 * 1024;
/// How long records gather after a transaction, unless they fill one or a caller is waiting. Acknowledged events lose
/// nothing by it, and each sum is written less often.
const BATCH_WAIT: Duration = Duration::from_millis(200);
/// The most calls queued for the thread.
const CALLS_MAX: usize = 256;
/// How long the thread sleeps without work. Each wake-up also releases early events and retries after errors.
const IDLE: Duration = Duration::from_secs(1);

type Call = Box<dyn FnOnce(&mut SqliteLedger) + Send>;

enum Message {
    /// The log has grown.
    Wake,
    Call(Call),
    /// Count the log to its end, then stop.
    Stop,
}

/// The ledger's progress; shared with metrics and readiness.
#[derive(Debug, Default)]
pub struct Progress {
    position: AtomicU64,
    counted: AtomicU64,
    duplicates: AtomicU64,
    conflicts: AtomicU64,
    quarantined: AtomicU64,
    early: AtomicU64,
    failure: Mutex<Option<String>>,
    taken_over: AtomicBool,
}

impl Progress {
    /// The position of the last counted record.
    pub fn position(&self) -> Position {
        self.position.load(Ordering::Acquire)
    }

    /// Results of counting since the start.
    pub fn applied(&self) -> Applied {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Applied {
            counted: get(&self.counted),
            duplicates: get(&self.duplicates),
            conflicts: get(&self.conflicts),
            quarantined: get(&self.quarantined),
            early: get(&self.early),
        }
    }

    /// Why the ledger is not following the log at the moment, if so.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether another process writes the ledger now: this one counts nothing any more.
    pub fn is_taken_over(&self) -> bool {
        self.taken_over.load(Ordering::Acquire)
    }

    fn add(&self, position: Position, applied: Applied) {
        self.counted.fetch_add(applied.counted, Ordering::Relaxed);
        self.duplicates.fetch_add(applied.duplicates, Ordering::Relaxed);
        self.conflicts.fetch_add(applied.conflicts, Ordering::Relaxed);
        self.quarantined.fetch_add(applied.quarantined, Ordering::Relaxed);
        self.early.fetch_add(applied.early, Ordering::Relaxed);
        self.position.store(position, Ordering::Release);
    }

    fn set_failure(&self, failure: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

/// Synced, validated records in order, on their way from the intake to the ledger.
#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<LoggedBatch>,
    bytes: usize,
    /// True if a caller waits for the ledger.
    asked: bool,
}

/// [`Waiting`], with signals to those who wait for room and to the ledger.
#[derive(Debug)]
struct Queue {
    /// The most bytes of memory for waiting batches.
    max_bytes: usize,
    waiting: Mutex<Waiting>,
    taken: Notify,
    pressing: Condvar,
}

impl Queue {
    fn new(max_bytes: usize) -> Self {
        Queue { max_bytes, waiting: Mutex::default(), taken: Notify::new(), pressing: Condvar::new() }
    }

    /// The size at which waiting batches fill a transaction: verdicts take half as much memory as bodies.
    fn enough_bytes(&self) -> usize {
        self.max_bytes / 2
    }

    /// The size above which new bodies wait ([`LedgerHandle::room`]), because reading them back from the log would take
    /// the ledger several times as long. The rest of the queue is for bodies already on their way.
    fn full_bytes(&self) -> usize {
        self.max_bytes / 8 * 5
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, after: Position, max_bytes: usize) -> Vec<LoggedBatch> {
        let taken = self.lock().take(after, max_bytes);
        self.taken.notify_waiters();
        taken
    }

    /// Signals that a caller waits for the ledger.
    fn press(&self) {
        self.lock().asked = true;
        self.pressing.notify_one();
    }

    /// Waits for [`BATCH_WAIT`], until a transaction is full, or until a caller waits.
    fn wait_for_more(&self) {
        let little = |waiting: &mut Waiting| !waiting.asked && waiting.bytes < self.enough_bytes();
        let waited = self.pressing.wait_timeout_while(self.lock(), BATCH_WAIT, little);
        waited.unwrap_or_else(PoisonError::into_inner).0.asked = false;
    }
}

impl Waiting {
    fn cost(batch: &LoggedBatch) -> usize {
        batch.record.body.capacity() + batch.validated.memory_bytes()
    }

    /// Queues a batch, unless the queue would exceed `max_bytes`.
    fn push(&mut self, batch: LoggedBatch, max_bytes: usize) {
        let cost = Self::cost(&batch);
        if self.bytes + cost <= max_bytes {
            self.bytes += cost;
            self.batches.push_back(batch);
        }
    }

    /// Takes the records that follow `after` without a gap, up to `max_bytes`. Drops those that were already read from
    /// the log.
    fn take(&mut self, after: Position, max_bytes: usize) -> Vec<LoggedBatch> {
        let (mut taken, mut bytes, mut end) = (Vec::new(), 0, after);
        while let Some(next) = self.batches.front() {
            if next.record.follows > end || bytes >= max_bytes {
                break;
            }
            let Some(next) = self.batches.pop_front() else { break };
            self.bytes -= Self::cost(&next);
            if next.record.follows == end {
                end = next.record.position;
                bytes += next.record.body.len();
                taken.push(next);
            }
        }
        taken
    }
}

/// A handle to the ledger's thread; cheap to clone.
#[derive(Clone, Debug)]
pub struct LedgerHandle {
    messages: SyncSender<Message>,
    /// True if a [`Message::Wake`] is queued; one is enough.
    woken: Arc<AtomicBool>,
    batches: Arc<Queue>,
    progress: Arc<Progress>,
    recent: Arc<Recent>,
    hasher: EventHasher,
}

/// The ledger's thread.
#[derive(Debug)]
pub struct LedgerThread {
    thread: JoinHandle<()>,
    messages: SyncSender<Message>,
    batches: Arc<Queue>,
}

impl LedgerThread {
    /// Counts the log to its end, then ends the thread.
    pub fn stop(self) {
        let _ = self.messages.send(Message::Stop);
        self.batches.press();
        let _ = self.thread.join();
    }
}

impl LedgerHandle {
    /// Starts the thread, and one that reads the log for it.
    pub fn start(
        ledger: SqliteLedger,
        log: Box<dyn LogReader>,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<(Self, LedgerThread)> {
        let log = Reading::Ahead(judge(&ledger, log).start()?);
        let (handle, mut follower) = Self::following(ledger, log, clock);
        follower.waits_for_more = true;
        let run = move || while follower.turn(IDLE) == Next::Follow {};
        let thread = std::thread::Builder::new().name("ledger".to_owned()).spawn(run)?;
        let (messages, batches) = (handle.messages.clone(), Arc::clone(&handle.batches));
        Ok((handle, LedgerThread { thread, messages, batches }))
    }

    /// As [`LedgerHandle::start`], but the caller drives the returned follower.
    pub fn without_thread(ledger: SqliteLedger, log: Box<dyn LogReader>, clock: Arc<dyn Clock>) -> (Self, Follower) {
        let log = Reading::Here(judge(&ledger, log));
        Self::following(ledger, log, clock)
    }

    fn following(ledger: SqliteLedger, log: Reading, clock: Arc<dyn Clock>) -> (Self, Follower) {
        let (messages, queue) = sync_channel(CALLS_MAX);
        let woken = Arc::new(AtomicBool::new(false));
        let progress = Arc::new(Progress { position: AtomicU64::new(ledger.position()), ..Progress::default() });
        let batches = Arc::new(Queue::new(ledger.options().queue_max_bytes));
        let (recent, hasher) = (Arc::clone(ledger.recent()), *ledger.hasher());
        let handle = LedgerHandle { messages, woken, batches, progress, recent, hasher };
        let (woken, batches) = (Arc::clone(&handle.woken), Arc::clone(&handle.batches));
        let progress = Arc::clone(&handle.progress);
        let follower = Follower { ledger, log, clock, queue, woken, batches, progress, waits_for_more: false };
        (handle, follower)
    }

    /// Announces that the log has grown, by these records among others. Never blocks.
    pub fn hand_over(&self, batches: Vec<Synced<ValidatedBody>>) {
        let mut waiting = self.batches.lock();
        batches.into_iter().for_each(|batch| waiting.push(batch.into(), self.batches.max_bytes));
        let enough = waiting.bytes >= self.batches.enough_bytes();
        drop(waiting);
        if enough {
            self.batches.pressing.notify_one();
        }
        self.wake();
    }

    /// Waits while the queue is so full that the ledger would soon have to read the log: at most `patience`, and not
    /// for a ledger that has stopped counting, because the log accepts events without it.
    pub async fn room(&self, patience: Duration) {
        let room = async {
            loop {
                let mut taken = pin!(self.batches.taken.notified());
                taken.as_mut().enable();
                if self.batches.lock().bytes <= self.batches.full_bytes() || self.progress.failure().is_some() {
                    return;
                }
                taken.await;
            }
        };
        let _ = tokio::time::timeout(patience, room).await;
    }

    /// Announces that the log has grown. Never blocks.
    pub fn wake(&self) {
        if self.woken.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(TrySendError::Full(_)) = self.messages.try_send(Message::Wake) {
            // A thread with a full queue is awake, and checks the log after every call.
            self.woken.store(false, Ordering::Release);
        }
    }

    /// Runs `call` on the ledger's thread, between two transactions.
    pub async fn call<T: Send + 'static, E: LedgerFailure + Send + 'static>(
        &self,
        call: impl FnOnce(&mut SqliteLedger) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let (answer, answered) = oneshot::channel();
        let mut message = Message::Call(Box::new(move |ledger| {
            let _ = answer.send(call(ledger));
        }));
        loop {
            match self.messages.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return Err(LedgerError::Closed.into()),
                Err(TrySendError::Full(back)) => message = back,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.batches.press();
        answered.await.map_err(|_| LedgerError::Closed)?
    }

    /// The ledger's hasher of events' bytes.
    pub fn hasher(&self) -> &EventHasher {
        &self.hasher
    }

    /// How requests went lately.
    pub fn recent(&self) -> &Arc<Recent> {
        &self.recent
    }

    /// The ledger's progress.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Waits until the ledger has counted all records up to `position`.
    pub async fn reach(&self, position: Position) -> Result<(), LedgerError> {
        while self.progress.position() < position {
            if let Some(failure) = self.progress.failure() {
                return Err(LedgerError::Behind(failure));
            }
            self.wake();
            // The thread answers a call after the step under way.
            self.call(|_| Ok::<_, LedgerError>(())).await?;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}

/// Reads a log for a ledger.
fn judge(ledger: &SqliteLedger, log: Box<dyn LogReader>) -> Judge {
    Judge { log, hasher: *ledger.hasher(), max_bytes: STEP_MAX_BYTES }
}

/// The loop of the ledger's thread.
pub struct Follower {
    ledger: SqliteLedger,
    log: Reading,
    clock: Arc<dyn Clock>,
    queue: Receiver<Message>,
    woken: Arc<AtomicBool>,
    batches: Arc<Queue>,
    progress: Arc<Progress>,
    /// True if it waits between transactions, so that records gather.
    waits_for_more: bool,
}

/// The source of one transaction's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Records handed over by the intake.
    LoggedBatch,
    /// Records read from the log: the ledger is behind.
    FromLog,
    /// There were no records.
    Nothing,
}

/// Whether the thread continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More work may follow.
    Follow,
    /// It was told to stop, or the ledger is broken.
    End,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl Follower {
    /// Waits at most `patience` for work, does it, and follows the log to its end.
    pub fn turn(&mut self, patience: Duration) -> Next {
        let mut is_there = true;
        let next = match self.queue.recv_timeout(patience) {
            Ok(message) => self.handle(message),
            Err(RecvTimeoutError::Timeout) => {
                is_there = self.idle();
                Next::Follow
            }
            Err(RecvTimeoutError::Disconnected) => Next::End,
        };
        // Without its database the ledger need not read the log.
        let followed = if is_there { self.follow() } else { Next::Follow };
        if let Some(why) = self.ledger.broken() {
            tracing::error!(%why, "the ledger is broken; nothing more is counted until weir is started again");
            self.progress.set_failure(Some(LedgerError::Broken(why.to_owned()).to_string()));
            return Next::End;
        }
        if next == Next::End { next } else { followed }
    }

    fn handle(&mut self, message: Message) -> Next {
        match message {
            Message::Wake => self.woken.store(false, Ordering::Release),
            Message::Call(call) => call(&mut self.ledger),
            Message::Stop => return Next::End,
        }
        Next::Follow
    }

    /// Counts early events that are due; false if the ledger cannot be asked.
    fn idle(&mut self) -> bool {
        let released = apply::release(&mut self.ledger, self.clock.now());
        released.map_err(|error| self.fails(&error.into())).is_ok()
    }

    /// Counts to the end of the log, running queued calls between transactions.
    fn follow(&mut self) -> Next {
        let mut next = Next::Follow;
        loop {
            let step = self.step();
            if step == Step::Nothing {
                return next;
            }
            while let Ok(message) = self.queue.try_recv() {
                if self.handle(message) == Next::End {
                    next = Next::End;
                }
            }
            if self.waits_for_more && step == Step::LoggedBatch && next == Next::Follow {
                self.batches.wait_for_more();
            }
        }
    }

    /// Runs one transaction. Returns `Nothing` also on failure; the next wake or timer retries.
    fn step(&mut self) -> Step {
        match self.try_step() {
            Ok(step) => {
                if self.progress.failure().is_some() {
                    tracing::info!("the ledger follows the event log again");
                }
                self.progress.set_failure(None);
                self.progress.taken_over.store(false, Ordering::Release);
                step
            }
            Err(error) => {
                self.fails(&error);
                Step::Nothing
            }
        }
    }

    /// Tells a failure once.
    fn fails(&self, error: &StepError) {
        let problem = error.to_string();
        if self.progress.failure().as_ref() != Some(&problem) {
            tracing::error!(%error, "the ledger does not follow the event log; trying again");
        }
        self.progress.set_failure(Some(problem));
        self.progress.taken_over.store(is_taken_over(error), Ordering::Release);
    }

    fn try_step(&mut self) -> Result<Step, StepError> {
        let before = self.ledger.position();
        let batches = self.batches.take(before, STEP_MAX_BYTES);
        let applied = match batches.as_slice() {
            [] => self.ledger.apply_batches(&self.log.after(before)?)?,
            batches => self.ledger.apply_batches(batches)?,
        };
        self.progress.add(self.ledger.position(), applied);
        if self.ledger.position() > before {
            tracing::debug!(after = before, through = self.ledger.position(), ?applied, "records are counted");
        }
        self.ledger.checkpoint(self.clock.elapsed())?;
        Ok(match (self.ledger.position() > before, batches.is_empty()) {
            (false, _) => Step::Nothing,
            (true, true) => Step::FromLog,
            (true, false) => Step::LoggedBatch,
        })
    }
}

/// Whether another process writes the ledger.
fn is_taken_over(error: &StepError) -> bool {
    use weir_database::Error::{Fenced, Owned};
    matches!(error, StepError::Ledger(LedgerError::Database(Fenced | Owned(_))))
}
