//! The routes of a node's role: connections stay open while the role changes.
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

/// The routes that answer at the moment.
#[derive(Clone, Debug)]
pub(super) struct Front(Arc<RwLock<Router>>);

impl Front {
    pub(super) fn new(router: Router) -> Self {
        Front(Arc::new(RwLock::new(router)))
    }

    /// Lets other routes answer from now on.
    pub(super) fn show(&self, router: Router) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = router;
    }

    /// Routes that hand every request to those of the moment.
    pub(super) fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }
}

async fn answer(State(front): State<Front>, request: Request) -> Response {
    let router = front.0.read().unwrap_or_else(PoisonError::into_inner).clone();
    match TowerToHyperService::new(router).call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
