//! What is remembered of the choice of a model until the request ends.
use std::rc::Rc;

use weir_contract::Class;
use weir_llm_translate::Dialect;

use super::paid::Paid;
use crate::routing::breaker::Account;
use crate::routing::retries::UnderWay;
use crate::routing::{Catalogue, Chosen};

/// A request's probe of a provider whose breaker was open.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    /// The provider.
    pub(super) provider: Rc<str>,
    /// Whose account there it uses.
    pub(super) account: Account,
}

/// A request whose model was chosen.
#[derive(Debug)]
pub(super) struct Routed {
    /// The model that the client asked for.
    pub(super) asked: Box<str>,
    /// The dialect that it speaks.
    pub(super) dialect: Dialect,
    /// The catalogue that it was chosen from, which may have been replaced since.
    pub(super) catalogue: Rc<Catalogue>,
    /// What serves it.
    pub(super) chosen: Chosen,
    /// Its class when it was chosen.
    pub(super) class: Class,
    /// How long an attempt may take, in milliseconds, where that is bounded.
    pub(super) attempt_ms_max: Option<u32>,
    /// Counts it for the budget of retries while it is under way.
    pub(super) under_way: Option<UnderWay>,
    /// The tenant's own keys that it goes up with.
    pub(super) paid: Option<Paid>,
    /// A model serves that is less good for its class than the one that was chosen.
    pub(super) is_downgraded: bool,
    /// A provider has failed lately.
    pub(super) troubled: bool,
    /// The probe that it has.
    pub(super) probe: Option<Probe>,
    /// The model that served, by its name in the catalogue.
    pub(super) served: Option<Box<str>>,
}
