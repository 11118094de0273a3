//! Where a tenant is kept apart from others: isolation, region and endpoint, as the directory tells a gateway and a gateway tells
//! the upstream in headers.
//!
//! A gateway of an earlier version refuses a page with a field that it does not know. So a gateway that reads placements says so
//! ([`crate::stage::KNOWS_HEADER`], [`KNOWS_PLACEMENT`]), and a server leaves them out for any other.
use serde::{Deserialize, Serialize};

use crate::tenant::is_id_byte;

/// The word in [`crate::stage::KNOWS_HEADER`] that asks for placements.
pub const KNOWS_PLACEMENT: &str = "placement";
/// The longest region or endpoint, in bytes.
pub(crate) const PLACE_MAX_BYTES: usize = 255;

/// How far a tenant is kept apart from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// It shares everything, and rows tell tenants apart.
    Pool,
    /// It shares servers, and has data stores of its own.
    Bridge,
    /// It shares nothing.
    Silo,
}

impl Isolation {
    /// As headers, events and the command line write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Isolation::Pool => "pool",
            Isolation::Bridge => "bridge",
            Isolation::Silo => "silo",
        }
    }
}

/// Where a tenant is kept apart from others. The upstream learns of it in headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// How far it is kept apart: `x-weir-isolation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// The region of its data: `x-weir-region`. 1 to 255 characters of `A-Z a-z 0-9 . _ ~ : @ | / + = -`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Box<str>>,
    /// The deployment that serves it: `x-weir-endpoint`. 1 to 255 characters of `A-Z a-z 0-9 . _ ~ : @ | / + = -`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Box<str>>,
}

/// A region or an endpoint could not be sent as a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is 1 to {PLACE_MAX_BYTES} characters of A-Z a-z 0-9 . _ ~ : @ | / + = -")]
pub struct PlacementError(&'static str);

impl Placement {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Placement::default()
    }

    /// Checks that region and endpoint can be sent as headers.
    pub fn check(&self) -> Result<(), PlacementError> {
        let fits = |text: &str| (1..=PLACE_MAX_BYTES).contains(&text.len()) && text.bytes().all(is_id_byte);
        match (&self.region, &self.endpoint) {
            (Some(region), _) if !fits(region) => Err(PlacementError("region")),
            (_, Some(endpoint)) if !fits(endpoint) => Err(PlacementError("endpoint")),
            _ => Ok(()),
        }
    }

    /// The headers that tell the upstream.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let isolation = self.isolation.map(Isolation::as_str);
        let all = [
            ("x-weir-isolation", isolation),
            ("x-weir-region", self.region.as_deref()),
            ("x-weir-endpoint", self.endpoint.as_deref()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_placement_becomes_the_headers_that_it_names() {
        let text = r#"{"isolation":"silo","endpoint":"https://acme.example:8443/v1"}"#;
        let placement: Placement = serde_json::from_str(text).expect("a placement");
        assert_eq!(placement.check(), Ok(()));
        let headers: Vec<_> = placement.headers().collect();
        assert_eq!(headers, [("x-weir-isolation", "silo"), ("x-weir-endpoint", "https://acme.example:8443/v1")]);
    }

    #[test]
    fn what_could_break_a_header_is_refused() {
        for wrong in ["", "a b", "a\r\nx-admin: 1", "ä", &"x".repeat(256)] {
            let region = Placement { region: Some(wrong.into()), ..Placement::default() };
            let endpoint = Placement { endpoint: Some(wrong.into()), ..Placement::default() };
            assert!(region.check().is_err() && endpoint.check().is_err(), "{wrong:?}");
        }
    }
}
