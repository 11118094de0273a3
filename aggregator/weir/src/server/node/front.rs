//! The routes of a node's role: connections stay open while the role changes.
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::response::Response;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use crate::server::passed_on::LIFE;

/// The routes that answer at the moment, and the life of the node.
#[derive(Clone, Debug)]
pub(super) struct Front(Arc<RwLock<Router>>, HeaderValue);

impl Front {
    pub(super) fn new(router: Router, life: HeaderValue) -> Self {
        Front(Arc::new(RwLock::new(router)), life)
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
    let is_about_health = request.uri().path() == "/readyz";
    match TowerToHyperService::new(router).call(request).await {
        Ok(mut response) => {
            if is_about_health {
                response.headers_mut().insert(LIFE, front.1.clone());
            }
            response
        }
        Err(never) => match never {},
    }
}
