//! What receivers are told, and the signature that proves who says it.
//!
//! [Standard Webhooks](https://www.standardwebhooks.com): the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`, an
//! HMAC-SHA256 over `ID.SECONDS.BODY`. A receiver tells repeats by the id, which is the same at each attempt.
use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use weir_contract::Timestamp;
use weir_settings::secret::Secret;

use crate::findings::{Finding, LISTED_MAX};
use crate::receiver::Target;
use crate::view::Transition;

/// The beginning of a secret of Standard Webhooks.
const SECRET_PREFIX: &str = "whsec_";

/// The body of a message about a change of a stage.
pub(crate) fn of_transition(target: &Target, change: &Transition) -> Value {
    match target {
        Target::Webhook(_) => json!({
            "type": "budget.stage",
            "timestamp": change.at,
            "data": {
                "summary": summary(change),
                "command": command(change),
                "budget": change.budget,
                "subject": change.subject,
                "was": change.was,
                "stage": change.stage,
                "used": change.used,
                "amount": change.amount,
                "unit": change.unit,
                "mode": change.mode,
                "period_start": change.period_start,
                "period_end": change.period_end,
                "evaluated_through": change.evaluated_through,
            },
        }),
        Target::Slack(_) => json!({"text": format!("{}\n`{}`", summary(change), command(change))}),
    }
}

/// The body of a message about critical findings.
pub(crate) fn of_findings(target: &Target, findings: &[&Finding], at: Timestamp) -> Value {
    let records: u64 = findings.iter().map(|finding| finding.count).sum();
    let tenants: BTreeSet<&str> = findings.iter().map(|finding| finding.tenant.as_str()).collect();
    let named: Vec<&str> = tenants.iter().copied().take(LISTED_MAX).collect();
    let summary = format!(
        "Answers held {records} records or names of other tenants, which were taken out. They were for {}.",
        if named.is_empty() { "nobody".to_owned() } else { named.join(", ") }
    );
    let command = "weir audit security";
    match target {
        Target::Webhook(_) => json!({
            "type": "security.findings",
            "timestamp": at,
            "data": {
                "summary": summary,
                "command": command,
                "count": findings.len(),
                "findings": findings.get(..LISTED_MAX).unwrap_or(findings),
            },
        }),
        Target::Slack(_) => json!({"text": format!("{summary}\n`{command}`")}),
    }
}

/// The body of a test.
pub(crate) fn of_test(target: &Target, at: Timestamp) -> Value {
    let text = "This is a test of weir's alerts. Nothing has happened.";
    match target {
        Target::Webhook(_) => json!({"type": "test", "timestamp": at, "data": {"summary": text}}),
        Target::Slack(_) => json!({ "text": text }),
    }
}

/// What has happened, in a sentence.
fn summary(change: &Transition) -> String {
    let Transition { budget, subject, was, stage, used, amount, unit, .. } = change;
    let whose = if subject.starts_with('#') { "which tenants share".to_owned() } else { format!("of {subject}") };
    let ends = change.period_end.map_or_else(String::new, |end| format!("; the period ends at {end}"));
    let observed = if change.mode == "observe" { " (observed only)" } else { "" };
    format!(
        "The budget {budget} {whose} went from {was} to {stage}{observed}: {used} of {amount} {unit} are used{ends}."
    )
}

/// The command that shows more.
fn command(change: &Transition) -> String {
    match change.subject.strip_prefix('#') {
        Some(_) => format!("weir budgets history --tenant '{}'", change.subject),
        None => format!("weir budgets show {}", change.subject),
    }
}

/// Why a secret cannot sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret is not whsec_ and base64 of 24 to 64 bytes")]
pub struct SecretForm;

/// The header `webhook-signature` of a message.
pub fn signature(secret: &Secret, id: &str, at: Timestamp, body: &[u8]) -> Result<String, SecretForm> {
    let key = secret.expose().trim().strip_prefix(SECRET_PREFIX).ok_or(SecretForm)?;
    let key = STANDARD.decode(key).map_err(|_| SecretForm)?;
    if !(24..=64).contains(&key.len()) {
        return Err(SecretForm);
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| SecretForm)?;
    for part in [id.as_bytes(), b".", at.as_secs().to_string().as_bytes(), b".", body] {
        mac.update(part);
    }
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_specification() {
        // The example of the specification's reference libraries.
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let at = Timestamp::from_secs(1_614_265_330);
        let signed = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#);
        assert_eq!(signed.as_deref(), Ok("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn a_secret_of_another_form_signs_nothing() {
        for text in [
            "",
            "whsec_",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw!",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_c2hvcnQ=",
        ] {
            let signed = signature(&Secret::new(text.to_owned()), "id", Timestamp::default(), b"");
            assert_eq!(signed, Err(SecretForm), "{text}");
        }
    }
}
