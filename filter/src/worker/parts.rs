//! Takes in the parts of the directory that concern the choice of models.
use std::rc::Rc;

use weir_contract::catalogue::{FIGURES_MAX, ModelFigures};

use super::{CatalogueUpdate, FilterState};

impl FilterState {
    /// Puts a catalogue in force that has arrived, and figures.
    pub(super) fn take_parts(&mut self) -> Option<CatalogueUpdate> {
        let (poll, routing) = (self.poll.as_mut()?, self.policy.routing.as_ref()?);
        if let Some(figures) = poll.parts.take_figures()
            && let Ok(mut rows) = serde_json::from_slice::<Vec<ModelFigures>>(&figures.content)
        {
            // Rows of another form come from a server that knows more; the next ones may be readable.
            rows.truncate(FIGURES_MAX);
            routing.measure(Rc::from(rows));
        }
        let catalogue = poll.parts.take_catalogue()?;
        let taken = routing.take(&catalogue.version, &catalogue.content);
        let update = match &taken {
            Ok(()) => CatalogueUpdate::Taken(catalogue.version.clone()),
            Err(problem) => CatalogueUpdate::Refused(problem.clone()),
        };
        poll.parts.settled(catalogue, taken.is_err());
        Some(update)
    }
}
