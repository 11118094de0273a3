//! Secrets in the configuration: `{env: NAME}`, or the text itself.
//!
//! A gateway shows its configuration to whoever may read its files or its admin interface, so a secret belongs into the
//! gateway's environment. The gateway hands chosen variables to the module; the configuration names them. No error, log line
//! or `Debug` output repeats a secret.
use std::collections::BTreeMap;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ConfigError;

/// The longest name of an environment variable, in bytes.
const NAME_MAX_BYTES: usize = 128;

/// Stands for a secret of a gateway elsewhere. As long as the longest secret that a field asks for.
const ELSEWHERE: &str = "stands for a variable that is set where the gateway runs and is not looked at here";

/// A secret as people write it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The secret itself.
    Text(String),
    /// The environment variable that holds it.
    Env(String),
}

/// The environment variables that the gateway hands to the module.
#[derive(Clone)]
pub enum Environment {
    /// These, and no others.
    Of(BTreeMap<String, String>),
    /// The gateway runs elsewhere: every variable counts as set to a good secret.
    Elsewhere,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Secret::Text(_) => f.write_str("Secret(…)"),
            Secret::Env(name) => f.debug_struct("Secret").field("env", name).finish(),
        }
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Environment::Of(variables) => f.debug_set().entries(variables.keys()).finish(),
            Environment::Elsewhere => f.write_str("Elsewhere"),
        }
    }
}

impl Secret {
    /// Replaces the variable's name by its value; `path` is the field.
    ///
    /// # Errors
    /// If the gateway does not hand over the variable, or it is empty.
    pub fn resolve(&mut self, path: &str, environment: &Environment) -> Result<(), ConfigError> {
        let Secret::Env(name) = self else { return Ok(()) };
        let value = match environment {
            Environment::Of(variables) => variables.get(name.as_str()).map(|value| value.trim()).unwrap_or_default(),
            Environment::Elsewhere => ELSEWHERE,
        };
        if value.is_empty() {
            return Err(ConfigError::new(
                path,
                format_args!(
                    "the environment variable {name} is not set, or the gateway does not hand it over. Set it for the \
                     gateway's process and name it in Envoy's vm_config.environment_variables.host_env_keys (Istio: \
                     vmConfig.env; Envoy Gateway: env.hostKeys; Kong: nginx_main_env)"
                ),
            ));
        }
        *self = Secret::Text(value.to_owned());
        Ok(())
    }

    /// The secret. Empty until [`Secret::resolve`] has found it; no field takes an empty one.
    pub fn expose(&self) -> &str {
        match self {
            Secret::Text(text) => text,
            Secret::Env(_) => "",
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Secret::Text(text) => serializer.serialize_str(text),
            Secret::Env(name) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("env", name)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    /// By hand, because the error of a derived one repeats the value: the secret.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

fn misplaced<E: de::Error>() -> E {
    E::custom("a secret is written as {env: NAME}, or as a text in quotes")
}

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("{env: NAME} or a text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::Text(text.to_owned()))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Secret, E> {
        Err(misplaced())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Secret, E> {
        Err(misplaced())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
        Err(misplaced())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
        Err(misplaced())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
        let name = match map.next_key::<String>()?.as_deref() {
            Some("env") => map.next_value::<VariableName>()?,
            _ => return Err(misplaced()),
        };
        if map.next_key::<IgnoredAny>()?.is_some() { Err(misplaced()) } else { Ok(Secret::Env(name.0)) }
    }
}

/// The name of an environment variable, as POSIX shells take it.
struct VariableName(String);

impl<'de> Deserialize<'de> for VariableName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let goes_on = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if begins && goes_on && name.len() <= NAME_MAX_BYTES {
            Ok(VariableName(name))
        } else {
            // The text may be the secret itself.
            Err(de::Error::custom("the name of an environment variable is A-Z a-z 0-9 _ and starts with no digit"))
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "`{env: NAME}`: an environment variable that the gateway hands to the module; or the secret itself",
            "examples": ["{env: NAME}"],
            "type": ["string", "object"],
            "properties": {"env": {
                "type": "string",
                "description": "The environment variable of the gateway that holds the secret.",
                "pattern": "^[A-Za-z_][A-Za-z0-9_]*$",
            }},
            "required": ["env"],
            "additionalProperties": false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;
    use serde_json::{Value, json};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn read(value: Value) -> Result<Secret, String> {
        Tree::from(value).read().map_err(|error| error.to_string())
    }

    fn environment(name: &str, value: &str) -> Environment {
        Environment::Of([(name.to_owned(), value.to_owned())].into())
    }

    #[test]
    fn a_secret_is_a_text_or_names_its_variable_and_is_written_as_it_was_read() {
        for value in [json!("s3cret"), json!({"env": "WEIR_TOKEN"})] {
            let secret = read(value.clone()).expect("a secret");
            assert_eq!(serde_json::to_value(&secret).ok(), Some(value));
            assert!(!format!("{secret:?}").contains("s3cret"));
        }
    }

    #[test]
    fn an_error_never_repeats_what_stands_in_the_place_of_a_secret() {
        for value in [
            json!(8_675_309),
            json!(true),
            json!({"env": "8675309"}),
            json!({"value": "8675309"}),
            json!({"env": "A", "file": "8675309"}),
            json!({}),
        ] {
            let problem = read(value.clone()).expect_err("no secret");
            assert!(!problem.contains("8675309") && !problem.contains("true"), "{value}: {problem}");
        }
    }

    #[test]
    fn a_variable_is_found_without_the_white_space_around_it() {
        let mut secret = Secret::Env("WEIR_TOKEN".to_owned());
        assert_eq!(secret.expose(), "");
        secret.resolve("events.token", &environment("WEIR_TOKEN", "abc\n")).expect("it is set");
        assert_eq!(secret.expose(), "abc");
    }

    #[test]
    fn a_missing_or_empty_variable_is_told_with_its_field_and_what_to_set() {
        for environment in [environment("OTHER", "abc"), environment("WEIR_TOKEN", " \n")] {
            let error =
                Secret::Env("WEIR_TOKEN".to_owned()).resolve("events.token", &environment).expect_err("not set");
            assert_eq!(error.path, "events.token");
            assert!(
                error.problem.contains("WEIR_TOKEN is not set") && error.problem.contains("host_env_keys"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_gateway_elsewhere_has_every_variable() {
        let mut secret = Secret::Env("WEIR_TOKEN".to_owned());
        secret.resolve("events.token", &Environment::Elsewhere).expect("taken for set");
        assert!(secret.expose().len() >= 64);
    }
}
