//! Short ways to write JSON documents.

use crate::json::Json;

/// An object whose members keep their order.
macro_rules! obj {
    ($($name:literal : $value:expr),* $(,)?) => {
        $crate::json::Json::Object(vec![$(($name.to_owned(), $crate::json::Json::from($value))),*])
    };
}
pub(super) use obj;

impl From<u64> for Json {
    fn from(count: u64) -> Self {
        Json::Number(count.to_string())
    }
}

impl From<i32> for Json {
    fn from(count: i32) -> Self {
        Json::Number(count.to_string())
    }
}

impl From<bool> for Json {
    fn from(flag: bool) -> Self {
        Json::Bool(flag)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Json::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Json::Text(text)
    }
}

impl From<Vec<Json>> for Json {
    fn from(items: Vec<Json>) -> Self {
        Json::List(items)
    }
}

impl Json {
    /// Sets a member; a new one stands at the object's end.
    pub(super) fn with(mut self, name: &str, value: impl Into<Json>) -> Json {
        if let Json::Object(members) = &mut self {
            match members.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = value.into(),
                None => members.push((name.to_owned(), value.into())),
            }
        }
        self
    }

    /// Adds a member where there is something to say.
    pub(super) fn with_count(self, name: &str, count: u64) -> Json {
        if count > 0 { self.with(name, count) } else { self }
    }
}
