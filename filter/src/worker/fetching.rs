//! What a log says of fetches: that tenants or keys do not come, why, and that they come again. Each change is told once.
use weir_contract::Timestamp;

use super::{CatalogueUpdate, FetchOutcome, FilterState};
use crate::directory::poll::Update;
use crate::fetch::{Failure, Target};
use crate::identity::keyring::Renewal;

/// Fetches that fail, each with what was told of it. There is one target for the directory, and one for each issuer.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Vec<(Target, String)>);

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchNotice {
    /// A fetch fails, or fails for another reason than before.
    Failing(String),
    /// It brings something again.
    BackAgain(String),
    /// The way of fetching changes, and nothing is wrong.
    Note(String),
}

impl Troubles {
    /// Whether `cause` is new for `target`.
    fn is_new(&mut self, target: Target, cause: &str) -> bool {
        match self.0.iter_mut().find(|(known, _)| *known == target) {
            Some((_, told)) if told == cause => false,
            Some((_, told)) => {
                cause.clone_into(told);
                true
            }
            None => {
                self.0.push((target, cause.to_owned()));
                true
            }
        }
    }

    /// Whether `target` has failed until now.
    fn ends(&mut self, target: Target) -> bool {
        let before = self.0.len();
        self.0.retain(|(known, _)| *known != target);
        self.0.len() < before
    }
}

impl FilterState {
    /// What to log of a fetch that came to an end.
    pub fn fetch_notice(&mut self, target: Target, outcome: &FetchOutcome, now: Timestamp) -> Option<FetchNotice> {
        let cause = match outcome {
            // The page has arrived; its outcome is not known yet.
            FetchOutcome::Tenants(Update::Staged) => return None,
            FetchOutcome::Tenants(Update::Unfit(reason)) => {
                return Some(FetchNotice::Note(format!("the tenants are fetched whole: {reason}")));
            }
            FetchOutcome::Tenants(Update::Failed(failure)) => failed(*failure, "directory.token"),
            FetchOutcome::Catalogue(CatalogueUpdate::Taken(version)) => {
                return Some(FetchNotice::Note(format!("the catalogue {version} of the directory is in force")));
            }
            FetchOutcome::Catalogue(CatalogueUpdate::Refused(reason)) => {
                return Some(FetchNotice::Failing(format!(
                    "the catalogue of the directory is not used: {reason}; the one before stays in force"
                )));
            }
            FetchOutcome::Tenants(Update::Refused(reason)) => format!("its state cannot be used: {reason}"),
            FetchOutcome::Keys(Renewal::Failed(failure)) => failure.to_string(),
            FetchOutcome::Tenants(Update::Confirmed | Update::Replaced | Update::Changed)
            | FetchOutcome::Keys(Renewal::Same | Renewal::Changed) => {
                if !self.troubles.ends(target) {
                    return None;
                }
                let (what, cluster) = self.fetched_from(target);
                return Some(FetchNotice::BackAgain(format!("{what} is fetched again (cluster {cluster})")));
            }
        };
        if !self.troubles.is_new(target, &cause) {
            return None;
        }
        let (what, cluster) = self.fetched_from(target);
        let effect = self.effect(target, now);
        let wait_s = self.next_try_ms(target, now).div_ceil(1_000);
        Some(FetchNotice::Failing(format!(
            "{what} is not fetched (cluster {cluster}): {cause}; the next try is in {wait_s} s; {effect}"
        )))
    }

    /// What a target is, and the cluster it is fetched from.
    fn fetched_from(&self, target: Target) -> (String, &str) {
        match target {
            Target::Directory => {
                let cluster = self.policy.origin.as_ref().map_or("", |origin| origin.cluster());
                ("the directory of tenants".to_owned(), cluster)
            }
            Target::Keys(issuer) => {
                let issuer = self.policy.sources.issuers().get(issuer);
                let cluster = issuer.and_then(|issuer| issuer.remote()).map_or("", |remote| remote.cluster());
                (format!("the key set of issuer {}", issuer.map_or("", |issuer| issuer.issuer())), cluster)
            }
        }
    }

    fn next_try_ms(&self, target: Target, now: Timestamp) -> u64 {
        match target {
            Target::Directory => self.poll.as_ref().map_or(0, |poll| poll.wait_ms(now)),
            Target::Keys(issuer) => self.identity.keyring.wait_ms(issuer, now),
        }
    }

    /// What the failure means for requests.
    fn effect(&self, target: Target, now: Timestamp) -> &'static str {
        let known = match target {
            Target::Directory => self.tenants(now).is_some(),
            Target::Keys(issuer) => self.identity.keyring.keys(issuer).is_some(),
        };
        match (known, target) {
            (true, _) => "what was known stays in force",
            (false, Target::Directory) => "until then every request with a credential is answered 503 not_ready",
            (false, Target::Keys(_)) => "until then its tokens are answered 503 not_ready",
        }
    }
}

/// A failure of the directory: weir serve itself refuses a wrong token.
fn failed(failure: Failure, token: &str) -> String {
    match failure {
        Failure::Status(401 | 403) => {
            format!("{failure}; is `{token}` one of the aggregator's, with the scope directory?")
        }
        _ => failure.to_string(),
    }
}
