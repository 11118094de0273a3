//! The parts of the directory that have versions of their own: the catalogue of models, and their figures.
//!
//! They arrive with any page. The worker takes them in one at a time, between two requests, and says how that went.
use weir_contract::catalogue::{KNOWS_CATALOGUE, KNOWS_FIGURES, REFUSES_CATALOGUE, word};

use super::page::{Arrived, Frame};

/// What is known of the parts.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// Whether the catalogue is asked for.
    asks_catalogue: bool,
    /// Whether figures are.
    asks_figures: bool,
    catalogue: Option<Box<str>>,
    /// The last catalogue that came could not be used.
    is_refused: bool,
    /// The last one that could, so that another configuration of this worker can begin with it.
    good: Option<Arrived>,
    figures: Option<Box<str>>,
    waiting_catalogue: Option<Arrived>,
    waiting_figures: Option<Arrived>,
}

impl Parts {
    /// Asks for figures, and for the catalogue where `catalogue` says so.
    pub(crate) fn ask(&mut self, catalogue: bool) {
        (self.asks_catalogue, self.asks_figures) = (catalogue, true);
    }

    /// The words that tell the server what is read, and what is there already.
    pub(super) fn words(&self) -> impl Iterator<Item = String> {
        let catalogue = self.asks_catalogue.then(|| word(KNOWS_CATALOGUE, self.catalogue.as_deref()));
        let refuses = (self.asks_catalogue && self.is_refused).then(|| REFUSES_CATALOGUE.to_owned());
        let figures = self.asks_figures.then(|| word(KNOWS_FIGURES, self.figures.as_deref()));
        catalogue.into_iter().chain(refuses).chain(figures)
    }

    /// Whether another configuration has reason to say its name to the server.
    pub(super) fn are_asked(&self) -> bool {
        self.asks_catalogue || self.asks_figures
    }

    /// Keeps what a page brought until it is taken.
    pub(super) fn keep(&mut self, frame: &mut Frame) {
        if let Some(catalogue) = frame.catalogue.take().filter(|_| self.asks_catalogue) {
            self.catalogue = Some(catalogue.version.clone());
            self.waiting_catalogue = Some(catalogue);
        }
        if let Some(figures) = frame.figures.take().filter(|_| self.asks_figures) {
            self.figures = Some(figures.version.clone());
            self.waiting_figures = Some(figures);
        }
    }

    /// The catalogue that has arrived.
    pub(crate) fn take_catalogue(&mut self) -> Option<Arrived> {
        self.waiting_catalogue.take()
    }

    /// The figures that have arrived.
    pub(crate) fn take_figures(&mut self) -> Option<Arrived> {
        self.waiting_figures.take()
    }

    /// The catalogue was taken, or could not be used.
    pub(crate) fn settled(&mut self, catalogue: Arrived, is_refused: bool) {
        self.is_refused = is_refused;
        if !is_refused {
            self.good = Some(catalogue);
        }
    }

    /// Begins with the catalogue of another configuration.
    pub(super) fn inherit(&mut self, from: &Parts) {
        if let Some(good) = from.good.as_ref().filter(|_| self.asks_catalogue) {
            self.catalogue = Some(good.version.clone());
            self.waiting_catalogue = Some(good.clone());
        }
    }
}
