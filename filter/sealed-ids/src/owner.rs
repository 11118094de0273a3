//! Marks what a tenant creates with the tenant, so that lists can be told apart.
//!
//! A provider lists everything in its account and knows no tenants. So an object carries its owner where the API lets it
//! carry something: in `metadata`, or in its name. A client cannot set either itself.
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Refused, base32};

/// The member of `metadata` that names the owner.
pub(crate) const METADATA_KEY: &str = "weir_tenant";

/// Where the owner of a listed object stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// In `metadata`.
    Metadata,
    /// In front of the string in this member.
    Name(&'static str),
}

/// What stands in front of the names of a tenant's objects. No tenant's mark begins with another's.
pub fn mark(tenant: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'@');
    if tenant.bytes().all(is_plain) {
        return format!("weir[{tenant}]");
    }
    let mut text = "weir[~".to_owned();
    base32::encode(tenant.as_bytes(), &mut text);
    text.push(']');
    text
}

/// An object of JSON, its members in order and as they are written.
pub(crate) struct Object<'b>(pub(crate) Vec<(String, &'b RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> serde::de::Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl<'b> Object<'b> {
    /// Reads an object.
    pub(crate) fn read(bytes: &'b [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The value of a member; None where it is not there, or there twice.
    pub(crate) fn get(&self, name: &str) -> Option<&'b RawValue> {
        let mut found = self.0.iter().filter(|(known, _)| known == name);
        let (_, value) = found.next()?;
        found.next().is_none().then_some(*value)
    }

    /// The text in a member.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// How the object spells a member: as `name`, or, as Google's APIs take it, with underscores. None: it is not there.
    ///
    /// # Errors
    /// If it is there twice, or in a spelling that only careless servers take.
    pub(crate) fn spelling(&self, name: &str) -> Result<Option<&str>, Refused> {
        let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
        let sought = plain(name);
        let mut found = self.0.iter().map(|(known, _)| known.as_str()).filter(|known| plain(known) == sought);
        let first = found.next();
        let is_known = first.is_none_or(|known| known == name || known == with_underscores(name));
        if is_known && found.next().is_none() { Ok(first) } else { Err(Refused::Ambiguous) }
    }
}

/// Writes an object of members and their values as written.
pub(crate) fn write<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::from("{");
    for (at, (name, value)) in members.enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&quoted(name));
        text.push(':');
        text.push_str(value);
    }
    text.push('}');
    text
}

pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// When the body of a request gets its owner's mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marking {
    /// Never.
    None,
    /// Always, in this place.
    Always(Owner),
    /// Where it has `metadata`: it changes an object that is marked.
    IfMetadata,
    /// Where it names the object: it changes one whose name is marked.
    IfNamed(&'static str),
    /// Where it asks the provider to keep the answer.
    IfStored,
}

/// The body of a request with its owner's mark.
///
/// # Errors
/// If it is no object, or says what it says twice.
pub fn put(body: &[u8], marking: Marking, tenant: &str) -> Result<Option<Vec<u8>>, Refused> {
    let owner = match marking {
        Marking::None => return Ok(None),
        Marking::Always(owner) => owner,
        Marking::IfNamed(name) => Owner::Name(name),
        Marking::IfMetadata | Marking::IfStored => Owner::Metadata,
    };
    let object = Object::read(if body.is_empty() { b"{}" } else { body }).ok_or(Refused::Unreadable)?;
    let stores = |store: &str| object.get(store).is_some_and(|store| store.get() != "false" && store.get() != "null");
    let applies = match marking {
        Marking::IfMetadata => object.spelling("metadata")?.is_some(),
        Marking::IfNamed(name) => object.spelling(name)?.is_some(),
        Marking::IfStored => object.spelling("store")?.is_some_and(stores),
        Marking::None | Marking::Always(_) => true,
    };
    if !applies {
        return Ok(None);
    }
    let name = match owner {
        Owner::Metadata => "metadata",
        Owner::Name(name) => name,
    };
    let spelling = object.spelling(name)?.unwrap_or(name);
    let value = match owner {
        Owner::Metadata => marked_metadata(object.get(spelling), tenant)?,
        Owner::Name(_) => quoted(&(mark(tenant) + &object.text(spelling).unwrap_or_default())),
    };
    let rest = object.0.iter().filter(|(known, _)| known != spelling).map(|(name, value)| (name.as_str(), value.get()));
    Ok(Some(write(std::iter::once((name, value.as_str())).chain(rest)).into_bytes()))
}

/// `displayName` as `display_name`.
fn with_underscores(name: &str) -> String {
    let mut text = String::with_capacity(name.len().saturating_add(4));
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

fn marked_metadata(metadata: Option<&RawValue>, tenant: &str) -> Result<String, Refused> {
    let text = metadata.map_or("{}", RawValue::get);
    let object = Object::read(if text == "null" { b"{}" } else { text.as_bytes() }).ok_or(Refused::Unreadable)?;
    let own = quoted(tenant);
    let rest =
        object.0.iter().filter(|(name, _)| name != METADATA_KEY).map(|(name, value)| (name.as_str(), value.get()));
    Ok(write(std::iter::once((METADATA_KEY, own.as_str())).chain(rest)))
}

/// Whether a listed object is this tenant's.
pub(crate) fn is_own(object: &Object<'_>, owner: Owner, tenant: &str) -> bool {
    match owner {
        Owner::Metadata => {
            let metadata = object.get("metadata").and_then(|metadata| Object::read(metadata.get().as_bytes()));
            metadata.and_then(|metadata| metadata.text(METADATA_KEY)).as_deref() == Some(tenant)
        }
        Owner::Name(name) => object.text(name).is_some_and(|name| name.starts_with(&mark(tenant))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn marked(body: &str, marking: Marking) -> Result<Option<String>, Refused> {
        Ok(put(body.as_bytes(), marking, "acme")?.map(|body| String::from_utf8(body).unwrap()))
    }

    const METADATA: Marking = Marking::Always(Owner::Metadata);

    #[test]
    fn a_clients_own_mark_is_overwritten() {
        let body = r#"{"a":[1, 2],"metadata":{"weir_tenant":"globex","k":"v"}}"#;
        let expected = r#"{"metadata":{"weir_tenant":"acme","k":"v"},"a":[1, 2]}"#;
        assert_eq!(marked(body, METADATA).unwrap().as_deref(), Some(expected));
        for body in ["", "{}", r#"{"metadata":null}"#] {
            assert_eq!(marked(body, METADATA).unwrap().as_deref(), Some(r#"{"metadata":{"weir_tenant":"acme"}}"#));
        }
        let named = marked(r#"{"name":"x"}"#, Marking::Always(Owner::Name("name"))).unwrap();
        assert_eq!(named.as_deref(), Some(r#"{"name":"weir[acme]x"}"#));
    }

    #[test]
    fn a_change_keeps_the_mark_and_a_stored_answer_gets_one() {
        assert_eq!(marked(r#"{"name":"x"}"#, Marking::IfMetadata), Ok(None));
        assert_eq!(marked(r#"{"ttl":"1s"}"#, Marking::IfNamed("displayName")), Ok(None));
        let renamed = marked(r#"{"displayName":"weir[globex]x"}"#, Marking::IfNamed("displayName")).unwrap();
        assert_eq!(renamed.as_deref(), Some(r#"{"displayName":"weir[acme]weir[globex]x"}"#));
        let snake = marked(r#"{"display_name":"x"}"#, Marking::Always(Owner::Name("displayName"))).unwrap();
        assert_eq!(snake.as_deref(), Some(r#"{"displayName":"weir[acme]x"}"#), "Google takes both spellings");
        assert!(marked(r#"{"metadata":null}"#, Marking::IfMetadata).unwrap().unwrap().contains("acme"));
        assert_eq!(marked(r#"{"store":false}"#, Marking::IfStored), Ok(None));
        assert!(marked(r#"{"store":true}"#, Marking::IfStored).unwrap().unwrap().contains("acme"));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for body in [r#"{"metadata":[]}"#, "[]", "{"] {
            assert_eq!(marked(body, METADATA), Err(Refused::Unreadable), "{body}");
        }
        for body in [r#"{"metadata":{},"metadata":{}}"#, r#"{"Metadata":{}}"#, r#"{"meta_data":{}}"#] {
            assert_eq!(marked(body, METADATA), Err(Refused::Ambiguous), "{body}");
        }
        let both = r#"{"displayName":"x","display_name":"y"}"#;
        assert_eq!(marked(both, Marking::IfNamed("displayName")), Err(Refused::Ambiguous));
    }

    #[test]
    fn no_mark_begins_with_another() {
        let tenants = ["acme", "acme2", "ac", "a/b", "a:b", "~a", "a=b", "a]b"];
        for (one, other) in tenants.iter().flat_map(|one| tenants.iter().map(move |other| (one, other))) {
            assert_eq!(mark(one).starts_with(&mark(other)), one == other, "{one} {other}");
        }
    }
}
