//! A topic of a Kafka as a receiver: one record per event, in the binary mode of CloudEvents' Kafka binding.
//!
//! Attributes are headers (`ce_id`, `ce_type`, …; `content-type`), data is the record's value, and the tenant is its key: a tenant's
//! events are in one partition, in order.
use std::path::Path;
use std::time::Duration;

use krafka::producer::{Acks, Producer};
use krafka::{Kafka, KrafkaError, Record};
use serde_json::Value;
use serde_json::value::RawValue;
use weir_settings::kafka::KafkaServer;
use weir_settings::secret::masked;

use super::ExportError;
use super::batch::Outgoing;

/// The longest wait for a connection, for an answer, and for all attempts at a batch.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(15);
const DELIVERY_MAX: Duration = Duration::from_secs(30);
/// How long a record waits for more of its batch.
const LINGER: Duration = Duration::from_millis(5);
/// The size of a batch, in bytes: less than brokers take by default.
const BATCH_BYTES: usize = 512 * 1024;
/// The type of data that says none.
const JSON: &str = "application/json";

/// An open topic.
pub(super) struct KafkaSink {
    producer: Producer,
    topic: String,
    /// Connects again by itself.
    _kafka: Kafka,
}

impl KafkaSink {
    pub(super) async fn open(server: &KafkaServer, base: &Path) -> Result<Self, ExportError> {
        let kafka = server.client(base)?.connect_timeout(CONNECT_MAX).request_timeout(ANSWER_MAX).connect().await;
        let kafka = kafka.map_err(failed)?;
        let producer = kafka.producer().acks(Acks::All).idempotent(true).linger(LINGER).delivery_timeout(DELIVERY_MAX);
        let producer = producer.batch_size(BATCH_BYTES).max_block(ANSWER_MAX).metrics_push(false).build().await;
        Ok(KafkaSink { producer: producer.map_err(failed)?, topic: server.topic().to_owned(), _kafka: kafka })
    }

    /// Sends events; returns once all in-sync replicas have them. After an error some of them may be there; all of them are sent again.
    pub(super) async fn send(&self, events: &[Outgoing]) -> Result<(), ExportError> {
        let mut handles = Vec::with_capacity(events.len());
        for event in events {
            handles.push(self.producer.enqueue(record(&self.topic, event)?).await.map_err(failed)?);
        }
        for handle in handles {
            let _placed = handle.await.map_err(failed)?;
        }
        Ok(())
    }
}

/// An event as a record.
fn record(topic: &str, event: &Outgoing) -> Result<Record, ExportError> {
    let attributes: std::collections::BTreeMap<String, &RawValue> = serde_json::from_slice(&event.json)
        .map_err(|error| ExportError::Receiver(format!("event {}: {error}", event.id)))?;
    let data = attributes.get("data").map(|data| data.get().as_bytes().to_vec()).unwrap_or_default();
    let mut record = Record::new(topic, data);
    if !event.tenant.is_empty() {
        record = record.key(event.tenant.clone());
    }
    let kind = attributes.get("datacontenttype").and_then(|kind| text(kind)).unwrap_or_else(|| JSON.to_owned());
    record = record.header("content-type", kind);
    let named = attributes.iter().filter(|(name, _)| !matches!(name.as_str(), "data" | "datacontenttype"));
    for (name, value) in named {
        if let Some(value) = text(value) {
            record = record.header(format!("ce_{name}"), value);
        }
    }
    Ok(record)
}

/// The value of an attribute: text without its quotes, other values as they are written. None for null.
fn text(value: &RawValue) -> Option<String> {
    match serde_json::from_str(value.get()).ok()? {
        Value::Null => None,
        Value::String(text) => Some(text),
        _ => Some(value.get().to_owned()),
    }
}

fn failed(error: KrafkaError) -> ExportError {
    ExportError::Receiver(masked(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(json: &str) -> Outgoing {
        Outgoing { id: "1".to_owned(), kind: String::new(), tenant: "acme".to_owned(), json: json.as_bytes().to_vec() }
    }

    #[test]
    fn attributes_are_headers_and_data_is_the_value_byte_for_byte() {
        let json = r#"{"specversion":"1.0","id":"1","note":"a \"b\" é","sequence":7,"flag":null,
                       "datacontenttype":"application/json","data":{"b": 1.50,"a":"x"}}"#;
        let record = record("t", &outgoing(json)).expect("an event");
        let mut headers: Vec<(String, String)> = record
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), String::from_utf8_lossy(value.as_deref().unwrap_or(b"-")).into_owned()))
            .collect();
        headers.sort();
        let expected = [
            ("ce_id", "1"),
            ("ce_note", "a \"b\" é"),
            ("ce_sequence", "7"),
            ("ce_specversion", "1.0"),
            ("content-type", "application/json"),
        ];
        assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!((record.key_str(), record.value_str()), (Some("acme"), Some(r#"{"b": 1.50,"a":"x"}"#)));
    }
}
