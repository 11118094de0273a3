//! Reads of the topic from an offset, with the reason where nothing is there.
use std::sync::Arc;
use std::time::Duration;

use krafka::KrafkaError;
use krafka::consumer::{Consumer, ConsumerRecord};
use tokio::time::timeout;

use super::bridge::wait;
use super::errors::failed;
use super::waits::{WORK_MAX, bounded, no_answer};
use crate::KafkaProblem;
use crate::brokers::{Found, Raw, Scanning};

/// The only partition of a log.
pub(super) const PARTITION: i32 = 0;
/// How long a read waits for the broker, attempt by attempt. At the end of the log nothing comes however long it waits.
const WAITS: [Duration; 5] = [
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(1_000),
    Duration::from_millis(2_000),
];

/// Reads of the topic.
pub(super) struct Scan {
    consumer: Arc<Consumer>,
    topic: Arc<str>,
    /// Where the consumer goes on by itself.
    next: i64,
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("topic", &self.topic).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Scan {
    pub(super) fn new(consumer: Consumer, topic: Arc<str>) -> Self {
        Scan { consumer: Arc::new(consumer), topic, next: -1 }
    }
}

impl Scanning for Scan {
    fn ends(&self) -> Result<(i64, i64), KafkaProblem> {
        let (consumer, topic) = (Arc::clone(&self.consumer), Arc::clone(&self.topic));
        wait(async move { bounded(consumer.fetch_watermarks(&topic, PARTITION)).await })
    }

    fn read(&mut self, offset: i64) -> Result<Found, KafkaProblem> {
        let (consumer, topic) = (Arc::clone(&self.consumer), Arc::clone(&self.topic));
        let goes_on = self.next == offset;
        // If this fails, the consumer may be anywhere.
        self.next = -1;
        let found = wait(async move {
            if !goes_on {
                bounded(consumer.seek(&topic, PARTITION, offset)).await?;
            }
            timeout(WORK_MAX, read(&consumer, &topic, offset)).await.unwrap_or_else(|_| Err(no_answer()))
        })?;
        if let Found::Entries(entries) = &found {
            self.next = entries.last().map_or(-1, |(last, _)| last + 1);
        }
        Ok(found)
    }
}

async fn read(consumer: &Consumer, topic: &str, offset: i64) -> Result<Found, KafkaProblem> {
    let mut last_error = no_answer();
    for (attempt, wait) in WAITS.into_iter().enumerate() {
        let out_of_range = match consumer.poll(wait).await {
            Ok(records) if !records.is_empty() => return Ok(Found::Entries(entries(records))),
            Ok(_) => false,
            Err(KrafkaError::NoOffset { .. }) => true,
            Err(error) if error.is_retriable() => {
                last_error = failed(&error);
                continue;
            }
            Err(error) => return Err(failed(&error)),
        };
        match nothing_at(consumer, topic, offset, out_of_range).await {
            // Believed once it is said again: the writer stops for good on it.
            Ok(Some(Found::Short(_))) if attempt == 0 => {}
            Ok(Some(why)) => return Ok(why),
            Ok(None) => {}
            Err(problem) => last_error = problem,
        }
    }
    Err(last_error)
}

fn entries(records: Vec<ConsumerRecord>) -> Vec<Raw> {
    records.into_iter().map(|record| (record.offset, record.value.map(Into::into).unwrap_or_default())).collect()
}

/// Why a read found nothing; None if there is something, or the read itself did not reach the broker.
async fn nothing_at(
    consumer: &Consumer,
    topic: &str,
    offset: i64,
    out_of_range: bool,
) -> Result<Option<Found>, KafkaProblem> {
    // The answer to a read names the end too, which is right where a broker's other answer is too low.
    let lags = consumer.lag().await;
    let read = lags.values().find(|lag| !lag.stale).and_then(|lag| lag.high_watermark);
    let (low, high) = bounded(consumer.fetch_watermarks(topic, PARTITION)).await?;
    let end = read.unwrap_or(high).max(high);
    Ok(match offset {
        _ if offset < low => Some(Found::Dropped(low)),
        _ if offset > end && (out_of_range || read.is_some()) => Some(Found::Short(end)),
        _ if offset == end && read.is_some() => Some(Found::End),
        _ => None,
    })
}
