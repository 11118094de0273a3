//! Where a log is in a Kafka.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use weir_settings::kafka::KafkaServer;

use super::client::Client;
use super::fit;
use crate::brokers::Brokers;
use crate::{KafkaProblem, LogError};

/// Where a log is in a Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaPlace {
    /// The brokers and the topic.
    pub server: KafkaServer,
    /// The directory where the relative paths of its settings start.
    pub base: PathBuf,
    /// How long records must be kept: the topic may not drop them earlier.
    pub keep: Duration,
}

impl KafkaPlace {
    /// The topic of the server.
    pub fn new(server: KafkaServer) -> Self {
        KafkaPlace { server, base: PathBuf::new(), keep: Duration::ZERO }
    }

    /// The address, as errors and commands say it.
    pub fn label(&self) -> String {
        self.server.to_string()
    }

    pub(super) fn failed(&self, source: impl Into<KafkaProblem>) -> LogError {
        LogError::Kafka { log: self.label(), source: source.into() }
    }

    pub(super) fn connect(&self) -> Result<Arc<dyn Brokers>, KafkaProblem> {
        #[cfg(feature = "simulated")]
        if let Some(servers) = crate::simulated::installed() {
            return servers.kafka();
        }
        let builder = self.server.client(&self.base).map_err(Arc::new)?;
        Ok(Arc::new(Client::connect(builder, self.server.topic())?))
    }

    /// Checks brokers and topic as a start does, and changes nothing. A topic that is not there is made by the start.
    pub fn check(&self) -> Result<(), LogError> {
        let checked = || -> Result<(), KafkaProblem> {
            let client = self.connect()?;
            client.topic()?.map_or(Ok(()), |topic| fit::check(&*client, &topic, self.keep).map(drop))
        };
        checked().map_err(|problem| self.failed(problem))
    }
}
