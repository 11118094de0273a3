//! The gauges in which the registry of sources outlives a reload of Kong.
use weir_filter::emit::registry::survivors::{FIELDS, Gauges};

use crate::host::{self, Metric, MetricKind};

/// Names of a slot's fields.
const NAMES: [&str; FIELDS] = ["life_high", "life_low", "last", "outcomes", "checksum"];

/// Those of the slots so far, defined as they come into use.
#[derive(Debug, Default)]
pub(crate) struct SlotGauges(Vec<[Metric; FIELDS]>);

impl SlotGauges {
    fn metric(&mut self, slot: usize, field: usize) -> Metric {
        while self.0.len() <= slot {
            let next = self.0.len();
            self.0.push(NAMES.map(|name| host::define(MetricKind::Gauge, &format!("weir_source.slot.{next}.{name}"))));
        }
        self.0.get(slot).and_then(|fields| fields.get(field)).copied().unwrap_or_default()
    }
}

impl Gauges for SlotGauges {
    fn get(&mut self, slot: usize, field: usize) -> u64 {
        self.metric(slot, field).value()
    }

    fn set(&mut self, slot: usize, field: usize, value: u64) {
        self.metric(slot, field).set(value);
    }
}
