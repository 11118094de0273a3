//! Authenticates requests by bearer token and scope.
use axum::http::{HeaderMap, header};

use super::App;
use super::error::ApiError;
use super::passed_on::NODE;
use crate::config::tokens::{COMMANDS, Scope, Token};

/// The header in which a command of this machine names the account that runs it.
pub(crate) const USER_HEADER: &str = "weir-user";
/// The longest name of an account that is noted, in bytes.
const USER_MAX_BYTES: usize = 64;

/// An account's name as it is noted: printable ASCII, cut to a bound.
pub(crate) fn user_name(name: &[u8]) -> String {
    name.iter().filter(|byte| byte.is_ascii_graphic()).take(USER_MAX_BYTES).map(|byte| char::from(*byte)).collect()
}

/// What the token of commands opens.
pub(super) fn of_commands() -> Vec<Scope> {
    vec![Scope::Ingest, Scope::Directory, Scope::Readings, Scope::Admin]
}

/// Who the audit names for a command that `user` runs.
pub(crate) fn by_command(user: &str) -> String {
    if user.is_empty() { COMMANDS.to_owned() } else { format!("{user}, by {COMMANDS}") }
}

/// The token of a request, if it has `scope`.
pub(super) fn require(app: &App, headers: &HeaderMap, scope: Scope) -> Result<Token, ApiError> {
    let token = presented(app, headers)?;
    allow(&token, scope)?;
    Ok(token)
}

/// Refuses a token without `scope`.
pub(super) fn allow(token: &Token, scope: Scope) -> Result<(), ApiError> {
    if token.opens(&scope) { Ok(()) } else { Err(ApiError::Forbidden(scope)) }
}

/// The token of a request that concerns one tenant, if it has `scope` or is that tenant's own.
pub(super) fn require_for(app: &App, headers: &HeaderMap, scope: Scope, tenant: &str) -> Result<Token, ApiError> {
    let token = presented(app, headers)?;
    allow_for(&token, scope.clone(), tenant)?;
    if !token.opens(&scope) {
        check_present(app, tenant)?;
    }
    Ok(token)
}

/// Refuses an archived tenant what it could do by itself: its tokens open nothing until an operator lets it in again.
pub(super) fn check_present(app: &App, tenant: &str) -> Result<(), ApiError> {
    if !app.directory().current().has_left(tenant) {
        return Ok(());
    }
    let told = format!("the tenant {tenant} is archived: nothing of it opens until an operator lets it in again");
    Err(ApiError::NotLetIn(told))
}

/// Refuses a token that has not `scope` and is not the tenant's own.
pub(super) fn allow_for(token: &Token, scope: Scope, tenant: &str) -> Result<(), ApiError> {
    if token.opens(&scope) || token.is_of(tenant) { Ok(()) } else { Err(ApiError::Forbidden(scope)) }
}

/// The token of a request, whatever it opens.
pub(super) fn presented(app: &App, headers: &HeaderMap) -> Result<Token, ApiError> {
    let presented = bearer(headers).ok_or(ApiError::Unauthorized)?;
    let found = app.tokens().find(presented).cloned();
    let kept = || app.kept_tokens().find(presented, app.0.clock.now()).cloned();
    if let Some(token) = found.is_none().then(|| of_other_commands(app, headers, presented)).flatten() {
        return Ok(token);
    }
    let mut token = found.or_else(kept).ok_or(ApiError::Unauthorized)?;
    app.0.seen.used(&token.name, app.0.clock.now());
    // Only who reads the data directory has this token; others are named by theirs.
    if token.name == COMMANDS {
        token.name = by_command(&user_name(headers.get(USER_HEADER).map_or(&[], |value| value.as_bytes())));
    }
    token.name = token.who();
    Ok(token)
}

/// The token of commands on another node's machine, which that node has passed on; only who reads its data directory has it.
fn of_other_commands(app: &App, headers: &HeaderMap, presented: &[u8]) -> Option<Token> {
    let fleet = app.0.fleet.as_ref()?;
    let node = headers.get(NODE)?.to_str().ok()?;
    if !fleet.is_of_commands(node, presented) {
        return None;
    }
    let user = user_name(headers.get(USER_HEADER).map_or(&[], |value| value.as_bytes()));
    let of_node = format!("the commands of node {node}");
    let name = if user.is_empty() { of_node } else { format!("{user}, by {of_node}") };
    Some(Token::of(&name, of_commands(), std::str::from_utf8(presented).ok()?))
}

/// The token after `Bearer`, in any letter case (RFC 9110, section 11.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}
