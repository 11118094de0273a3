//! The numbers of proxy-wasm ABI 0.2.1, as closed enums.
//!
//! Source: the ABI as declared by the Rust SDK 0.2.5 (`types.rs`, `hostcalls.rs`) and by the C++ host
//! (`proxy_wasm_common.h`), which knows more status codes than the SDK does.

/// The result of a hostcall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Status {
    /// Done; out-parameters are written.
    Ok = 0,
    /// The key, property, queue or function does not exist.
    NotFound = 1,
    /// The call or one of its arguments is not valid now.
    BadArgument = 2,
    /// A value could not be serialised for the guest.
    SerializationFailure = 3,
    /// Bytes from the guest could not be parsed.
    ParseFailure = 4,
    /// A pointer and length leave the guest's memory. The SDK does not know this code and panics on it.
    InvalidMemoryAccess = 6,
    /// The queue is empty.
    Empty = 7,
    /// The compare-and-swap number is not the current one.
    CasMismatch = 8,
    /// The host failed for an internal reason.
    InternalFailure = 10,
    /// The host does not implement the call. The SDK does not know this code and panics on it.
    Unimplemented = 12,
}

/// Declares an ABI enum with conversion from a `u32`; unknown numbers have no variant.
macro_rules! abi_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $number:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum $name { $($(#[$variant_meta])* $variant = $number,)+ }

        impl $name {
            /// The variant with this number; None if the ABI has none.
            pub(crate) fn from_abi(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

abi_enum! {
    /// The action that a stream callback asks the host for.
    Action {
        /// Go on with the next filter.
        Continue = 0,
        /// Hold the part that the callback received.
        Pause = 1,
    }
}

abi_enum! {
    /// Severity of a log line.
    LogLevel {
        /// Finest.
        Trace = 0,
        /// For developers.
        Debug = 1,
        /// For operators.
        Info = 2,
        /// Something is wrong, and the request continues.
        Warn = 3,
        /// Something failed.
        Error = 4,
        /// The SDK's panic hook writes here before it traps.
        Critical = 5,
    }
}

abi_enum! {
    /// The header maps a guest can name.
    MapType {
        /// Head of the request.
        HttpRequestHeaders = 0,
        /// Trailers of the request.
        HttpRequestTrailers = 1,
        /// Head of the response.
        HttpResponseHeaders = 2,
        /// Trailers of the response.
        HttpResponseTrailers = 3,
        /// Not supported by this host.
        GrpcReceiveInitialMetadata = 4,
        /// Not supported by this host.
        GrpcReceiveTrailingMetadata = 5,
        /// Head of the answer to a dispatched call.
        HttpCallResponseHeaders = 6,
        /// Trailers of the answer to a dispatched call.
        HttpCallResponseTrailers = 7,
    }
}

abi_enum! {
    /// The byte buffers a guest can name.
    BufferType {
        /// Body of the request.
        HttpRequestBody = 0,
        /// Body of the response.
        HttpResponseBody = 1,
        /// Not supported: TCP.
        DownstreamData = 2,
        /// Not supported: TCP.
        UpstreamData = 3,
        /// Body of the answer to a dispatched call.
        HttpCallResponseBody = 4,
        /// Not supported: gRPC.
        GrpcReceiveBuffer = 5,
        /// The VM's configuration.
        VmConfiguration = 6,
        /// The root context's configuration.
        PluginConfiguration = 7,
        /// Arguments of a foreign function call.
        CallData = 8,
    }
}

abi_enum! {
    /// The half of a stream to continue or close.
    StreamType {
        /// Towards the upstream.
        HttpRequest = 0,
        /// Towards the downstream.
        HttpResponse = 1,
        /// TCP downstream.
        Downstream = 2,
        /// TCP upstream.
        Upstream = 3,
    }
}

abi_enum! {
    /// The kinds of metric.
    MetricType {
        /// Only goes up.
        Counter = 0,
        /// Goes up and down.
        Gauge = 1,
        /// Records samples.
        Histogram = 2,
    }
}

/// The callbacks of a guest, named as in the Rust SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Callback {
    /// `_initialize`.
    Initialize,
    /// `on_context_create`.
    ContextCreate,
    /// `on_vm_start`.
    VmStart,
    /// `on_configure`.
    Configure,
    /// `on_tick`.
    Tick,
    /// `on_queue_ready`.
    QueueReady,
    /// `on_http_call_response`.
    HttpCallResponse,
    /// `on_http_request_headers`.
    RequestHeaders,
    /// `on_http_request_body`.
    RequestBody,
    /// `on_http_request_trailers`.
    RequestTrailers,
    /// `on_http_response_headers`.
    ResponseHeaders,
    /// `on_http_response_body`.
    ResponseBody,
    /// `on_http_response_trailers`.
    ResponseTrailers,
    /// `on_log`.
    Log,
    /// `on_done`.
    Done,
    /// `on_delete`.
    Delete,
}

impl Callback {
    /// The name of the guest's export.
    pub fn export(self) -> &'static str {
        match self {
            Callback::Initialize => "_initialize",
            Callback::ContextCreate => "proxy_on_context_create",
            Callback::VmStart => "proxy_on_vm_start",
            Callback::Configure => "proxy_on_configure",
            Callback::Tick => "proxy_on_tick",
            Callback::QueueReady => "proxy_on_queue_ready",
            Callback::HttpCallResponse => "proxy_on_http_call_response",
            Callback::RequestHeaders => "proxy_on_request_headers",
            Callback::RequestBody => "proxy_on_request_body",
            Callback::RequestTrailers => "proxy_on_request_trailers",
            Callback::ResponseHeaders => "proxy_on_response_headers",
            Callback::ResponseBody => "proxy_on_response_body",
            Callback::ResponseTrailers => "proxy_on_response_trailers",
            Callback::Log => "proxy_on_log",
            Callback::Done => "proxy_on_done",
            Callback::Delete => "proxy_on_delete",
        }
    }

    /// True in the callbacks that show a response to the guest.
    pub(crate) fn is_response(self) -> bool {
        matches!(self, Callback::ResponseHeaders | Callback::ResponseBody | Callback::ResponseTrailers)
    }
}
