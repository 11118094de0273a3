//! How fast models have been lately, as `weir serve` has measured over all gateways.
use std::cell::RefCell;

use weir_contract::Class;
use weir_contract::catalogue::ModelFigures;

use super::{Catalogue, Model};

/// The time within which 99 of 100 answers of a model ended, by class, in milliseconds; [`UNKNOWN`] where nobody knows.
type ByClass = [u32; Class::ALL.len()];

const UNKNOWN: u32 = u32::MAX;

/// Those of each model, in the catalogue's order.
#[derive(Debug, Default)]
pub(super) struct Latencies(RefCell<Vec<ByClass>>);

impl Latencies {
    /// No figures for these models.
    pub(super) fn of(models: &[Model]) -> Self {
        Latencies(RefCell::new(vec![[UNKNOWN; Class::ALL.len()]; models.len()]))
    }

    fn get(&self, model: usize, class: Class) -> Option<u32> {
        let known = self.0.try_borrow().ok()?;
        known.get(model)?.get(class as usize).copied().filter(|ms| *ms != UNKNOWN)
    }
}

impl Catalogue {
    /// The time within which 99 of 100 answers of a model to such requests have ended lately, in milliseconds. None: too few
    /// requests, or no figures yet.
    pub(crate) fn p99_ms(&self, model: usize, class: Class) -> Option<u32> {
        self.latencies.get(model, class)
    }

    /// Replaces the figures of all models.
    pub(super) fn measure(&self, figures: &[ModelFigures]) {
        let Ok(mut known) = self.latencies.0.try_borrow_mut() else { return };
        known.iter_mut().for_each(|classes| classes.fill(UNKNOWN));
        for row in figures {
            let model = self.models.iter().position(|model| *model.name == *row.model);
            let place = model.and_then(|at| known.get_mut(at)).and_then(|classes| classes.get_mut(row.class as usize));
            if let (Some(place), Some(p99_ms)) = (place, row.p99_ms) {
                *place = u32::try_from(p99_ms).unwrap_or(UNKNOWN - 1);
            }
        }
    }
}
