//! The host's side of one VM: contexts, streams, calls, and the active context.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::{Memory, TypedFunc};

use crate::host::abi::{Callback, LogLevel};
use crate::host::calls::{CallParts, PendingCall};
use crate::host::chaos::Chaos;
use crate::host::clock::Clock;
use crate::host::logs::{LogBook, LogLine, NGINX_LOG_LINE_BYTES_MAX, Place};
use crate::host::quirks::Quirk;
use crate::host::settings::Settings;
use crate::host::shared::{DataRules, SharedStore};
use crate::host::stream::HttpStream;
use weir_seeded::SplitMix64;

/// The state that all VMs of one gateway process share. Clones share it.
#[derive(Clone, Debug)]
pub struct Process {
    /// Shared data, queues, metrics.
    pub shared: SharedStore,
    /// The test's clock.
    pub clock: Clock,
    /// Everything that was logged.
    pub logs: LogBook,
}

/// A root context: one configuration of the filter.
#[derive(Clone, Debug, Default)]
pub struct Root {
    /// The bytes that `on_configure` reads.
    pub config: Vec<u8>,
    /// The tick period; 0 means none.
    pub tick_period_ms: u32,
    /// When the next tick is due, in nanoseconds since the Unix epoch.
    pub next_tick_ns: u64,
    /// True once `proxy_done` was called or `on_done` answered true.
    pub done: bool,
}

/// The state that the imports of one VM read and write.
pub struct HostState {
    /// The gateway's settings.
    pub settings: Arc<Settings>,
    /// The state shared with other VMs.
    pub process: Process,
    /// The rules of shared data.
    pub rules: DataRules,
    /// The place of this VM.
    pub place: Place,
    /// Root contexts by id.
    pub roots: BTreeMap<u32, Root>,
    /// Streams by context id.
    pub streams: BTreeMap<u32, HttpStream>,
    /// Calls without an answer yet, oldest first.
    pub calls: Vec<PendingCall>,
    /// The answer that `on_http_call_response` reads.
    pub call_answer: Option<CallParts>,
    /// Queues with a message and a listener in this VM.
    pub listened_queues: BTreeMap<u32, u32>,
    /// Hostcalls made so far, by name.
    pub hostcalls: BTreeMap<&'static str, u64>,
    /// Makes hostcalls fail, if a test asks for it.
    pub chaos: Option<Chaos>,
    /// The callback under way.
    pub callback: Callback,
    /// The context that the callback was called for.
    pub active: u32,
    /// The context that hostcalls act on.
    pub effective: u32,
    pub(super) memory: Option<Memory>,
    pub(super) malloc: Option<TypedFunc<u32, u32>>,
    pub(super) last_critical: Option<(Callback, String)>,
    next_token: u32,
    random: SplitMix64,
}

impl std::fmt::Debug for HostState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { place, roots, streams, calls, callback, effective, .. } = self;
        let mut shown = f.debug_struct("HostState");
        shown.field("place", place).field("callback", callback).field("effective", effective);
        shown.field("roots", roots).field("streams", streams).field("calls", calls).finish_non_exhaustive()
    }
}

impl HostState {
    pub(super) fn new(settings: Arc<Settings>, process: Process, place: Place) -> Self {
        let rules = DataRules::of(&settings.quirks);
        let random = SplitMix64::new(settings.seed ^ place_salt(place) ^ process.clock.now_ns());
        Self {
            settings,
            process,
            rules,
            place,
            roots: BTreeMap::new(),
            streams: BTreeMap::new(),
            calls: Vec::new(),
            call_answer: None,
            listened_queues: BTreeMap::new(),
            hostcalls: BTreeMap::new(),
            chaos: None,
            callback: Callback::Initialize,
            active: 0,
            effective: 0,
            memory: None,
            malloc: None,
            last_critical: None,
            next_token: 0,
            random,
        }
    }

    /// Returns true if this host has the quirk.
    pub fn has(&self, quirk: Quirk) -> bool {
        self.settings.quirks.has(quirk)
    }

    pub(super) fn enter(&mut self, callback: Callback, context: u32) {
        self.callback = callback;
        self.active = context;
        self.effective = context;
    }

    /// The stream that hostcalls act on; None for a root context.
    pub fn stream(&mut self) -> Option<&mut HttpStream> {
        self.streams.get_mut(&self.effective)
    }

    /// The root context that hostcalls act on, or that of their stream.
    pub(crate) fn root_id(&self) -> u32 {
        self.streams.get(&self.effective).map_or(self.effective, |stream| stream.root)
    }

    /// Writes a log line in the form that this host keeps.
    pub fn log(&mut self, level: LogLevel, message: &str) {
        if super::is_panic(level) {
            self.last_critical = Some((self.callback, message.to_owned()));
        }
        let message = if self.has(Quirk::LogLinesAreCut) { cut(message) } else { message };
        let at_ns = self.process.clock.now_ns();
        self.process.logs.write(LogLine { level, message: message.to_owned(), place: self.place, at_ns });
    }

    /// Queues a dispatched call and gives it a token.
    pub fn dispatch(&mut self, mut call: PendingCall) -> u32 {
        self.next_token += 1;
        call.token = self.next_token;
        self.calls.push(call);
        self.next_token
    }

    pub(super) fn random_bytes(&mut self, length: usize) -> Vec<u8> {
        self.random.bytes(length)
    }
}

fn cut(message: &str) -> &str {
    let mut end = message.len().min(NGINX_LOG_LINE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

fn place_salt(place: Place) -> u64 {
    match place {
        Place::Main => 1 << 32,
        Place::Canary => 2 << 32,
        Place::Worker(index) => index as u64 + 1,
    }
}
