//! The observed behaviour of real hosts, each by its name.
//!
//! A [`Quirk`] is one observed behaviour that a filter must survive. A [`Profile`] is the set of quirks of one host.
//! The host consults the set, never the profile's name, so a test can switch one behaviour off ([`Quirks::without`])
//! and see whether a filter depends on it.

use std::collections::BTreeSet;

/// A host to imitate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Envoy 1.40 with V8.
    Envoy,
    /// Kong Gateway 3.9: nginx with `ngx_wasm_module`.
    Kong,
}

/// Declares the quirks: their variants, and for each the profile that has it.
macro_rules! quirks {
    ($($(#[$doc:meta])+ $host:ident $name:ident,)+) => {
        /// One observed behaviour of a host.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Quirk { $($(#[$doc])+ $name,)+ }

        impl Quirk {
            /// Every quirk, in the order of the table in the README.
            pub const ALL: &'static [Quirk] = &[$(Quirk::$name,)+];

            /// The host that behaves so.
            pub fn host(self) -> Profile {
                match self { $(Quirk::$name => Profile::$host,)+ }
            }
        }
    };
}

quirks! {
    // Request
    /// Pausing in request or response headers stops body callbacks too, unless the filter's configuration sets
    /// `allow_on_headers_stop_iteration`.
    Envoy HeadersPauseStopsBody,
    /// While a body is paused, the size argument counts everything held so far.
    Envoy BodySizeIsCumulative,
    /// A request head that was let go is upstream at once: edits made in a later phase do not reach it.
    Envoy HeadLeavesWithContinue,
    /// With trailers, no body callback has `end_of_stream`.
    Envoy TrailersEndTheStream,
    /// Replacing a request body leaves `content-length` as it was, and the upstream waits for bytes that never come.
    Envoy ContentLengthStaysStale,
    /// A held request body above the buffer limit is answered 413, a held response body 500. Bytes that arrive while a
    /// request's body is held are added to it before the filter sees them, so the filter cannot release the body in
    /// time.
    Envoy BufferLimitRefuses,
    /// A map closes when its callback answers Continue, and when the stream is continued: reading one of its fields is
    /// then `BadArgument`, all of them are none. So the request map is closed in response callbacks, unless its head
    /// was held. In `on_log` maps can be read, but not changed.
    Envoy MapsCloseWithContinue,
    /// In the response phase the properties that come from the request's head are not found.
    Envoy RequestPropertiesEmptyInResponse,
    /// Continuing a response before there is one crashes the whole process.
    Envoy ContinuingNoResponseCrashes,
    /// Every request gets an `x-request-id`, unless it has one, and an `x-forwarded-proto`.
    Envoy RequestsGetAnId,
    /// A CONNECT request has no `:path`.
    Envoy ConnectHasNoPath,
    /// 1xx responses are not shown to the filter, except 101, which ends an upgrade's request.
    Envoy InformationalResponsesHidden,
    /// A filter's local reply runs through its own response callbacks.
    Envoy LocalRepliesAreShown,

    // The end of a stream
    /// `on_log` comes before `on_done`.
    Envoy LogComesBeforeDone,
    /// The answer to a call goes to the root context, whichever context dispatched it. A call whose stream has ended is
    /// still executed, but the SDK shows its answer to no context.
    Envoy CallAnswersGoToTheRoot,

    // Calls
    /// A call to a cluster that does not exist, or without `:method`, `:path` or `:authority`, is `BadArgument`.
    Envoy CallsAreValidated,
    /// A dead cluster answers with a synthesized 503, a time-out with a 504, both with headers.
    Envoy CallFailuresAreSynthesized,
    /// A call reset in its response answers with zero headers.
    Envoy CallResetHasNoHeaders,

    /// An answer is cut at 32 MB.
    Envoy CallAnswersAreCut,

    // Foreign functions
    /// The foreign function `verify_signature` verifies RSA PKCS#1 v1.5 and ECDSA P-256, and answers false to all other
    /// algorithms.
    Envoy SignaturesAreVerified,

    // Shared data, metrics
    /// Setting a missing key ignores the compare-and-swap number: if two VMs create it, one update is lost.
    Envoy CasIgnoredOnMissingKey,
    /// Removing a key only empties it.
    Envoy RemovedKeyStays,
    /// Shared data survives a new configuration, new code and a new VM with the same `vm_id`.
    Envoy SharedDataSurvives,
    /// Metric names are exported behind `wasmcustom.`.
    Envoy MetricsArePrefixed,

    // VMs
    /// A configuration given as a `google.protobuf.Struct` reaches the filter as that message's bytes, not as JSON.
    Envoy StructIsProtobuf,
    /// A canary VM runs `on_vm_start` and `on_configure` for every configuration, and is then dropped.
    Envoy CanaryVm,
    /// A further VM on the main thread ticks beside the workers' VMs: N + 1 tickers.
    Envoy MainThreadTicks,
    /// A new configuration keeps the VM and adds a root context; the old one gets `on_done` after the drain.
    Envoy ReloadKeepsVm,
    /// A trap kills the VM for all its streams; the failure policy decides what follows.
    Envoy TrapKillsVm,

    // Kong: request
    /// Dispatching a call in request headers without pausing crashes the worker.
    Kong DispatchWithoutPauseCrashes,
    /// Dispatching a call in the answer to another crashes the worker.
    Kong DispatchInCallAnswerCrashes,
    /// Pausing without a call under way hangs for ever.
    Kong PauseWithoutCallHangs,
    /// The request body arrives whole, in one call; an empty one is not shown at all.
    Kong BodyComesWhole,
    /// A request body over `client_body_buffer_size` is spooled: its size is visible, reading it returns nothing.
    Kong LargeBodyIsSpooled,
    /// Header names keep the case in which the peer wrote them.
    Kong NamesKeepTheirCase,
    /// `:path` is nginx's URI, decoded and normalised; the upstream and `request.path` have the raw one.
    Kong PathIsDecoded,
    /// The guest receives only the first 100 fields of a header map.
    Kong MapsAreCut,
    /// Reading a map of 103 or more fields overwrites the guest's memory and traps.
    Kong LargeMapsOverflow,
    /// The callback's count of headers is correct, and excludes the four pseudo fields that the map also has.
    Kong CountsLeaveOutPseudoFields,
    /// Setting a request header changes its first copy only; the others still reach the upstream.
    Kong FirstCopyIsSet,
    /// Removing a request header only hides its first copy from the filter: every copy still reaches the upstream, and
    /// a field set under that name afterwards is added behind them.
    Kong HeaderRemovalIsLost,
    /// Setting the whole request map adds to the old one.
    Kong HeaderMapSetDuplicates,
    /// `:authority` is the machine's name and port, and so is `request.host`.
    Kong AuthorityIsTheMachine,
    /// Setting `:path` has no effect.
    Kong PathIsReadOnly,
    /// Request trailers are not shown to the filter.
    Kong TrailersAreHidden,

    // Kong: buffers and responses
    /// Reading a buffer ignores the offset and starts at its beginning.
    Kong BufferOffsetIgnored,
    /// Setting a buffer cuts the data to the size that it replaces; with size 0 the data goes in front.
    Kong SetBufferCuts,
    /// While nginx buffers the response, replacing several of its chunks by nothing hangs the worker for ever.
    Kong EmptyReplacementHangs,
    /// Replacing the last chunk of a response by nothing loses its end: the client waits for ever.
    Kong EmptyEndIsLost,
    /// `end_of_stream` never comes for a response body with `content-length`.
    Kong EndOfStreamMissing,
    /// The body of an answer to HEAD is never shown, nor its end.
    Kong HeadShowsNoBody,
    /// If an upstream does not answer, nginx answers with `error_page`, and the filter sees only `on_delete`.
    Kong ErrorPageDropsTheStream,
    /// The details of a local reply, which are meant for the access log, become the reason in the status line.
    Kong DetailsAreTheReason,
    /// Reading a property in `on_delete` kills the worker.
    Kong PropertyInDeleteCrashes,
    /// Pausing in response headers is not implemented: the head is sent on. Read in the source of
    /// `ngx_http_proxy_wasm.c`, not run.
    Kong ResponseHeadPauseIgnored,
    /// Pausing a response body shows its first chunk twice.
    Kong PausedChunkRepeats,
    /// A local reply in response headers hangs.
    Kong LocalReplyInResponseHeadersHangs,
    /// A local reply in the response body traps.
    Kong LocalReplyInResponseBodyTraps,

    // Kong: misuse
    /// Dispatching in the response phase or in `on_log` traps.
    Kong LateDispatchTraps,
    /// Every shared-queue call traps.
    Kong QueuesTrap,
    /// Every foreign function call traps.
    Kong ForeignFunctionsTrap,
    /// Every gRPC call traps.
    Kong GrpcTraps,
    /// Setting the tick period a second time traps.
    Kong RearmingTheTickTraps,
    /// `done` and closing a stream trap. Read in the source of `ngx_proxy_wasm_host.c`, not run.
    Kong DoneTraps,
    /// Setting the effective context has no effect. Read in the source of `ngx_proxy_wasm_host.c`, not run.
    Kong EffectiveContextIgnored,
    /// Asking for the log level traps.
    Kong LogLevelTraps,
    /// Setting an unknown property fails, and the SDK's wrapper panics on that.
    Kong UnknownPropertySetFails,
    /// Reading a property in a root context fails.
    Kong RootPropertyFails,
    /// Properties are text, even those that are numbers on Envoy.
    Kong PropertiesAreText,
    /// `response.code_details` is not known, and asking for it is logged as an error, so a filter cannot tell how a
    /// stream broke off.
    Kong CodeDetailsUnknown,

    // Kong: metrics, shared data and VMs
    /// Incrementing a metric that is not a counter traps, and so does recording a counter.
    Kong MetricKindsTrap,
    /// Metrics survive a reload.
    Kong MetricsSurviveReload,
    /// Shared data without a zone traps; in `on_configure` the trap kills the worker.
    Kong MissingZoneTraps,
    /// A refused configuration kills the worker for good, and its clients hang.
    Kong RefusalKillsTheWorker,
    /// A configuration that Kong hands over has `{}` for every empty list.
    Kong EmptyListsAreObjects,
    /// Kong reads YAML 1.1: `on`, `off`, `yes` and `no` without quotes are truth values, as keys too.
    Kong YamlWordsAreTruthValues,
    /// Values are copied after the lock is released: a reader may see half of a value that is being written, under the
    /// version before.
    Kong SharedReadsTear,
    /// Shared-data keys are compared by their CRC32 only.
    Kong KeysAliasByCrc32,
    /// Setting an existing key without a compare-and-swap number is a mismatch; so is setting a missing key with one,
    /// as read in the source of `ngx_wasm_shm_kv.c`, not run.
    Kong CasRequiredOnExistingKey,
    /// A failed call answers with zero headers and a `:dispatch_status`.
    Kong CallFailureIsDispatchStatus,
    /// After a trap the memory is lost, `on_configure` runs again, and the old tick timers run on beside the new ones.
    Kong TrapLeaksTimers,
    /// If a configuration changes without a reload, old roots keep ticking with it.
    Kong StaleRootsTick,
    /// A reload starts new workers: what the old ones hold in memory is lost, for no tick comes to them any more.
    Kong ReloadStartsAnew,
    /// A reload wipes the shared data.
    Kong ReloadWipesSharedData,
    /// A line of the error log is cut at 2 KB.
    Kong LogLinesAreCut,
}

/// The quirks of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quirks(BTreeSet<Quirk>);

impl Quirks {
    /// Every quirk of a profile.
    pub fn of(profile: Profile) -> Self {
        Self(Quirk::ALL.iter().copied().filter(|quirk| quirk.host() == profile).collect())
    }

    /// Returns true if the host has this quirk.
    pub fn has(&self, quirk: Quirk) -> bool {
        self.0.contains(&quirk)
    }

    /// Removes a quirk.
    pub fn without(mut self, quirk: Quirk) -> Self {
        self.0.remove(&quirk);
        self
    }
}
