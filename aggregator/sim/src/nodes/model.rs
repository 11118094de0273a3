//! Compares the model of a Redis with a real one: the same random calls of the log's scripts and commands, the same answers.
use fastrand::Rng;
use redis::{Client, Cmd, ConnectionLike, RedisResult, Value, cmd};
use weir_event_log::redis::scripts;

use super::redis::{Redis, all, commands};

/// Calls of one log.
const CALLS: usize = 60;
/// Logs, one after the other.
const LOGS: u64 = 25;
/// Longer than the test.
const LEASE_MS: u64 = 600_000;

/// The model as a connection on which nothing fails.
struct Direct(Redis);

impl ConnectionLike for Direct {
    fn req_packed_command(&mut self, request: &[u8]) -> RedisResult<Value> {
        Ok(all(&mut self.0, &commands(request))?.remove(0))
    }

    fn req_packed_commands(&mut self, request: &[u8], offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        Ok(all(&mut self.0, &commands(request))?.into_iter().skip(offset).take(count).collect())
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        true
    }

    fn is_open(&self) -> bool {
        true
    }
}

/// What a caller may know of a log, and sometimes gets wrong.
struct Calls {
    rng: Rng,
    keys: [String; 4],
    epoch: u64,
    last: u64,
    groups: u64,
}

impl Calls {
    fn new(seed: u64) -> Self {
        let keys = ["stream", "meta", "lease", "redacted"].map(|part| format!("weir:log:{{{seed}/0}}:{part}"));
        Calls { rng: Rng::with_seed(seed), keys, epoch: 1, last: 0, groups: 0 }
    }

    fn rarely(&mut self) -> bool {
        self.rng.u8(..8) == 0
    }

    /// A number, or sometimes one beside it.
    fn about(&mut self, number: u64) -> u64 {
        let beside = if self.rng.bool() { number + 1 } else { number.saturating_sub(1) };
        if self.rarely() { beside } else { number }
    }

    fn id(&mut self) -> &'static str {
        if self.rarely() { "another" } else { "a log" }
    }

    fn script(&self, number: usize, keys: &[usize]) -> Cmd {
        let mut call = cmd("EVALSHA");
        call.arg(scripts()[number].get_hash()).arg(keys.len());
        keys.iter().for_each(|key| {
            call.arg(&self.keys[*key]);
        });
        call
    }

    fn next(&mut self) -> Cmd {
        match self.rng.u8(..20) {
            0..2 => self.take(),
            2..10 => self.append(),
            10 => {
                let mut call = self.script(2, &[1, 2]);
                call.arg(self.id()).arg(self.about(self.epoch)).arg("one").arg("who").arg(LEASE_MS).take()
            }
            11 => self.script(3, &[2]).arg(self.about(self.epoch)).take(),
            12..14 => {
                let mut call = self.script(4, &[0, 1]);
                let through = self.rng.u64(..self.last + 3);
                call.arg(self.id()).arg(self.about(self.epoch)).arg(through).arg(self.rng.u64(..200));
                call.arg(self.rng.u64(1..6)).take()
            }
            14 => {
                let mut call = self.script(5, &[1, 3]);
                call.arg(self.id()).arg(self.about(self.epoch)).arg(self.rng.u64(..9)).arg("hmac:1");
                call.arg(["hmac:2", "hmac:3"][self.rng.usize(..2)]).take()
            }
            15 => {
                let fields = ["id", "epoch", "first", "last", "group", "redacted_through", "redactions", "none"];
                cmd("HMGET").arg(&self.keys[1]).arg(&fields).take()
            }
            16 => cmd("HGET").arg(&self.keys[2]).arg("holder").take(),
            17 => cmd("SMEMBERS").arg(&self.keys[3]).take(),
            _ => self.range(),
        }
    }

    fn range(&mut self) -> Cmd {
        let from = self.rng.u64(..self.last + 3);
        let to = if self.rng.bool() { "+".to_owned() } else { format!("{}-0", from + 2) };
        let mut range = cmd("XRANGE");
        range.arg(&self.keys[0]).arg(format!("{from}-0")).arg(to).arg("COUNT").arg(self.rng.u8(1..5)).take()
    }

    fn take(&mut self) -> Cmd {
        let owner = if self.rarely() { "two" } else { "one" };
        let new = if self.rarely() { "" } else { "a log" };
        let expected = ["", "", "a log", "another"][self.rng.usize(..4)];
        let mut call = self.script(0, &[0, 1, 2]);
        call.arg(owner).arg(format!("the weir {owner}")).arg(LEASE_MS).arg(new).arg(1).arg(expected).take()
    }

    fn append(&mut self) -> Cmd {
        let mut call = self.script(1, &[0, 1]);
        call.arg(self.id()).arg(self.about(self.epoch)).arg(self.about(self.last));
        self.groups += u64::from(!self.rarely());
        call.arg(format!("{}:{}", self.epoch, self.groups));
        for _ in 0..self.rng.usize(1..4) {
            let received: [u8; 8] = self.rng.u64(..200).to_le_bytes();
            call.arg([b"\x01\x01".as_slice(), &received, &[0; 16]].concat()).arg(format!("body {}", self.rng.u8(..)));
        }
        call
    }

    /// Learns from an answer where the log ends, and who may write.
    fn learn(&mut self, answer: &str, facts: &mut Direct) {
        if answer.starts_with("ok") {
            self.epoch = facts.0.epoch();
            self.last = facts.0.last();
        }
    }
}

/// An answer, as far as it is the same at each server.
fn told(answer: RedisResult<Value>) -> String {
    match answer.and_then(Value::extract_error) {
        Ok(Value::Array(mut parts))
            if parts.iter().all(|part| matches!(part, Value::BulkString(name) if name.starts_with(b"hmac"))) =>
        {
            // The names of a set come in any order.
            parts.sort_by_key(|part| format!("{part:?}"));
            format!("ok {parts:?}")
        }
        Ok(value) => format!("ok {value:?}"),
        Err(error) => format!("{:?} {:?}", error.code(), error.detail().map(|words| words.split(" script:").next())),
    }
}

#[test]
fn the_model_of_a_redis_answers_as_a_real_one() {
    let server = weir_rig::redis::Redis::start().expect("a Redis");
    let mut real = Client::open(server.url()).expect("an address").get_connection().expect("a connection");
    let mut model = Direct(Redis::default());
    let mut appended = 0;
    let unknown = Calls::new(0).append();
    assert_eq!(told(real.req_command(&unknown)), told(model.req_command(&unknown)), "before the script is there");
    for script in scripts() {
        script.load(&mut real).expect("loaded");
        script.load(&mut model).expect("loaded");
    }
    for seed in 0..LOGS {
        let (mut calls, mut model_last) = (Calls::new(seed), 0);
        for _ in 0..CALLS {
            let call = calls.next();
            let (expected, found) = (told(real.req_command(&call)), told(model.req_command(&call)));
            let words = String::from_utf8_lossy(&call.get_packed_command()).into_owned();
            assert_eq!(found, expected, "log {seed}: {words}");
            let before = model_last;
            calls.learn(&expected, &mut model);
            model_last = calls.last;
            appended += usize::from(model_last > before);
        }
        model = Direct(Redis::default());
        for script in scripts() {
            script.load(&mut model).expect("loaded");
        }
    }
    assert!(appended > 150, "{appended} appends that succeeded");
}
