//! Who somebody is by the claims of an ID token, and what they may do.
use serde_json::{Map, Value};
use weir_contract::directory::KeyHash;
use weir_contract::glob;

use super::super::sessions::Holder;
use super::OpenIdError;
use crate::config::tokens::{Scope as Role, Token, is_name};
use crate::config::ui::openid::{OpenId, RoleRule};

/// The longest name of a person.
const PERSON_MAX_CHARS: usize = 200;
/// What the audit says beside the person's name.
const NAME: &str = "OpenID Connect";

/// A claim that counts: nobody has to believe an address that the provider has not verified.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let is_believed = name != "email" || claims.get("email_verified") == Some(&Value::Bool(true));
    claims.get(name).filter(|_| is_believed)
}

fn fits(claims: &Map<String, Value>, rule: &RoleRule) -> bool {
    match claim(claims, &rule.claim) {
        Some(Value::String(text)) => glob::matches(&rule.value, text),
        Some(Value::Array(texts)) => {
            texts.iter().filter_map(Value::as_str).any(|text| glob::matches(&rule.value, text))
        }
        _ => false,
    }
}

/// Who somebody is by their claims, and what they may do.
pub(super) fn person(settings: &OpenId, claims: &Map<String, Value>) -> Result<Holder, OpenIdError> {
    let text = |name: &str| claim(claims, name).and_then(Value::as_str);
    let name = text(&settings.person)
        .filter(|name| is_name(name, PERSON_MAX_CHARS))
        .ok_or_else(|| OpenIdError::NoName(settings.person.clone()))?;
    let roles: Vec<Role> =
        settings.roles.iter().filter(|rule| fits(claims, rule)).map(|rule| rule.scope.clone()).collect();
    if roles.is_empty() {
        return Err(OpenIdError::NoRole(name.to_owned()));
    }
    let subject = text("sub").unwrap_or(name);
    let one = KeyHash::of(format!("{NAME}\n{}\n{subject}", settings.issuer).as_bytes());
    let mut token = Token::of(NAME, roles, &format!("{NAME}\n{subject}"));
    token.person = Some(name.into());
    Ok(Holder::Person(token.into(), one))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(person: &str, roles: &[(&str, &str, Role)]) -> OpenId {
        let roles = roles.iter().map(|(claim, value, scope)| RoleRule {
            claim: (*claim).to_owned(),
            value: (*value).to_owned(),
            scope: scope.clone(),
        });
        OpenId {
            issuer: "https://login.example.com".to_owned(),
            client_id: "weir".to_owned(),
            client_secret: None,
            callback: "https://weir.example.com/ui/openid/callback".to_owned(),
            ask: Vec::new(),
            person: person.to_owned(),
            roles: roles.collect(),
        }
    }

    fn of(settings: &OpenId, claims: &Value) -> Result<Token, String> {
        let claims = claims.as_object().expect("an object");
        match person(settings, claims) {
            Ok(Holder::Person(token, _)) => Ok(token.as_ref().clone()),
            Ok(Holder::Token(_)) => Err("a token".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_person_gets_the_scopes_of_all_rules_that_fit_and_no_other() {
        let settings = settings(
            "email",
            &[
                ("groups", "platform", Role::Operator),
                ("email", "*@example.com", Role::Viewer),
                ("groups", "root", Role::Admin),
            ],
        );
        let claims =
            json!({"sub": "1", "email": "ada@example.com", "email_verified": true, "groups": ["platform", "staff"]});
        let token = of(&settings, &claims).expect("let in");
        assert_eq!(token.who(), "ada@example.com, with OpenID Connect");
        assert!(token.opens(&Role::Operator) && token.opens(&Role::Viewer) && !token.opens(&Role::Admin));
        let nobody = json!({"sub": "1", "email": "eve@evil.example", "email_verified": true, "groups": "platforms"});
        assert!(of(&settings, &nobody).expect_err("refused").contains("no rule"));
    }

    #[test]
    fn an_address_that_is_not_verified_names_nobody_and_opens_nothing() {
        let by_email = settings("email", &[("email", "*@example.com", Role::Admin)]);
        for verified in [json!(false), json!("true"), json!(null)] {
            let claims = json!({"sub": "1", "email": "ada@example.com", "email_verified": verified});
            assert!(of(&by_email, &claims).is_err(), "{verified}");
        }
        let by_sub = settings("sub", &[("email", "*@example.com", Role::Admin)]);
        assert!(of(&by_sub, &json!({"sub": "1", "email": "ada@example.com"})).is_err());
    }

    #[test]
    fn a_name_is_a_short_line() {
        let settings = settings("name", &[("sub", "1", Role::Viewer)]);
        for name in [json!(""), json!("  "), json!("a\nb"), json!("x".repeat(201)), json!(["a"]), json!(null)] {
            assert!(of(&settings, &json!({"sub": "1", "name": name})).is_err(), "{name}");
        }
        assert!(of(&settings, &json!({"sub": "1", "name": "Ada"})).is_ok());
    }
}
