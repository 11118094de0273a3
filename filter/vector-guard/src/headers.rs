//! Headers by which a client could lead a store elsewhere, past what path and body say.
use crate::{Guard, Store};

/// What becomes of a request's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFate {
    /// It goes on.
    Passes,
    /// It is taken out of the request.
    Removed,
    /// The request is refused: without the header it would do something else than its client wants.
    Refused,
}

/// What headers that Weaviate does not take for its modules begin with: those of proxies and tracing, and weir's own.
const OF_PROXIES: [&str; 12] = [
    "x-request-",
    "x-forwarded-",
    "x-envoy-",
    "x-b3-",
    "x-tenant-",
    "x-weir-",
    "x-datadog-",
    "x-cloud-trace-",
    "x-amzn-trace-",
    "x-real-ip",
    "x-correlation-",
    "x-weaviate-client",
];

impl Guard {
    /// What becomes of a header of that name, in any case.
    pub fn header(&self, name: &[u8]) -> HeaderFate {
        match self.store {
            // Milvus takes the database from it before the body's.
            Store::Milvus if name.eq_ignore_ascii_case(b"db-name") => HeaderFate::Refused,
            Store::Weaviate if is_of_modules(name) => HeaderFate::Removed,
            _ => HeaderFate::Passes,
        }
    }
}

/// Whether Weaviate may read a header for one of its modules: `X-OpenAI-Baseurl` would send the operator's own key to the client's
/// address. A client's own key (`X-OpenAI-Api-Key`) may pass.
fn is_of_modules(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let is_of_proxies = || OF_PROXIES.iter().any(|known| name.starts_with(known.as_bytes()));
    name.starts_with(b"x-") && !name.ends_with(b"-api-key") && !is_of_proxies()
}
