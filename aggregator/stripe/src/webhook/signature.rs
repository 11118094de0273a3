//! `Stripe-Signature`: `t=…,v1=…[,v1=…]`, HMAC-SHA256 over `{t}.{raw body}`.
use hmac::{Hmac, Mac};
use sha2::Sha256;
use weir_contract::Timestamp;

use weir_settings::secret::Secret;

/// The largest difference between the call's time and this clock, in seconds.
pub(crate) const TOLERANCE_SECS: u64 = 300;
/// The most signatures checked per header, and the most secrets; a rotation needs two.
const SIGNATURES_MAX: usize = 8;

/// Why a call is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The header is missing or malformed.
    #[error("the header Stripe-Signature is missing or not of the form t=…,v1=…")]
    Form,
    /// The call was signed too long ago, or ahead of this clock.
    #[error("signed more than 300 seconds away from this machine's clock")]
    Age,
    /// No configured secret made the signature.
    #[error("no v1 signature is of a configured secret")]
    Wrong,
}

/// Checks the signature of `body` with each secret.
pub fn check(secrets: &[Secret], header: &str, body: &[u8], now: Timestamp) -> Result<(), SignatureError> {
    let (mut signed_at, mut signatures) = (None, Vec::new());
    for (name, value) in header.split(',').filter_map(|part| part.trim().split_once('=')) {
        match name {
            "t" => signed_at = Some(value),
            "v1" if signatures.len() < SIGNATURES_MAX => signatures.extend(hex::decode(value)),
            _ => {}
        }
    }
    let text = signed_at.ok_or(SignatureError::Form)?;
    let seconds: u64 = text.parse().map_err(|_| SignatureError::Form)?;
    if signatures.is_empty() {
        return Err(SignatureError::Form);
    }
    let fits = |secret: &Secret| signatures.iter().any(|signature| matches(secret, text, body, signature));
    if !secrets.iter().any(fits) {
        return Err(SignatureError::Wrong);
    }
    if now.as_secs().abs_diff(seconds) > TOLERANCE_SECS {
        return Err(SignatureError::Age);
    }
    Ok(())
}

/// Compares in constant time for each secret.
fn matches(secret: &Secret, signed_at: &str, body: &[u8], signature: &[u8]) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { return false };
    mac.update(signed_at.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.verify_slice(signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;
    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn sign(secret: &str, t: u64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
        mac.update(format!("{t}.").as_bytes());
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    }

    fn header(secret: &str, t: u64) -> String {
        format!("t={t},v1={}", sign(secret, t, BODY))
    }

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::new((*text).to_owned())).collect()
    }

    #[test]
    fn a_call_under_any_configured_secret_is_believed() {
        let now = NOW.as_secs();
        for known in ["old", "new"] {
            assert_eq!(check(&secrets(&["old", "new"]), &header(known, now), BODY, NOW), Ok(()));
        }
        let both = format!("t={now},v1={},v1={}", sign("other", now, BODY), sign("new", now, BODY));
        assert_eq!(check(&secrets(&["new"]), &both, BODY, NOW), Ok(()), "any v1 may match");
    }

    #[test]
    fn another_secret_body_time_or_scheme_is_not() {
        let now = NOW.as_secs();
        let known = secrets(&["s"]);
        assert_eq!(check(&known, &header("x", now), BODY, NOW), Err(SignatureError::Wrong));
        assert_eq!(check(&known, &header("s", now), b"{}", NOW), Err(SignatureError::Wrong));
        let moved = header("s", now).replace(&format!("t={now}"), &format!("t={}", now + 1));
        assert_eq!(check(&known, &moved, BODY, NOW), Err(SignatureError::Wrong));
        let v0 = header("s", now).replace("v1=", "v0=");
        assert_eq!(check(&known, &v0, BODY, NOW), Err(SignatureError::Form));
        for broken in ["", "t=1", "v1=00", "t=x,v1=00", "t=,v1=", "t=1,v1=zz"] {
            assert_eq!(check(&known, broken, BODY, NOW), Err(SignatureError::Form), "{broken}");
        }
        assert_eq!(check(&[], &header("s", now), BODY, NOW), Err(SignatureError::Wrong));
    }

    #[test]
    fn a_call_is_believed_for_five_minutes() {
        let known = secrets(&["s"]);
        let at = |t| check(&known, &header("s", t), BODY, NOW);
        let now = NOW.as_secs();
        assert_eq!((at(now - 300), at(now + 300)), (Ok(()), Ok(())));
        assert_eq!((at(now - 301), at(now + 301)), (Err(SignatureError::Age), Err(SignatureError::Age)));
    }
}
