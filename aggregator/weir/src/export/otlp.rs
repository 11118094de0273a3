//! An export as metrics: OpenTelemetry's for generative AI
//! (<https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/>), over OTLP.
//!
//! Each accepted request adds to histograms of its tokens, its time and its time to the first token. They are kept in memory, cumulative
//! since the export was opened, and a collector gets them every so often: what one call does not bring the next one does. Names of
//! models that nobody else uses are bounded by the library, which sums up further ones under `otel.metric.overflow`.
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, MeterProvider as _};
use opentelemetry_otlp::{MetricExporter, Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use weir_contract::{Class, Event, Outcome, Payload, UsageData};
use weir_settings::secret::masked;

use super::ExportError;
use super::batch::Outgoing;
use crate::config::export::Otlp;

/// The longest wait for the collector's answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The bounds that the conventions advise: tokens, seconds of an operation, seconds to the first token.
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
const SECONDS: [f64; 14] = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const FIRST_SECONDS: [f64; 16] =
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Why the last call to the collector failed; None if it did not.
type Problem = Arc<Mutex<Option<String>>>;

/// Histograms, and the thread that sends them.
pub(super) struct Metrics {
    provider: SdkMeterProvider,
    tokens: Histogram<u64>,
    duration: Histogram<f64>,
    first: Histogram<f64>,
    problem: Problem,
}

/// An exporter that remembers how its last call ended.
struct Watched {
    exporter: MetricExporter,
    problem: Problem,
}

impl PushMetricExporter for Watched {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let sent = self.exporter.export(metrics).await;
        let problem = sent.as_ref().err().map(|error| masked(&error.to_string()));
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
        sent
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

impl Metrics {
    /// Begins to send to a collector; relative paths of secrets lie in `base`.
    pub(super) fn open(to: &Otlp, base: &Path) -> Result<Self, ExportError> {
        let mut headers = HashMap::new();
        for (name, source) in &to.headers {
            headers.insert(name.clone(), source.read(base)?.expose().to_owned());
        }
        let exporter = MetricExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/metrics", to.url.trim_end_matches('/')))
            .with_timeout(ANSWER_MAX)
            .with_headers(headers)
            .build()
            .map_err(|error| ExportError::Receiver(error.to_string()))?;
        let problem = Problem::default();
        let watched = Watched { exporter, problem: Arc::clone(&problem) };
        let reader = PeriodicReader::builder(watched).with_interval(Duration::from_millis(to.every_ms)).build();
        let resource = Resource::builder_empty().with_service_name("weir").build();
        let provider = SdkMeterProvider::builder().with_reader(reader).with_resource(resource).build();
        let meter = provider.meter("weir");
        let tokens = meter
            .u64_histogram("gen_ai.client.token.usage")
            .with_unit("{token}")
            .with_description("Number of input and output tokens used")
            .with_boundaries(TOKENS.into())
            .build();
        let seconds = |name, told, bounds: &[f64]| {
            meter.f64_histogram(name).with_unit("s").with_description(told).with_boundaries(bounds.into()).build()
        };
        let duration = seconds("gen_ai.client.operation.duration", "GenAI operation duration", &SECONDS);
        let first = seconds(
            "gen_ai.server.time_to_first_token",
            "Time to generate the first token of successful responses",
            &FIRST_SECONDS,
        );
        Ok(Metrics { provider, tokens, duration, first, problem })
    }

    /// Adds requests. Events that are none of a model add nothing.
    pub(super) fn add(&self, events: &[Outgoing]) {
        for event in events {
            if let Ok(Event { payload: Payload::Usage(data), .. }) = Event::parse(&event.json) {
                self.add_request(&data);
            }
        }
    }

    fn add_request(&self, data: &UsageData<'_>) {
        let Some(mut of) = attributes(data) else { return };
        for (kind, tokens) in [("input", data.usage.input_tokens), ("output", data.usage.output_tokens)] {
            let Some(tokens) = tokens else { continue };
            of.push(KeyValue::new("gen_ai.token.type", kind));
            self.tokens.record(tokens, &of);
            of.pop();
        }
        if let Some(first) = data.time_to_first_token_ms.filter(|_| data.outcome == Outcome::Ok) {
            self.first.record(seconds(first), &of);
        }
        of.extend(error(data).map(|error| KeyValue::new("error.type", error)));
        self.duration.record(seconds(data.duration_ms), &of);
    }

    /// Why the collector does not take the metrics, if it does not.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Metrics {
    /// The last metrics go out on a thread of their own: the collector may take its time.
    fn drop(&mut self) {
        let provider = self.provider.clone();
        drop(std::thread::spawn(move || provider.shutdown()));
    }
}

fn seconds(milliseconds: u64) -> f64 {
    Duration::from_millis(milliseconds).as_secs_f64()
}

/// What all metrics of a request say of it; None for a request to no model.
fn attributes(data: &UsageData<'_>) -> Option<Vec<KeyValue>> {
    let operation = match data.class {
        Class::Chat | Class::Rag => "chat",
        Class::Completion => "text_completion",
        Class::Embedding => "embeddings",
        Class::Image | Class::Audio => "generate_content",
        Class::Rerank | Class::Moderation | Class::Batch | Class::Mcp | Class::Other => return None,
    };
    let model = |name: &'static str, model: &Option<weir_contract::Text<'_>>| {
        model.as_deref().map(|model| KeyValue::new(name, model.to_owned()))
    };
    let mut of = vec![KeyValue::new("gen_ai.operation.name", operation)];
    of.extend(data.provider.as_deref().map(|name| KeyValue::new("gen_ai.provider.name", provider(name))));
    of.extend(model("gen_ai.request.model", &data.request_model));
    of.extend(model("gen_ai.response.model", &data.response_model));
    Some(of)
}

/// A provider by the name that the conventions give it.
fn provider(name: &str) -> String {
    match name {
        "azure_openai" => "azure.ai.openai",
        "bedrock" => "aws.bedrock",
        "google" => "gcp.gemini",
        "mistral" => "mistral_ai",
        "xai" => "x_ai",
        other => other,
    }
    .to_owned()
}

/// How a request failed, if it did: the status where there is one.
fn error(data: &UsageData<'_>) -> Option<String> {
    match data.outcome {
        Outcome::Ok => None,
        Outcome::ClientError | Outcome::UpstreamError if data.status >= 400 => Some(data.status.to_string()),
        Outcome::ClientError | Outcome::UpstreamError => Some("unavailable".to_owned()),
        Outcome::ClientClosed => Some("client_closed".to_owned()),
        Outcome::UpstreamReset => Some("upstream_reset".to_owned()),
        Outcome::Timeout => Some("timeout".to_owned()),
    }
}
