//! Holding one bucket empty for some time, and what was admitted meanwhile.
//!
//! A client sees when it sent a request and when the answer was there; the verdict came in between. So of a bucket that
//! was empty at two verdicts, what was admitted between them is known up to what these spans leave open, whatever the
//! machine was doing.
use std::time::{Duration, Instant};

use weir_rig::clock;
use weir_rig::load::{Call, Client};

/// The wait of a refused client before its next attempt.
const PAUSE: Duration = Duration::from_millis(50);

/// One request: when it was sent, when its answer was there, and whether it was admitted.
#[derive(Clone, Copy)]
struct Shot {
    sent: Instant,
    answered: Instant,
    admitted: bool,
}

/// The outcome of a hammering.
pub(crate) struct Hammering(Vec<Shot>);

/// Repeats `call` from this many clients for `time`, and then until each client has been refused once more.
pub(crate) async fn hammer(call: impl Fn() -> Call, clients: usize, time: Duration) -> Hammering {
    let end = clock::instant() + time;
    let tasks: Vec<_> = (0..clients).map(|_| tokio::spawn(shoot(call(), end))).collect();
    let mut shots = Vec::new();
    for task in tasks {
        shots.extend(task.await.expect("a client"));
    }
    shots.sort_by_key(|shot| shot.sent);
    Hammering(shots)
}

async fn shoot(call: Call, end: Instant) -> Vec<Shot> {
    let (client, mut shots) = (Client::new(), Vec::new());
    loop {
        let sent = clock::instant();
        let reply = client.send(call.clone()).await;
        assert!(matches!(reply.status, 200 | 429), "{}: {:?}", reply.status, reply.error);
        let (answered, admitted) = (clock::instant(), reply.status == 200);
        shots.push(Shot { sent, answered, admitted });
        if !admitted && sent > end {
            return shots;
        }
        if !admitted {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Hammering {
    /// How many were admitted.
    pub(crate) fn admitted(&self) -> usize {
        self.0.iter().filter(|shot| shot.admitted).count()
    }

    /// How many were refused.
    pub(crate) fn refused(&self) -> usize {
        self.0.len() - self.admitted()
    }

    /// Both together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self.0.sort_by_key(|shot| shot.sent);
        self
    }

    /// That no more was admitted than a bucket of that size grants, and at least nine tenths of it.
    pub(crate) fn assert_within(&self, capacity: usize, refill_per_sec: usize) {
        let (first, last) = (self.0.first().expect("a shot"), self.0.iter().map(|shot| shot.answered).max());
        let all = last.expect("a shot").duration_since(first.sent).as_millis() as usize;
        let (admitted, bound) = (self.admitted() * 1_000, capacity * 1_000 + all * refill_per_sec);
        println!("{} admitted and {} refused in {all} ms", self.admitted(), self.refused());
        assert!(admitted <= bound, "more than capacity + refill × time");
        assert!(admitted * 10 >= bound * 9, "less than nine tenths of {bound} thousandths");
    }

    /// That what was admitted is what a bucket of that size grants: never more, and no less.
    pub(crate) fn assert_exact(&self, capacity: usize, refill_per_sec: usize) {
        // In thousandths, so that nothing is rounded.
        let refilled = |span: Duration| span.as_millis() as usize * refill_per_sec;
        let (first, last) = (self.0.first().expect("a shot"), self.0.iter().map(|shot| shot.answered).max());
        let all = last.expect("a shot").duration_since(first.sent);
        println!("{} admitted and {} refused in {all:?}", self.admitted(), self.refused());
        assert!(self.admitted() * 1_000 <= capacity * 1_000 + refilled(all), "more than capacity + refill × time");

        let refusals: Vec<&Shot> = self.0.iter().filter(|shot| !shot.admitted).collect();
        let (empty, again) = (refusals.first().expect("a refusal"), refusals.last().expect("a refusal"));
        let before = self.0.iter().filter(|shot| shot.admitted && shot.sent <= empty.answered).count();
        assert!(before >= capacity, "refused after {before} of {capacity}");

        let surely = |shot: &&Shot| shot.admitted && shot.sent >= empty.answered && shot.answered <= again.sent;
        let maybe = |shot: &&Shot| shot.admitted && shot.answered >= empty.sent && shot.sent <= again.answered;
        let (least, most) = (self.0.iter().filter(surely).count(), self.0.iter().filter(maybe).count());
        let (longest, shortest) = (again.answered - empty.sent, again.sent - empty.answered);
        println!("between two refusals {least} to {most}, in {shortest:?} to {longest:?}");
        assert!(least * 1_000 <= refilled(longest) + 1_000, "more than the refill between two refusals");
        assert!(most * 1_000 + 1_000 >= refilled(shortest), "less than the refill between two refusals");
    }
}
