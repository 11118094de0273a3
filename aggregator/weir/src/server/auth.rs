//! Authenticates requests by bearer token and scope.
use axum::http::{HeaderMap, header};

use super::App;
use super::error::ApiError;
use crate::config::tokens::{Scope, Token};

/// The token of a request, if it has `scope`.
pub(super) fn require(app: &App, headers: &HeaderMap, scope: Scope) -> Result<Token, ApiError> {
    let presented = bearer(headers).ok_or(ApiError::Unauthorized)?;
    let tokens = app.tokens();
    let token = tokens.find(presented).ok_or(ApiError::Unauthorized)?;
    if token.opens(scope) { Ok(token.clone()) } else { Err(ApiError::Forbidden(scope)) }
}

/// The token after `Bearer`, in any letter case (RFC 9110, section 11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}
