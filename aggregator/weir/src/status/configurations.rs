//! Which configuration and plans the gateways have, as their usage events say.
use std::collections::{BTreeMap, BTreeSet};

use weir_event_log::LogReader;
use weir_ledger::query::LedgerReader;
use weir_ledger::validate::{self, Configured};

use super::{GatewayStatus, gateway_of};
use crate::lookup::LookupError;
use crate::store::DataDir;

/// How many records at the end of the log are read: a minute of a busy fleet.
const RECENT_RECORDS: u64 = 200;
/// The most of their bytes.
const RECENT_BYTES: usize = 8 * 1024 * 1024;
/// Gateways that are remembered. What further ones say is forgotten.
const GATEWAYS_MAX: usize = 1_024;
/// Plans of a gateway that are remembered.
const PLANS_MAX: usize = 64;

/// What gateways have said last.
#[derive(Debug, Default)]
pub(crate) struct Configurations(BTreeMap<String, Said>);

#[derive(Debug, Default)]
struct Said {
    version: String,
    /// Of events under this version.
    plans: BTreeSet<String>,
}

impl Configurations {
    /// What the end of the event log says; None if it cannot be asked. Readiness tells that, and the status, which is asked for then above
    /// all.
    pub(crate) fn of_log(home: &DataDir) -> Option<Self> {
        let told = |error| tracing::debug!(%error, "the event log cannot be asked for the configurations of gateways");
        Self::read(home).map_err(told).ok()
    }

    fn read(home: &DataDir) -> Result<Self, LookupError> {
        let end = LedgerReader::open(home.ledger())?.position()?;
        let mut log: Box<dyn LogReader> = home.log_place().reader()?;
        let mut found = Configurations::default();
        for record in log.read_after(end.saturating_sub(RECENT_RECORDS), RECENT_BYTES)? {
            for event in validate::split(record.format, &record.body)? {
                Configured::of(event).into_iter().for_each(|said| found.says(said));
            }
        }
        Ok(found)
    }

    /// A gateway says its configuration.
    pub(crate) fn says(&mut self, Configured { source, version, plan }: Configured) {
        let Some(gateway) = gateway_of(&source) else { return };
        if self.0.len() >= GATEWAYS_MAX && !self.0.contains_key(gateway) {
            return;
        }
        let said = self.0.entry(gateway.to_owned()).or_default();
        if said.version != version {
            *said = Said { version, plans: BTreeSet::new() };
        }
        if said.plans.len() < PLANS_MAX {
            said.plans.extend(plan);
        }
    }

    /// Adds what was said before.
    pub(crate) fn follow(&mut self, before: Configurations) {
        for (gateway, said) in before.0 {
            if let Some(known) = self.0.get_mut(&gateway) {
                let room = PLANS_MAX.saturating_sub(known.plans.len());
                known.plans.extend(said.plans.into_iter().filter(|_| known.version == said.version).take(room));
            } else if self.0.len() < GATEWAYS_MAX {
                self.0.insert(gateway, said);
            }
        }
    }

    /// Lays what is known over the gateways that were heard of lately. If there is no room for more, all others are forgotten.
    pub(crate) fn lay(&mut self, gateways: &mut [GatewayStatus]) {
        for gateway in &mut *gateways {
            let Some(said) = self.0.get(&gateway.gateway) else { continue };
            gateway.config_version = Some(said.version.clone());
            gateway.plans = said.plans.iter().cloned().collect();
        }
        if self.0.len() >= GATEWAYS_MAX {
            let heard: BTreeSet<&str> = gateways.iter().map(|gateway| gateway.gateway.as_str()).collect();
            self.0.retain(|gateway, _| heard.contains(gateway.as_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(gateway: &str, version: &str, plan: &str) -> Configured {
        let (version, plan) = (version.to_owned(), Some(plan.to_owned()));
        Configured { source: format!("/weir/{gateway}/0"), version, plan }
    }

    fn laid(known: &mut Configurations, names: &[&str]) -> Vec<(Option<String>, String)> {
        let gateway = |name: &&str| GatewayStatus { gateway: (*name).to_owned(), ..GatewayStatus::default() };
        let mut gateways: Vec<_> = names.iter().map(gateway).collect();
        known.lay(&mut gateways);
        gateways.into_iter().map(|gateway| (gateway.config_version, gateway.plans.join(","))).collect()
    }

    fn is(version: &str, plans: &str) -> (Option<String>, String) {
        (Some(version.to_owned()), plans.to_owned())
    }

    #[test]
    fn the_latest_configuration_counts_with_its_plans() {
        let mut known = Configurations::default();
        for (gateway, version, plan) in [("a", "1", "x"), ("b", "1", "x"), ("a", "2", "z"), ("a", "2", "y")] {
            known.says(said(gateway, version, plan));
        }
        assert_eq!(laid(&mut known, &["a", "b", "c"]), [is("2", "y,z"), is("1", "x"), (None, String::new())]);
    }

    #[test]
    fn what_the_log_says_comes_before_what_was_said_since() {
        let (mut before, mut known) = (Configurations::default(), Configurations::default());
        for (gateway, version, plan) in [("a", "1", "x"), ("b", "1", "x"), ("c", "1", "x")] {
            before.says(said(gateway, version, plan));
        }
        known.says(said("a", "2", "y"));
        known.says(said("b", "1", "y"));
        known.follow(before);
        assert_eq!(laid(&mut known, &["a", "b", "c"]), [is("2", "y"), is("1", "x,y"), is("1", "x")]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut known = Configurations::default();
        for number in 0..2 * GATEWAYS_MAX {
            known.says(said(&format!("gw-{number:04}"), "1", "x"));
            known.says(said("gw-0000", "1", &format!("plan-{number}")));
        }
        assert_eq!(known.0.len(), GATEWAYS_MAX);
        assert_eq!(known.0["gw-0000"].plans.len(), PLANS_MAX);
        let mut before = Configurations::default();
        before.says(said("others", "1", "x"));
        (0..PLANS_MAX).for_each(|number| before.says(said("gw-0000", "1", &format!("older-{number}"))));
        known.follow(before);
        assert_eq!((known.0.len(), known.0["gw-0000"].plans.len()), (GATEWAYS_MAX, PLANS_MAX));
        assert_eq!(laid(&mut known, &["gw-0001"]), [is("1", "x")]);
        assert_eq!(known.0.len(), 1, "there is room for others than those that were not heard of lately");
    }
}
