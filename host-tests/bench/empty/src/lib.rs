//! A filter that does nothing, in every callback that weir has: what any filter on this SDK costs before it does anything.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

struct Root;
struct Http;

impl Context for Root {}
impl Context for Http {}

impl RootContext for Root {
    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Http))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, _ends: bool) -> Action {
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _ends: bool) -> Action {
        Action::Continue
    }
}

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}
