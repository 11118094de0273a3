//! A connection to the brokers: bounded waits, the topic's settings, and requests that append.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use krafka::admin::{ConfigResource, DescribeConfigsOptions, DescribeTopicsOptions, NewTopic};
use krafka::consumer::AutoOffsetReset;
use krafka::error::ErrorCode;
use krafka::producer::{Acks, Producer};
use krafka::{Kafka, KafkaBuilder, KrafkaError, ProtocolErrorKind, Record};
use tokio::time::timeout;

use super::bridge::{start, wait};
use super::errors::{failed, outcome};
use super::scan::{PARTITION, Scan};
use super::waits::{ANSWER_MAX, CONNECT_MAX, WORK_MAX, bounded, no_answer};
use crate::KafkaProblem;
use crate::brokers::Outcome;
use crate::brokers::{Brokers, Producing, Scanning, Topic};

/// How long entries may wait for more of their batch. It is sent at once when all are there; the bound only keeps a batch together
/// whatever the machine does meanwhile.
const LINGER: Duration = Duration::from_secs(1);
/// How long the client may try to deliver a batch. The smallest that allows one whole attempt.
const DELIVERY_MAX: Duration = Duration::from_secs(6);
/// The largest batch that the client makes, in bytes: more than any chunk, so that a chunk is one batch.
const BATCH_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Bytes that entries may take in the client's memory.
const MEMORY_MAX_BYTES: usize = 2 * BATCH_MAX_BYTES;
/// The largest answer that is read: a batch is sent whole, however little is asked for.
const ANSWER_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that one reading request asks for.
const FETCH_BYTES: i32 = 1024 * 1024;
/// How old the end that a read saw may be to count as an answer to that read.
const END_FRESH: Duration = Duration::from_millis(100);
/// Copies of a topic that weir makes, where there are as many brokers, and the copies that an acknowledged record has then.
const REPLICAS: usize = 3;
const IN_SYNC_REPLICAS: &str = "2";
/// The largest batch of a topic that weir makes, in bytes: the largest body packs into it.
const TOPIC_BATCH_MAX_BYTES: &str = "8388608";
/// How much longer than asked for a topic that weir makes keeps its records.
const SPARE: Duration = Duration::from_secs(24 * 3600);

/// A connection to the brokers.
#[derive(Clone)]
pub(super) struct Client {
    kafka: Kafka,
    topic: Arc<str>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn connect(builder: KafkaBuilder, topic: &str) -> Result<Self, KafkaProblem> {
        let builder = builder
            .request_timeout(ANSWER_MAX)
            .connect_timeout(CONNECT_MAX)
            .max_response_size(ANSWER_MAX_BYTES)
            .metadata_max_age(Duration::from_secs(30));
        let kafka = wait(async move { bounded(builder.connect()).await })?;
        Ok(Client { kafka, topic: topic.into() })
    }
}

impl Brokers for Client {
    fn topic(&self) -> Result<Option<Topic>, KafkaProblem> {
        let (kafka, topic) = (self.kafka.clone(), Arc::clone(&self.topic));
        wait(async move {
            let admin = kafka.admin();
            let options = DescribeTopicsOptions::default();
            let mut found = bounded(admin.describe_topics([topic.as_ref()], options)).await?;
            match found.remove(topic.as_ref()) {
                Some(Ok(found)) if found.partitions.is_empty() => Ok(None),
                Some(Ok(found)) => Ok(Some(Topic {
                    partitions: found.partitions.len(),
                    replicas: found.partitions.iter().map(|one| one.replicas.len()).min().unwrap_or(1),
                })),
                Some(Err(error)) if is_unknown_topic(&error) => Ok(None),
                Some(Err(error)) => Err(failed(&error)),
                None => Ok(None),
            }
        })
    }

    fn settings(&self) -> Result<Option<HashMap<String, String>>, KafkaProblem> {
        let (kafka, topic) = (self.kafka.clone(), Arc::clone(&self.topic));
        wait(async move {
            let (admin, resource) = (kafka.admin(), ConfigResource::topic(topic.as_ref()));
            let options = DescribeConfigsOptions::default();
            let found = match timeout(WORK_MAX, admin.describe_configs([resource.clone()], options)).await {
                Ok(Ok(mut found)) => found.remove(&resource),
                Ok(Err(error)) => Some(Err(error)),
                Err(_) => return Err(no_answer()),
            };
            match found {
                Some(Ok(entries)) => {
                    Ok(Some(entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()))
                }
                Some(Err(error)) if !are_told(&error) => Ok(None),
                Some(Err(error)) => Err(failed(&error)),
                None => Ok(None),
            }
        })
    }

    fn create(&self, keep: Duration) -> Result<(), KafkaProblem> {
        let (kafka, topic) = (self.kafka.clone(), Arc::clone(&self.topic));
        wait(async move {
            let consumer = consumer(&kafka).await?;
            let brokers = bounded(consumer.fetch_metadata(None)).await?.brokers.len();
            let replicas = i16::try_from(brokers.clamp(1, REPLICAS)).unwrap_or(1);
            let retention = (keep + SPARE).as_millis().to_string();
            let new = NewTopic::new(topic.as_ref(), 1, replicas).map_err(|error| failed(&error))?;
            let new = new
                .with_config("cleanup.policy", "delete")
                .with_config("retention.ms", retention)
                .with_config("retention.bytes", "-1")
                .with_config("max.message.bytes", TOPIC_BATCH_MAX_BYTES)
                .with_config("message.timestamp.type", "CreateTime")
                .with_config("min.insync.replicas", if replicas > 1 { IN_SYNC_REPLICAS } else { "1" });
            let mut made =
                bounded(kafka.admin().create_topics([new], krafka::admin::CreateTopicsOptions::default())).await?;
            match made.remove(topic.as_ref()) {
                Some(Err(KrafkaError::Broker { code: ErrorCode::TopicAlreadyExists, .. })) | Some(Ok(())) | None => {
                    Ok(())
                }
                Some(Err(error)) => Err(failed(&error)),
            }
        })
    }

    fn scan(&self) -> Result<Box<dyn Scanning>, KafkaProblem> {
        let (kafka, topic) = (self.kafka.clone(), Arc::clone(&self.topic));
        wait(async move {
            let consumer = consumer(&kafka).await?;
            bounded(consumer.assign(&topic, vec![PARTITION])).await?;
            Ok(Box::new(Scan::new(consumer, topic)) as Box<dyn Scanning>)
        })
    }

    fn producer(&self) -> Result<Arc<dyn Producing>, KafkaProblem> {
        let (kafka, topic) = (self.kafka.clone(), Arc::clone(&self.topic));
        let producer = wait(async move {
            let builder = kafka
                .producer()
                .acks(Acks::All)
                .idempotent(true)
                .linger(LINGER)
                .delivery_timeout(DELIVERY_MAX)
                .max_block(ANSWER_MAX)
                .batch_size(BATCH_MAX_BYTES)
                .buffer_memory(MEMORY_MAX_BYTES)
                .metrics_push(false);
            bounded(builder.build()).await.map(Arc::new)
        })?;
        Ok(Arc::new(Sender { producer, topic }))
    }
}

/// A client's writing end of the topic.
struct Sender {
    producer: Arc<Producer>,
    topic: Arc<str>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Producing for Sender {
    fn append(&self, entries: Vec<(i64, Vec<u8>)>) -> Result<i64, Outcome> {
        let (producer, topic) = (Arc::clone(&self.producer), Arc::clone(&self.topic));
        let sent = wait(async move { Ok(timeout(WORK_MAX, send(&producer, &topic, entries)).await) });
        match sent {
            Ok(Ok(Ok(Some(first)))) => Ok(first),
            Ok(Ok(Ok(None))) => Err(Outcome::Unknown("the brokers say that the batch was there already".to_owned())),
            Ok(Ok(Err(error))) => Err(outcome(&error)),
            Ok(Err(_)) => Err(no_answer().into()),
            Err(problem) => Err(problem.into()),
        }
    }

    fn end(&self) {
        let producer = Arc::clone(&self.producer);
        start(async move {
            let _ended_either_way = producer.close_with(krafka::CloseOptions::new().timeout(Duration::ZERO)).await;
        });
    }
}

/// Sends entries as one batch; None if the brokers do not say where it is.
async fn send(producer: &Producer, topic: &str, entries: Vec<(i64, Vec<u8>)>) -> Result<Option<i64>, KrafkaError> {
    let mut handles = Vec::with_capacity(entries.len());
    for (timestamp, value) in entries {
        let record = Record::new(topic, value).partition(PARTITION).timestamp(timestamp);
        handles.push(producer.enqueue(record).await?);
    }
    producer.flush().await?;
    let (mut first, mut placed) = (None, true);
    for handle in handles {
        let metadata = handle.await?;
        placed &= metadata.is_success();
        first = first.or(Some(metadata.offset));
    }
    Ok(first.filter(|_| placed))
}

async fn consumer(kafka: &Kafka) -> Result<krafka::consumer::Consumer, KafkaProblem> {
    let builder = kafka
        .consumer_without_group()
        .auto_offset_reset(AutoOffsetReset::None)
        .enable_auto_commit(false)
        .max_partition_fetch_bytes(FETCH_BYTES)
        .lag_staleness_threshold(END_FRESH)
        .metrics_push(false);
    bounded(builder.build()).await
}

fn is_unknown_topic(error: &KrafkaError) -> bool {
    matches!(error, KrafkaError::Broker { code: ErrorCode::UnknownTopicOrPartition, .. })
}

/// Whether a broker tells settings, but did not just now.
fn are_told(error: &KrafkaError) -> bool {
    !matches!(
        error,
        KrafkaError::Protocol { kind: ProtocolErrorKind::UnknownApiVersion, .. }
            | KrafkaError::Broker {
                code: ErrorCode::TopicAuthorizationFailed | ErrorCode::ClusterAuthorizationFailed,
                ..
            }
    )
}
