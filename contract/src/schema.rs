//! Descriptions of values that are written as text (JSON Schema, for `weir schema`).

/// Describes a type that is written as text: what it means, an example, and the pattern it follows.
#[macro_export]
macro_rules! text_schema {
    ($type:ty, $description:literal, $example:literal, $pattern:literal) => {
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string", "description": $description, "examples": [$example], "pattern": $pattern,
                })
            }
        }
    };
}
