//! Sagas against a stand-in for everything around them, with failures and kills at every place, judged by an oracle.
mod driver;
mod exhaustive;
mod rules;
mod world;

use weir_contract::Timestamp;

use crate::{Planned, Step};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Every step of a provisioning.
const STEPS: [Step; 8] = [
    Step::Customer,
    Step::Subscription,
    Step::Keys,
    Step::Collection,
    Step::Environment,
    Step::Budgets,
    Step::Welcome,
    Step::Publish,
];

fn planned(steps: &[Step]) -> Vec<Planned> {
    steps.iter().map(|step| Planned::from(*step)).collect()
}
