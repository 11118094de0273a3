//! A configuration as a tree, and shapes read from it with the path of an error.
//!
//! One deserializer reads every shape, in whatever format the gateway hands it over, and an error collects its path on
//! the way out. Reading from the text through a wrapper that tracks the path made up a third of the whole module.
use std::fmt::{self, Display};

use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Unexpected, Visitor};
use serde_json::{Number, Value};

use super::ConfigError;

/// JSON that keeps repeated fields, so that the shape can refuse them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Tree>),
    Fields(Vec<(String, Tree)>),
}

impl Tree {
    /// Reads the shape `T`.
    pub(super) fn read<T: de::DeserializeOwned>(&self) -> Result<T, ConfigError> {
        T::deserialize(self).map_err(|Wrong { path, problem }| {
            ConfigError::new(if path.is_empty() { "configuration".to_owned() } else { path }, problem)
        })
    }

    /// Whether it is an object with a member of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        matches!(self, Tree::Fields(fields) if fields.iter().any(|(found, _)| found == name))
    }

    fn unexpected(&self) -> Unexpected<'_> {
        match self {
            Tree::Null => Unexpected::Unit,
            Tree::Bool(truth) => Unexpected::Bool(*truth),
            Tree::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), _, _) => Unexpected::Unsigned(number),
                (_, Some(number), _) => Unexpected::Signed(number),
                (_, _, number) => Unexpected::Float(number.unwrap_or(f64::NAN)),
            },
            Tree::Text(text) => Unexpected::Str(text),
            Tree::List(_) => Unexpected::Seq,
            Tree::Fields(_) => Unexpected::Map,
        }
    }
}

impl From<Value> for Tree {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Tree::Null,
            Value::Bool(truth) => Tree::Bool(truth),
            Value::Number(number) => Tree::Number(number),
            Value::String(text) => Tree::Text(text),
            Value::Array(items) => Tree::List(items.into_iter().map(Tree::from).collect()),
            Value::Object(fields) => {
                Tree::Fields(fields.into_iter().map(|(name, value)| (name, Tree::from(value))).collect())
            }
        }
    }
}

impl<'de> de::Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyJson)
    }
}

struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = Tree;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(truth))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Tree, E> {
        Number::from_f64(number).map(Tree::Number).ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = entries.next_entry()? {
            fields.push(field);
        }
        Ok(Tree::Fields(fields))
    }
}

/// An error, with the part of its path that is known so far.
#[derive(Debug)]
pub(super) struct Wrong {
    path: String,
    problem: String,
}

impl Wrong {
    fn in_field(mut self, name: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{name}{dot}{}", self.path);
        self
    }

    fn at_index(mut self, index: usize) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("[{index}]{dot}{}", self.path);
        self
    }
}

impl Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.problem)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: Display>(problem: T) -> Self {
        Wrong { path: String::new(), problem: problem.to_string() }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        match found {
            // JSON calls the unit value `null`.
            Unexpected::Unit => Wrong::custom(format_args!("invalid type: null, expected {expected}")),
            found => Wrong::custom(format_args!("invalid type: {found}, expected {expected}")),
        }
    }
}

impl<'de> Deserializer<'de> for &'de Tree {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Tree::Null => visitor.visit_unit(),
            Tree::Bool(truth) => visitor.visit_bool(*truth),
            Tree::Number(number) => visit_number(number, visitor),
            Tree::Text(text) => visitor.visit_borrowed_str(text),
            Tree::List(items) => visitor.visit_seq(Items(items.iter().enumerate())),
            Tree::Fields(fields) => visitor.visit_map(Entries { fields: fields.iter(), value: None }),
        }
    }

    // Shapes are read from maps only: reading them from lists as well would add code to the module.

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Tree::Fields(fields) => visitor.visit_map(Entries { fields: fields.iter(), value: None }),
            other => Err(de::Error::invalid_type(other.unexpected(), &visitor)),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Tree::List(items) => visitor.visit_seq(Items(items.iter().enumerate())),
            // Kong keeps configurations in Lua tables: an empty one has no kind.
            Tree::Fields(fields) if fields.is_empty() => visitor.visit_seq(Items([].iter().enumerate())),
            other => Err(de::Error::invalid_type(other.unexpected(), &visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Tree::Text(text) => visitor.visit_borrowed_str(text),
            other => Err(de::Error::invalid_type(other.unexpected(), &visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Tree::Number(number) => visit_number(number, visitor),
            other => Err(de::Error::invalid_type(other.unexpected(), &visitor)),
        }
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Tree::Null => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self {
            Tree::Text(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            Tree::Fields(fields) => match fields.as_slice() {
                [(name, content)] => visitor.visit_enum(Variant { name, content }),
                _ => Err(de::Error::custom("expected one field, which says what it is")),
            },
            other => Err(de::Error::invalid_type(other.unexpected(), &"a name, or one field")),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
        ignored_any
    }
}

fn visit_number<'de, V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, Wrong> {
    match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(number), _, _) => visitor.visit_u64(number),
        (_, Some(number), _) => visitor.visit_i64(number),
        (_, _, number) => visitor.visit_f64(number.unwrap_or(f64::NAN)),
    }
}

struct Items<'de>(std::iter::Enumerate<std::slice::Iter<'de, Tree>>);

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        let Some((index, item)) = self.0.next() else { return Ok(None) };
        seed.deserialize(item).map(Some).map_err(|wrong| wrong.at_index(index))
    }
}

struct Entries<'de> {
    fields: std::slice::Iter<'de, (String, Tree)>,
    /// The value of the field whose name was read last, with that name.
    value: Option<(&'de str, &'de Tree)>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        let Some((name, value)) = self.fields.next() else { return Ok(None) };
        self.value = Some((name, value));
        let name = name.as_str();
        seed.deserialize(de::value::BorrowedStrDeserializer::new(name))
            .map(Some)
            .map_err(|wrong: Wrong| wrong.in_field(name))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Wrong> {
        let (name, value) = self.value.take().ok_or_else(|| <Wrong as de::Error>::custom("a value without a name"))?;
        seed.deserialize(value).map_err(|wrong| wrong.in_field(name))
    }
}

/// `{variant: content}`
struct Variant<'de> {
    name: &'de str,
    content: &'de Tree,
}

impl<'de> de::EnumAccess<'de> for Variant<'de> {
    type Error = Wrong;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Wrong> {
        let name = seed.deserialize(self.name.into_deserializer()).map_err(|wrong: Wrong| wrong.in_field(self.name))?;
        Ok((name, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'de> {
    type Error = Wrong;

    fn unit_variant(self) -> Result<(), Wrong> {
        match self.content {
            Tree::Null => Ok(()),
            other => Err(de::Error::invalid_type(other.unexpected(), &"nothing"))
                .map_err(|wrong: Wrong| wrong.in_field(self.name)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Wrong> {
        seed.deserialize(self.content).map_err(|wrong| wrong.in_field(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.content.deserialize_seq(visitor).map_err(|wrong| wrong.in_field(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(self, _fields: &'static [&'static str], visitor: V) -> Result<V::Value, Wrong> {
        self.content.deserialize_map(visitor).map_err(|wrong| wrong.in_field(self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;
    use std::collections::BTreeMap;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        name: String,
        #[serde(default)]
        list: Vec<Kind>,
        #[serde(default)]
        map: BTreeMap<String, u8>,
        #[serde(default)]
        maybe: Option<f32>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Plain,
        Wrapped(u8),
        Fielded { x: i8 },
    }

    fn read(value: Value) -> Result<Shape, ConfigError> {
        Tree::from(value).read()
    }

    #[test]
    fn every_form_is_read() {
        let shape = read(json!({"name": "n", "list": ["plain", {"wrapped": 1}, {"fielded": {"x": -1}}],
                                "map": {"a": 2}, "maybe": 0.5}));
        let list = vec![Kind::Plain, Kind::Wrapped(1), Kind::Fielded { x: -1 }];
        let map = [("a".to_owned(), 2)].into();
        assert_eq!(shape, Ok(Shape { name: "n".to_owned(), list, map, maybe: Some(0.5) }));
        assert_eq!(read(json!({"name": "n", "maybe": null})).map(|shape| shape.maybe), Ok(None));
    }

    #[test]
    fn an_empty_object_is_an_empty_list_where_one_is_due() {
        assert_eq!(read(json!({"name": "n", "list": {}})).map(|shape| shape.list), Ok(Vec::new()));
        let problem = read(json!({"name": "n", "list": {"plain": null}})).expect_err("an object").to_string();
        assert_eq!(problem, "list: invalid type: map, expected a sequence");
    }

    #[test]
    fn a_mistake_is_told_with_its_path_wherever_it_stands() {
        for (value, expected) in [
            (json!(1), "configuration: invalid type: integer `1`, expected struct Shape"),
            (json!({}), "configuration: missing field `name`"),
            (json!({"name": null}), "name: invalid type: null, expected a string"),
            (
                json!({"name": "n", "nam": 1}),
                "nam: unknown field `nam`, expected one of `name`, `list`, `map`, `maybe`",
            ),
            (json!({"name": "n", "map": {"a": 1, "b": 256}}), "map.b: invalid value: integer `256`, expected u8"),
            (
                json!({"name": "n", "list": ["plain", {"wrapped": "x"}]}),
                "list[1].wrapped: invalid type: string \"x\", expected u8",
            ),
            (json!({"name": "n", "list": [{"fielded": {}}]}), "list[0].fielded: missing field `x`"),
            (
                json!({"name": "n", "list": [{"plain": 1}]}),
                "list[0].plain: invalid type: integer `1`, expected nothing",
            ),
            (json!({"name": "n", "list": [{}]}), "list[0]: expected one field, which says what it is"),
            (json!({"name": "n", "list": [[]]}), "list[0]: invalid type: sequence, expected a name, or one field"),
        ] {
            assert_eq!(read(value).expect_err(expected).to_string(), expected);
        }
    }

    #[test]
    fn a_field_that_stands_twice_is_refused() {
        let tree: Tree = serde_json::from_str(r#"{"name": "a", "name": "b"}"#).expect("JSON");
        assert_eq!(tree.read::<Shape>().expect_err("twice").problem, "duplicate field `name`");
    }
}
