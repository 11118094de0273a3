//! Whether batches get through. Logs each change once: a misspelt cluster or a wrong token is not silent, and a lasting
//! failure does not fill the log.
use super::queue::{Answer, acknowledges};

/// Why batches do not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer: the cluster does not exist or cannot be reached, or took too long.
    NoAnswer,
    /// This status.
    Status(u16),
    /// A success that is not the aggregator's: another server answers at that address.
    Stranger(u16),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::NoAnswer => f.write_str("no answer; does the cluster exist, and is weir serve there?"),
            Failure::Status(status @ (401 | 403)) => {
                write!(
                    f,
                    "status {status}; is `events.token` one of the aggregator's, with the scope ingest and this gateway's name?"
                )
            }
            Failure::Status(status) => write!(f, "status {status}"),
            Failure::Stranger(status) => {
                write!(f, "status {status} in words that are not the aggregator's; who answers there?")
            }
        }
    }
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryNotice {
    /// Batches for this cluster do not get through, and wait.
    Failing(Box<str>, Failure),
    /// They get through again.
    BackAgain(Box<str>),
    /// A first event is lost: it found no room, and no signing key lets it leave as a log line.
    Losing(Box<str>),
}

impl std::fmt::Display for DeliveryNotice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeliveryNotice::Failing(cluster, failure) => {
                write!(
                    f,
                    "usage events do not reach the aggregator (cluster {cluster}): {failure}; they are kept and sent again"
                )
            }
            DeliveryNotice::BackAgain(cluster) => {
                write!(f, "usage events reach the aggregator again (cluster {cluster})")
            }
            DeliveryNotice::Losing(cluster) => write!(
                f,
                "usage events are lost, and never billed: the queue for cluster {cluster} is full, and without \
                 `events.signing_key` none can leave as a log line"
            ),
        }
    }
}

/// The most notices that wait to be logged: a change each of failing, back again and losing.
const NOTICES_MAX: usize = 4;

/// How delivery stands.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    failing: Option<Failure>,
    losing: bool,
    notices: Vec<DeliveryNotice>,
}

impl Delivery {
    /// A batch for `cluster` was answered.
    pub(super) fn answered(&mut self, cluster: &str, answer: &Answer<'_>) {
        let failure = match *answer {
            Answer::Status { status: status @ 200..=299, body, .. } if !acknowledges(body) => {
                Some(Failure::Stranger(status))
            }
            // A disputed batch is split, and its events are logged one by one.
            Answer::Status { status: 200..=299 | 400 | 413 | 422, .. } => None,
            Answer::Status { status, .. } => Some(Failure::Status(status)),
            Answer::Nothing => Some(Failure::NoAnswer),
        };
        if failure == self.failing {
            return;
        }
        self.failing = failure;
        match failure {
            Some(failure) => self.tell(DeliveryNotice::Failing(cluster.into(), failure)),
            None => {
                self.losing = false;
                self.tell(DeliveryNotice::BackAgain(cluster.into()));
            }
        }
    }

    /// An event for `cluster` is lost.
    pub(super) fn lost(&mut self, cluster: &str) {
        if !std::mem::replace(&mut self.losing, true) {
            self.tell(DeliveryNotice::Losing(cluster.into()));
        }
    }

    /// What there is to log.
    pub(super) fn notices(&mut self) -> Vec<DeliveryNotice> {
        std::mem::take(&mut self.notices)
    }

    fn tell(&mut self, notice: DeliveryNotice) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push(notice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn status(status: u16, body: &[u8]) -> Answer<'_> {
        Answer::Status { status, retry_after_secs: None, body }
    }

    #[test]
    fn a_change_is_told_once_with_cluster_and_status() {
        let (mut delivery, good) = (Delivery::default(), br#"{"accepted":1,"rejected":[]}"#);
        let mut told = |answer: &Answer<'_>| {
            delivery.answered("weir", answer);
            delivery.notices().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(told(&status(202, good)), "", "all is well from the start");
        assert!(told(&Answer::Nothing).contains("(cluster weir): no answer"));
        assert_eq!(told(&Answer::Nothing), "");
        assert!(told(&status(401, b"")).contains("status 401; is `events.token`"));
        assert_eq!(told(&status(401, b"")), "");
        assert!(told(&status(200, b"<html>")).contains("not the aggregator's"));
        assert!(told(&status(202, good)).contains("again (cluster weir)"));
        assert_eq!(told(&status(400, b"")), "", "an event is at fault, not the way");
    }

    #[test]
    fn the_first_loss_is_told_and_the_next_one_after_all_was_well() {
        let mut delivery = Delivery::default();
        delivery.answered("weir", &Answer::Nothing);
        delivery.lost("weir");
        delivery.lost("weir");
        assert_eq!(delivery.notices().len(), 2, "failing, and losing");
        delivery.answered("weir", &status(202, b"{\"accepted\":1}"));
        delivery.lost("weir");
        assert_eq!(
            delivery.notices(),
            [DeliveryNotice::BackAgain("weir".into()), DeliveryNotice::Losing("weir".into())]
        );
    }
}
