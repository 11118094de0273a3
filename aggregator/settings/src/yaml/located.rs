//! A YAML document with the location of every node, so that a later error can point into the file.
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::YamlError;

/// A line and a column, both counted from 1; 0 if unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// A node of a document.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the node starts.
    pub location: Location,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(String, Location, Node)>),
}

impl Node {
    /// Reads `text`; errors name `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, YamlError> {
        super::parse(path, text)
    }

    /// The document without locations.
    pub fn value(&self) -> Value {
        match &self.what {
            What::Scalar(value) => value.clone(),
            What::List(items) => items.iter().map(Node::value).collect(),
            What::Map(fields) => Value::Object(
                fields.iter().map(|(name, _, field)| (name.clone(), field.value())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// Returns true if the node is neither a list nor a map.
    pub fn is_scalar(&self) -> bool {
        matches!(self.what, What::Scalar(_))
    }

    /// The text of a text node; None for others.
    pub fn text(&self) -> Option<&str> {
        match &self.what {
            What::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Every key and every text value, with its location.
    pub fn words(&self) -> Vec<(Location, &str)> {
        match &self.what {
            What::Scalar(Value::String(text)) => vec![(self.location, text)],
            What::Scalar(_) => Vec::new(),
            What::List(items) => items.iter().flat_map(Node::words).collect(),
            What::Map(fields) => {
                let names = fields.iter().map(|(name, location, _)| (*location, name.as_str()));
                names.chain(fields.iter().flat_map(|(_, _, field)| field.words())).collect()
            }
        }
    }

    /// The node at `path` (`filters[0].config`), or its nearest existing ancestor, and the location of its key if it
    /// has one. Keys may contain dots: the longest match wins.
    pub fn find(&self, path: &str) -> (&Node, Option<Location>) {
        let (mut node, mut name, mut rest) = (self, None, path);
        while let Some((next, next_name, next_rest)) = node.step(rest) {
            (node, name, rest) = (next, next_name, next_rest);
        }
        (node, name)
    }

    fn step<'n, 'p>(&'n self, path: &'p str) -> Option<(&'n Node, Option<Location>, &'p str)> {
        let path = path.strip_prefix('.').unwrap_or(path);
        match &self.what {
            What::Scalar(_) => None,
            What::List(items) => {
                let (number, rest) = path.strip_prefix('[')?.split_once(']')?;
                Some((items.get(number.parse::<usize>().ok()?)?, None, rest))
            }
            What::Map(fields) => {
                let fits = |name: &str| {
                    let rest = path.strip_prefix(name)?;
                    (!name.is_empty() && (rest.is_empty() || rest.starts_with(['.', '[']))).then_some(rest)
                };
                let found = fields.iter().filter_map(|(name, location, field)| Some((field, *location, fits(name)?)));
                let (field, location, rest) = found.min_by_key(|(_, _, rest)| rest.len())?;
                Some((field, Some(location), rest))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<What>::deserialize(deserializer)?;
        Ok(Node { location: Location { line: referenced.line(), column: referenced.column() }, what: value })
    }
}

impl<'de> Deserialize<'de> for What {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = What;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("any value")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<What, E> {
                Ok(What::Scalar(value.into()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<What, E> {
                Ok(What::Scalar(value.into()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<What, E> {
                Ok(What::Scalar(value.into()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<What, E> {
                Ok(What::Scalar(value.into()))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<What, E> {
                Ok(What::Scalar(value.into()))
            }

            fn visit_unit<E: Error>(self) -> Result<What, E> {
                Ok(What::Scalar(Value::Null))
            }

            fn visit_none<E: Error>(self) -> Result<What, E> {
                Ok(What::Scalar(Value::Null))
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<What, D::Error> {
                What::deserialize(deserializer)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<What, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(What::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<What, A::Error> {
                let mut fields = Vec::new();
                while let Some(name) = map.next_key::<Spanned<String>>()? {
                    let location = Location { line: name.referenced.line(), column: name.referenced.column() };
                    fields.push((name.value, location, map.next_value()?));
                }
                Ok(What::Map(fields))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_a_document_has_its_place() {
        let text = "a:\n  - b.c: 1\n    d: [x, {e: z}]\n";
        let node = Node::parse(Path::new("a.yaml"), text).expect("YAML");
        assert_eq!(node.value(), serde_json::json!({"a": [{"b.c": 1, "d": ["x", {"e": "z"}]}]}));
        let of = |path: &str| {
            let (node, name) = node.find(path);
            let pair = |location: Location| (location.line, location.column);
            (pair(node.location), name.map(pair))
        };
        assert_eq!(of("a[0].b.c"), ((2, 10), Some((2, 5))));
        assert_eq!(of("a[0].d[1].e"), ((3, 16), Some((3, 13))));
        assert_eq!(of("a[0].d[0].nothing"), ((3, 9), None), "as far as there is a way");
    }
}
