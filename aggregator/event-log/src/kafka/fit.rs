//! Checks that a topic keeps what is acknowledged, and says how to mend it if it does not.
use std::collections::HashMap;
use std::time::Duration;

use crate::KafkaProblem;
use crate::brokers::{Brokers, Topic};

/// The smallest bound of a batch that will do, in bytes: a little less than Kafka's default.
const BATCH_MIN_BYTES: usize = 1_000_000;
/// The bound where the brokers do not tell it: Kafka's default.
const BATCH_DEFAULT_BYTES: usize = 1_048_588;
/// The largest batch that weir sends, in bytes.
const CHUNK_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of a batch besides its entries.
const BATCH_OVERHEAD_BYTES: usize = 4 * 1024;

/// Checks the topic. Returns the most bytes of entries that one batch may have.
pub(super) fn check(client: &dyn Brokers, topic: &Topic, keep: Duration) -> Result<usize, KafkaProblem> {
    if topic.partitions != 1 {
        return Err(KafkaProblem::Unfit(format!(
            "its topic has {} partitions, and the log has one: name a topic of one partition; records do not move by themselves",
            topic.partitions
        )));
    }
    let Some(settings) = client.settings()? else {
        tracing::warn!(
            "the brokers do not tell the settings of the event log's topic: see that they keep what is acknowledged"
        );
        return Ok(BATCH_DEFAULT_BYTES - BATCH_OVERHEAD_BYTES);
    };
    fits(topic, &settings, keep)
}

fn fits(topic: &Topic, settings: &HashMap<String, String>, keep: Duration) -> Result<usize, KafkaProblem> {
    let number = |name: &str| settings.get(name).and_then(|value| value.parse::<i64>().ok());
    let text = |name: &str| settings.get(name).map(String::as_str);
    let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    if let Some(policy) = text("cleanup.policy").filter(|policy| *policy != "delete") {
        return unfit("cleanup.policy", policy, "it drops records that are still needed", "delete");
    }
    if let Some(retention) = number("retention.ms").filter(|retention| *retention >= 0 && *retention < keep_ms) {
        let why = "it drops records earlier than `log_retention` says";
        return unfit("retention.ms", &retention.to_string(), why, &keep_ms.to_string());
    }
    if let Some(bytes) = number("retention.bytes").filter(|bytes| *bytes >= 0) {
        return unfit("retention.bytes", &bytes.to_string(), "it drops records when there are many", "-1");
    }
    if text("unclean.leader.election.enable") == Some("true") {
        return unfit("unclean.leader.election.enable", "true", "an election may lose acknowledged records", "false");
    }
    if let Some(least) = number("min.insync.replicas").filter(|least| topic.replicas > 1 && *least < 2) {
        return unfit(
            "min.insync.replicas",
            &least.to_string(),
            "an acknowledged record may be on one broker alone",
            "2",
        );
    }
    let batch =
        number("max.message.bytes").and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(BATCH_DEFAULT_BYTES);
    if batch < BATCH_MIN_BYTES {
        return unfit("max.message.bytes", &batch.to_string(), "bodies of events do not fit", "8388608");
    }
    Ok(batch.min(CHUNK_MAX_BYTES) - BATCH_OVERHEAD_BYTES)
}

fn unfit<T>(name: &str, value: &str, why: &str, remedy: &str) -> Result<T, KafkaProblem> {
    Err(KafkaProblem::Unfit(format!(
        "`{name}` of its topic is {value}: {why}; set it: kafka-configs.sh --alter --entity-type topics --entity-name TOPIC \
         --add-config {name}={remedy}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(replicas: usize, settings: &[(&str, &str)]) -> Result<usize, String> {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let topic = Topic { partitions: 1, replicas };
        fits(&topic, &settings, Duration::from_secs(1)).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_topic_that_keeps_its_records_is_fit() {
        assert_eq!(checked(1, &[]), Ok(BATCH_DEFAULT_BYTES - BATCH_OVERHEAD_BYTES), "nothing is told");
        let good = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "1000"),
            ("retention.bytes", "-1"),
            ("unclean.leader.election.enable", "false"),
            ("min.insync.replicas", "2"),
            ("max.message.bytes", "99999999"),
        ];
        assert_eq!(checked(3, &good), Ok(CHUNK_MAX_BYTES - BATCH_OVERHEAD_BYTES));
        assert!(checked(3, &[("retention.ms", "-1")]).is_ok(), "for ever");
        assert!(checked(1, &[("min.insync.replicas", "1")]).is_ok(), "there is one broker");
    }

    #[test]
    fn each_setting_that_loses_records_is_named_with_its_remedy() {
        for (name, value, remedy) in [
            ("cleanup.policy", "compact", "cleanup.policy=delete"),
            ("cleanup.policy", "compact,delete", "cleanup.policy=delete"),
            ("retention.ms", "999", "retention.ms=1000"),
            ("retention.bytes", "1000000000", "retention.bytes=-1"),
            ("unclean.leader.election.enable", "true", "unclean.leader.election.enable=false"),
            ("min.insync.replicas", "1", "min.insync.replicas=2"),
            ("max.message.bytes", "1000", "max.message.bytes=8388608"),
        ] {
            let error = checked(3, &[(name, value)]).expect_err(name);
            assert!(error.contains(&format!("`{name}` of its topic is {value}")) && error.contains(remedy), "{error}");
        }
    }
}
