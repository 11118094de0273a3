//! A Redis as the event log uses one: its keys, the commands and scripts of the log, and memory that runs out.
//!
//! A model: the scripts are Lua, and written here a second time. `model.rs` compares every answer with a real Redis.
use std::collections::{BTreeMap, BTreeSet};

use redis::{RedisResult, Script, Value, parse_redis_value};
use weir_fault::{Point, hit};

type Bytes = Vec<u8>;
type Hash = BTreeMap<Bytes, Bytes>;

/// A command with its arguments.
pub(super) type Command = Vec<Bytes>;

/// The scripts of the log, by the words that they begin with.
const SCRIPTS: [(&str, Run); 6] = [
    ("-- Appends records", append),
    ("-- Takes the right to write", take),
    ("-- Renews the right", renew),
    ("-- Gives the right to write back", release),
    ("-- Drops the oldest records", prune),
    ("-- Remembers users", redact),
];
const GONE: &str = "WEIRLOST it is gone, or another one is in its place";
const FENCED: &str = "WEIRFENCED another weir has taken over";
const INFO: &str = "redis_version:7.2.0\r\nmaxmemory_policy:noeviction\r\nrole:master\r\n";

type Run = fn(&mut Redis, &[Bytes], &[Bytes]) -> Value;

/// The server.
#[derive(Default)]
pub(super) struct Redis {
    /// The time, in milliseconds.
    pub(super) now_ms: u64,
    hashes: BTreeMap<Bytes, Hash>,
    streams: BTreeMap<Bytes, BTreeMap<u64, (Bytes, Bytes)>>,
    sets: BTreeMap<Bytes, BTreeSet<Bytes>>,
    expire_at: BTreeMap<Bytes, u64>,
    scripts: BTreeMap<Bytes, Run>,
    /// The most bytes that a command may bring while memory is short.
    pub(super) room: Option<usize>,
    /// Where the log ended, and in which group, after each append.
    history: Vec<(u64, Bytes)>,
    /// Restarts: connections do not survive them.
    pub(super) lives: u64,
}

/// Splits a request into its commands.
pub(super) fn commands(mut request: &[u8]) -> Vec<Command> {
    let mut all = Vec::new();
    while !request.is_empty() {
        let count = header(&mut request, b'*');
        let arguments = (0..count).map(|_| {
            let length = header(&mut request, b'$');
            let (argument, rest) = request.split_at(length);
            request = &rest[2..];
            argument.to_vec()
        });
        all.push(arguments.collect());
    }
    all
}

/// Takes a line such as `*3` off.
fn header(request: &mut &[u8], kind: u8) -> usize {
    assert_eq!(request[0], kind, "a request is an array of strings");
    let end = request.iter().position(|byte| *byte == b'\n').expect("a whole line");
    let number = std::str::from_utf8(&request[1..end - 1]).expect("text").parse().expect("a number");
    *request = &request[end + 1..];
    number
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn number(bytes: &[u8]) -> u64 {
    text(bytes).parse().expect("a number")
}

fn error(words: &str) -> Value {
    parse_redis_value(format!("-{words}\r\n").as_bytes()).expect("an error")
}

fn bulk(found: Option<&Bytes>) -> Value {
    found.map_or(Value::Nil, |bytes| Value::BulkString(bytes.clone()))
}

fn int(value: u64) -> Value {
    Value::Int(value.cast_signed())
}

impl Redis {
    /// Runs a command.
    pub(super) fn run(&mut self, command: &Command) -> Value {
        self.expire();
        match (text(&command[0]), &command[1..]) {
            ("PING", _) => Value::SimpleString("PONG".to_owned()),
            ("INFO", _) => Value::BulkString(INFO.into()),
            ("CONFIG", _) => durable(),
            ("SCRIPT", [_, script]) => self.load(script),
            ("EVALSHA", [hash, count, rest @ ..]) => {
                let Some(script) = self.scripts.get(hash).copied() else {
                    return error("NOSCRIPT No matching script. Please use EVAL.");
                };
                let (keys, arguments) = rest.split_at(usize::try_from(number(count)).expect("few"));
                script(self, keys, arguments)
            }
            ("HGET", [key, field]) => bulk(self.field(key, text(field))),
            ("HMGET", [key, fields @ ..]) => {
                Value::Array(fields.iter().map(|field| bulk(self.field(key, text(field)))).collect())
            }
            ("XRANGE", [key, from, to, _, count]) => self.range(key, from, to, number(count)),
            ("SMEMBERS", [key]) => {
                let names = self.sets.get(key).into_iter().flatten();
                Value::Array(names.map(|name| Value::BulkString(name.clone())).collect())
            }
            (other, _) => panic!("the log never sends {other}"),
        }
    }

    fn expire(&mut self) {
        let now = self.now_ms;
        for (key, _) in self.expire_at.extract_if(.., |_, at| *at <= now) {
            self.hashes.remove(&key);
        }
    }

    fn load(&mut self, script: &Bytes) -> Value {
        let found = SCRIPTS.into_iter().find(|(begin, _)| script.starts_with(begin.as_bytes()));
        let (_, run) = found.expect("a script that the model knows");
        let hash = Script::new(text(script)).get_hash().as_bytes().to_vec();
        self.scripts.insert(hash.clone(), run);
        Value::BulkString(hash)
    }

    fn field(&self, key: &Bytes, field: &str) -> Option<&Bytes> {
        self.hashes.get(key)?.get(field.as_bytes())
    }

    fn number(&self, key: &Bytes, field: &str) -> u64 {
        self.field(key, field).map_or(0, |value| number(value))
    }

    fn set(&mut self, key: &Bytes, fields: &[(&str, Bytes)]) {
        let hash = self.hashes.entry(key.clone()).or_default();
        hash.extend(fields.iter().map(|(field, value)| (field.as_bytes().to_vec(), value.clone())));
    }

    fn range(&self, key: &Bytes, from: &Bytes, to: &Bytes, count: u64) -> Value {
        let id = |bytes: &Bytes| number(text(bytes).trim_end_matches("-0").as_bytes());
        let to = if to == b"+" { u64::MAX } else { id(to) };
        let entries = self.streams.get(key).into_iter().flat_map(|entries| entries.range(id(from)..=to));
        let entry = |(position, (header, body)): (&u64, &(Bytes, Bytes))| {
            let fields = [b"h".to_vec(), header.clone(), b"b".to_vec(), body.clone()].map(Value::BulkString);
            let id = Value::BulkString(format!("{position}-0").into_bytes());
            Value::Array(vec![id, Value::Array(fields.to_vec())])
        };
        Value::Array(entries.take(usize::try_from(count).unwrap_or(usize::MAX)).map(entry).collect())
    }

    /// Checks the log's name and the writer's number.
    fn refusal(&self, meta: &Bytes, arguments: &[Bytes]) -> Option<Value> {
        if self.field(meta, "id") != Some(&arguments[0]) {
            return Some(error(GONE));
        }
        let is_fenced = self.field(meta, "epoch") != Some(&arguments[1]);
        (is_fenced && !hit(Point::LogFenceUnchecked)).then(|| error(FENCED))
    }

    /// Ends the process and starts it again: what it acknowledged is there, what it only remembers is not.
    pub(super) fn restart(&mut self) {
        self.scripts.clear();
        self.lives += 1;
    }

    /// Loses the last `count` groups, as a fail-over to a replica that lagged does.
    pub(super) fn lose(&mut self, count: usize) {
        self.history.truncate(self.history.len().saturating_sub(count));
        let (last, group) = self.history.last().cloned().unwrap_or_default();
        for (key, entries) in &mut self.streams {
            entries.split_off(&(last + 1));
            let meta = text(key).replace(":stream", ":meta").into_bytes();
            let hash = self.hashes.get_mut(&meta).expect("what belongs to the stream");
            hash.insert(b"last".to_vec(), last.to_string().into_bytes());
            hash.insert(b"group".to_vec(), group.clone());
        }
    }

    /// How often somebody took the right to write.
    pub(super) fn epoch(&self) -> u64 {
        self.hashes
            .values()
            .filter_map(|hash| hash.get(b"epoch".as_slice()))
            .map(|epoch| number(epoch))
            .max()
            .unwrap_or(0)
    }

    /// The position of the last record.
    pub(super) fn last(&self) -> u64 {
        self.streams.values().filter_map(BTreeMap::last_key_value).map(|(position, _)| *position).max().unwrap_or(0)
    }

    /// All bytes that it keeps.
    pub(super) fn bytes(&self) -> Bytes {
        format!("{:?}{:?}{:?}", self.hashes, self.streams, self.sets).into_bytes()
    }
}

fn durable() -> Value {
    let settings = ["appendonly", "yes", "appendfsync", "always", "no-appendfsync-on-rewrite", "no"];
    Value::Array(settings.map(|word| Value::BulkString(word.into())).to_vec())
}

/// `append.lua`.
fn append(redis: &mut Redis, keys: &[Bytes], arguments: &[Bytes]) -> Value {
    let (stream, meta) = (&keys[0], &keys[1]);
    if let Some(refusal) = redis.refusal(meta, arguments) {
        return refusal;
    }
    let (first, last) = (redis.number(meta, "first"), redis.number(meta, "last"));
    let group = bulk(redis.field(meta, "group"));
    if group == Value::BulkString(arguments[3].clone()) || last != number(&arguments[2]) {
        return Value::Array(vec![int(last), group]);
    }
    if redis.streams.get(stream).map_or(0, BTreeMap::len) as u64 != last + 1 - first {
        return error("WEIRLOST entries are missing, or there are some that weir did not write");
    }
    let brought: usize = arguments.iter().map(Vec::len).sum();
    if redis.room.is_some_and(|room| brought > room) {
        return error("OOM command not allowed when used memory > 'maxmemory'.");
    }
    let Some(entries) = redis.streams.get_mut(stream) else { return error("WEIRLOST its stream is gone") };
    let records = arguments[4..].chunks_exact(2).map(|parts| (parts[0].clone(), parts[1].clone()));
    entries.extend((last + 1..).zip(records));
    let last = last + (arguments.len() as u64 - 4) / 2;
    redis.history.push((last, arguments[3].clone()));
    redis.set(meta, &[("last", last.to_string().into_bytes()), ("group", arguments[3].clone())]);
    Value::Array(vec![int(last), Value::BulkString(arguments[3].clone())])
}

/// `take.lua`.
fn take(redis: &mut Redis, keys: &[Bytes], arguments: &[Bytes]) -> Value {
    let (stream, meta, lease) = (&keys[0], &keys[1], &keys[2]);
    let id = match redis.field(meta, "id").cloned() {
        Some(id) => id,
        None if redis.streams.contains_key(stream) => {
            return error("WEIRLOST its entries are there, but what weir keeps beside them is gone");
        }
        None if arguments[3].is_empty() => return error("WEIRLOST there is none"),
        None => {
            redis.streams.insert(stream.clone(), BTreeMap::new());
            let last = (number(&arguments[4]) - 1).to_string().into_bytes();
            let zero = || b"0".to_vec();
            let fields = [
                ("format", b"1".to_vec()),
                ("id", arguments[3].clone()),
                ("partitions", b"1".to_vec()),
                ("epoch", zero()),
                ("group", Vec::new()),
                ("first", arguments[4].clone()),
                ("last", last),
                ("redacted_through", zero()),
                ("redactions", zero()),
            ];
            redis.set(meta, &fields);
            arguments[3].clone()
        }
    };
    if !arguments[5].is_empty() && arguments[5] != id {
        return error("WEIRLOST another one is in its place");
    }
    if redis.field(lease, "owner").is_some_and(|owner| *owner != arguments[0]) {
        return Value::Array(vec![int(0), bulk(redis.field(lease, "holder"))]);
    }
    let epoch = redis.number(meta, "epoch") + 1;
    redis.set(meta, &[("epoch", epoch.to_string().into_bytes())]);
    hold(redis, lease, (&arguments[0], &arguments[1], &epoch.to_string().into_bytes()), &arguments[2]);
    let (first, last) = (redis.number(meta, "first"), redis.number(meta, "last"));
    let entries = redis.streams.get(stream).map_or(0, BTreeMap::len) as u64;
    Value::Array(vec![int(1), Value::BulkString(id), int(epoch), int(first), int(last), int(entries)])
}

fn hold(redis: &mut Redis, lease: &Bytes, (owner, holder, epoch): (&Bytes, &Bytes, &Bytes), for_ms: &Bytes) {
    redis.set(lease, &[("owner", owner.clone()), ("holder", holder.clone()), ("epoch", epoch.clone())]);
    redis.expire_at.insert(lease.clone(), redis.now_ms + number(for_ms));
}

/// `renew.lua`.
fn renew(redis: &mut Redis, keys: &[Bytes], arguments: &[Bytes]) -> Value {
    if let Some(refusal) = redis.refusal(&keys[0], arguments) {
        return refusal;
    }
    hold(redis, &keys[1], (&arguments[2], &arguments[3], &arguments[1]), &arguments[4]);
    int(1)
}

/// `release.lua`.
fn release(redis: &mut Redis, keys: &[Bytes], arguments: &[Bytes]) -> Value {
    let is_own = redis.field(&keys[0], "epoch") == Some(&arguments[0]);
    if is_own {
        redis.hashes.remove(&keys[0]);
        redis.expire_at.remove(&keys[0]);
    }
    int(u64::from(is_own))
}

/// `prune.lua`.
fn prune(redis: &mut Redis, keys: &[Bytes], arguments: &[Bytes]) -> Value {
    if let Some(refusal) = redis.refusal(&keys[1], arguments) {
        return refusal;
    }
    let (first, last) = (redis.number(&keys[1], "first"), redis.number(&keys[1], "last"));
    let (through, before, most) = (number(&arguments[2]), number(&arguments[3]), number(&arguments[4]));
    let stop = through.min(last.saturating_sub(1)).min(first + most - 1);
    let Some(entries) = redis.streams.get_mut(&keys[0]) else { return int(0) };
    let received = |header: &Bytes| u64::from_le_bytes(header[2..10].try_into().expect("eight bytes"));
    let kept =
        (first..=stop).find(|position| entries.get(position).is_none_or(|(header, _)| received(header) >= before));
    let kept = kept.unwrap_or(first.max(stop + 1));
    *entries = entries.split_off(&kept);
    redis.set(&keys[1], &[("first", kept.to_string().into_bytes())]);
    int(kept - first)
}

/// `redact.lua`.
fn redact(redis: &mut Redis, keys: &[Bytes], arguments: &[Bytes]) -> Value {
    if let Some(refusal) = redis.refusal(&keys[0], arguments) {
        return refusal;
    }
    redis.sets.entry(keys[1].clone()).or_default().extend(arguments[3..].iter().cloned());
    let through = redis.number(&keys[0], "redacted_through").max(number(&arguments[2]));
    let redactions = redis.number(&keys[0], "redactions") + 1;
    let fields = [("redacted_through", through.to_string()), ("redactions", redactions.to_string())];
    redis.set(&keys[0], &fields.map(|(field, value)| (field, value.into_bytes())));
    int(1)
}

/// Runs commands one after the other, as a connection does whose answers all arrive.
pub(super) fn all(redis: &mut Redis, commands: &[Command]) -> RedisResult<Vec<Value>> {
    Ok(commands.iter().map(|command| redis.run(command)).collect())
}
