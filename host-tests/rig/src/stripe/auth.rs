//! The key of a call: `Authorization: Bearer sk_…`, or the user name of basic authentication, as curl's `-u sk_…:` sends.

use super::Account;
use super::call::Call;
use super::error::ApiError;

/// Whether the call carries the account's secret key.
pub(super) fn check(account: &Account, call: &Call) -> Result<(), ApiError> {
    let Some(authorization) = call.header("authorization") else {
        let message = "You did not provide an API key. You need to provide your API key in the Authorization header, using \
            Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').";
        return Err(ApiError::unauthorized(message.to_owned()));
    };
    let expected = [format!("Bearer {}", account.secret_key), format!("Basic {}", basic(&account.secret_key))];
    if expected.iter().any(|known| known == authorization) {
        return Ok(());
    }
    Err(ApiError::unauthorized("Invalid API Key provided: sk_****".to_owned()))
}

fn basic(key: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("{key}:"))
}
