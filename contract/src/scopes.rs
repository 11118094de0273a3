//! What an API key may be used for: classes of requests, and routes of the gateway.
//!
//! A gateway of an earlier version refuses a page with a field that it does not know, and must not serve a confined key as one that
//! may do everything. So a gateway that reads scopes says so ([`crate::stage::KNOWS_HEADER`], [`KNOWS_SCOPES`]); any other is told
//! that such a key has expired.
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Class, Text};

/// The word in [`crate::stage::KNOWS_HEADER`] that asks for scopes.
pub const KNOWS_SCOPES: &str = "scopes";
/// The most scopes of one key.
pub(crate) const SCOPES_MAX: usize = 32;
/// The longest name of a route in a scope, in bytes.
const ROUTE_MAX_BYTES: usize = 128;
/// How a scope begins that names a route.
const ROUTE: &str = "route:";
/// What stands between scopes, as in OAuth (RFC 6749, section 3.3).
const SEPARATOR: char = ' ';

/// The scopes of a key: at least one, each once, sorted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scopes(Box<str>);

/// Why a list of scopes is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopesError {
    /// There are none, or too many.
    #[error("a key has 1 to {SCOPES_MAX} scopes; leave them out for a key that may be used for everything")]
    Count,
    /// A scope does not exist.
    #[error("{0:?} is no scope: name a class ({classes}), or {ROUTE} and a route of the gateway", classes = classes())]
    Unknown(Box<str>),
}

impl Scopes {
    /// The scopes of these names.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, ScopesError> {
        let mut names: Vec<&str> = names.into_iter().take(SCOPES_MAX + 1).collect();
        if names.is_empty() || names.len() > SCOPES_MAX {
            return Err(ScopesError::Count);
        }
        if let Some(unknown) = names.iter().find(|name| !is_scope(name)) {
            return Err(ScopesError::Unknown((*unknown).into()));
        }
        names.sort_unstable();
        names.dedup();
        let mut text = String::new();
        for name in names {
            if !text.is_empty() {
                text.push(SEPARATOR);
            }
            text.push_str(name);
        }
        Ok(Scopes(text.into()))
    }

    /// All of them, with a space between two.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(SEPARATOR)
    }
}

/// Whether a key with these scopes, as [`Scopes::as_str`] writes them, may be used for a request: they name its route, or every
/// class that it may be taken for.
pub fn permit(scopes: &str, route: Option<&str>, mut classes: impl Iterator<Item = Class>) -> bool {
    permit_route(scopes, route) || classes.all(|class| scopes.split(SEPARATOR).any(|scope| scope == class.as_str()))
}

/// Whether these scopes name the route: then it does not matter what a request may be taken for.
pub fn permit_route(scopes: &str, route: Option<&str>) -> bool {
    scopes.split(SEPARATOR).any(|scope| scope.strip_prefix(ROUTE).is_some_and(|name| route == Some(name)))
}

fn is_scope(name: &str) -> bool {
    match name.strip_prefix(ROUTE) {
        Some(route) => {
            let is_visible = |byte: u8| byte > b' ' && byte != 0x7f;
            (1..=ROUTE_MAX_BYTES).contains(&route.len()) && route.bytes().all(is_visible)
        }
        None => Class::ALL.iter().any(|class| class.as_str() == name),
    }
}

fn classes() -> String {
    Class::ALL.map(Class::as_str).join(", ")
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        self.iter().try_for_each(|scope| list.serialize_element(scope))?;
        list.end()
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<Text<'_>>::deserialize(deserializer)?;
        Scopes::new(names.iter().map(Text::as_str)).map_err(de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Scopes {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scopes".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let pattern = format!("^({}|{ROUTE}[^ ]{{1,{ROUTE_MAX_BYTES}}})$", Class::ALL.map(Class::as_str).join("|"));
        schemars::json_schema!({
            "type": "array",
            "items": {"type": "string", "pattern": pattern},
            "minItems": 1,
            "maxItems": SCOPES_MAX,
            "examples": [["chat", "route:docs"]],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn scopes(json: &str) -> Result<Scopes, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn scopes_are_read_once_each_and_written_in_order() {
        let read = scopes(r#"["route:docs", "chat", "embedding", "chat"]"#).expect("scopes");
        assert_eq!(read.as_str(), "chat embedding route:docs");
        assert_eq!(serde_json::to_string(&read).expect("JSON"), r#"["chat","embedding","route:docs"]"#);
    }

    #[test]
    fn what_is_no_scope_is_refused_by_name() {
        for unknown in ["chats", "", "route:", "route:my docs", "Chat", "route:a\u{7f}"] {
            let error = Scopes::new([unknown]).expect_err(unknown);
            assert_eq!(error, ScopesError::Unknown(unknown.into()));
        }
        assert!(scopes(r#"["chats"]"#).expect_err("unknown").contains("\"chats\" is no scope: name a class (chat, "));
        assert!(Scopes::new([format!("route:{}", "r".repeat(129)).as_str()]).is_err());
        let many: Vec<String> = (0..33).map(|number| format!("route:{number}")).collect();
        assert_eq!(Scopes::new(many.iter().map(String::as_str)), Err(ScopesError::Count));
        assert!(Scopes::new(many.iter().map(String::as_str).take(32)).is_ok());
        assert!(scopes("[]").expect_err("none").contains("1 to 32 scopes"));
    }

    #[test]
    fn a_request_is_permitted_by_its_route_or_by_all_that_it_may_be() {
        let permits = |scopes: &str, route, classes: &[Class]| permit(scopes, route, classes.iter().copied());
        assert!(permits("chat embedding", None, &[Class::Chat]));
        assert!(!permits("chat embedding", None, &[Class::Chat, Class::Image]));
        assert!(!permits("chat", Some("chat"), &[Class::Other]), "a route of a class's name is no class");
        assert!(permits("chat route:docs", Some("docs"), &[Class::Rag, Class::Other]));
        assert!(!permits("route:docs", Some("doc"), &[Class::Chat]) && !permits("route:docs", None, &[Class::Chat]));
    }
}
