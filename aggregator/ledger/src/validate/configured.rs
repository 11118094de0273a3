//! What usage events say of the configuration of the gateways that make them.
use std::borrow::Cow;

use serde::Deserialize;
use weir_contract::SourceId;

/// The most sources of one body of which the last event is kept: a gateway sends the events of one worker at a time.
const SOURCES_KEPT: usize = 16;

/// The configuration under which a usage event was made, and the plan of its tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// The source of the event: a worker of a gateway.
    pub source: String,
    /// The version of the configuration.
    pub version: String,
    /// The plan.
    pub plan: Option<String>,
}

/// An event. Nothing else of it is read: a busy fleet has 100,000 of them in what is read at once.
#[derive(Deserialize)]
struct Said<'e> {
    #[serde(borrow)]
    source: Cow<'e, str>,
    data: SaidOf,
}

#[derive(Deserialize)]
struct SaidOf {
    config_version: Option<String>,
    plan: Option<String>,
}

impl Configured {
    /// What an event says; None if it says nothing of it.
    pub fn of(event: &[u8]) -> Option<Self> {
        let Said { source, data } = serde_json::from_slice(event).ok()?;
        Some(Configured { source: source.into_owned(), version: data.config_version?, plan: data.plan })
    }
}

/// The last usage events of a body, one of each source.
#[derive(Debug, Default)]
pub(crate) struct Last<'b>(Vec<(&'b SourceId, &'b [u8])>);

impl<'b> Last<'b> {
    /// The next usage event. Further sources than the bound are left out.
    pub(crate) fn is(&mut self, source: &'b SourceId, event: &'b [u8]) {
        if let Some(known) = self.0.iter_mut().rfind(|(known, _)| *known == source) {
            known.1 = event;
        } else if self.0.len() < SOURCES_KEPT {
            self.0.push((source, event));
        }
    }

    /// What they say.
    pub(crate) fn configured(self) -> Vec<Configured> {
        self.0.into_iter().filter_map(|(_, event)| Configured::of(event)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_usage_event_of_each_source_says_its_configuration() {
        let event = |version: &str| {
            format!(r#"{{"source":"/weir/gw/1","data":{{"plan":"free","config_version":"{version}","class":"chat"}}}}"#)
        };
        let sources: Vec<SourceId> =
            (0..=SOURCES_KEPT).map(|n| SourceId::new(&format!("gw-{n}"), [1; 16]).expect("a name")).collect();
        let (old, new) = (event("old"), event("new"));
        let mut last = Last::default();
        for source in &sources {
            last.is(source, old.as_bytes());
        }
        last.is(&sources[0], new.as_bytes());
        let said = last.configured();
        assert_eq!(said.len(), SOURCES_KEPT, "bounded");
        let versions: Vec<&str> = said.iter().map(|said| said.version.as_str()).collect();
        assert_eq!((versions[0], versions[1]), ("new", "old"));
        assert_eq!((said[0].source.as_str(), said[0].plan.as_deref()), ("/weir/gw/1", Some("free")));
        assert_eq!(Configured::of(br#"{"source":"/weir/gw/1","data":{"last":7}}"#), None, "no usage event");
        assert_eq!(Configured::of(b"{"), None);
    }
}
