//! A request taken apart: path, parameters from query or form body, the headers that count.

use super::error::ApiError;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use serde_json::Value;
use std::collections::BTreeMap;
use std::str::FromStr;

/// Stripe names a parameter of a nested object in brackets: `payload[value]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Params(BTreeMap<String, String>);

#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) params: Params,
    pub(super) body: Bytes,
    headers: HeaderMap,
}

impl Call {
    pub(super) fn parse(request: &Request<Bytes>) -> Result<Self, ApiError> {
        let (method, headers) = (request.method().clone(), request.headers().clone());
        let path = request.uri().path().trim_end_matches('/').to_owned();
        let form = method != Method::GET && path.starts_with("/v1/");
        let pairs = if form { request.body() } else { request.uri().query().unwrap_or_default().as_bytes() };
        let call = Self { params: Params::parse(pairs), body: request.body().clone(), method, path, headers };
        let form_type =
            call.header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if form && !call.body.is_empty() && !form_type {
            let message = "Invalid request (check that your POST content type is application/x-www-form-urlencoded).";
            return Err(ApiError::invalid(message));
        }
        Ok(call)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body of a v2 call.
    pub(super) fn json(&self) -> Result<Value, ApiError> {
        if !self.header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
            return Err(ApiError::invalid("A v2 request needs the content type application/json."));
        }
        serde_json::from_slice(&self.body).map_err(|error| ApiError::invalid(format!("Invalid JSON: {error}")))
    }
}

impl Params {
    fn parse(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }

    pub(super) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| ApiError::missing(name))
    }

    /// A text of at most `max` characters.
    pub(super) fn text(&self, name: &str, max: usize) -> Result<Option<&str>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        if value.chars().count() > max {
            let start: String = value.chars().take(10).collect();
            let message = format!("Invalid string: {start}...; must be at most {max} characters");
            return Err(ApiError::invalid(message).param(name));
        }
        Ok(Some(value))
    }

    pub(super) fn required_text(&self, name: &str, max: usize) -> Result<&str, ApiError> {
        self.text(name, max)?.ok_or_else(|| ApiError::missing(name))
    }

    pub(super) fn integer<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let wrong =
            || ApiError::invalid(format!("Invalid integer: {value}")).code("parameter_invalid_integer").param(name);
        value.parse().map(Some).map_err(|_| wrong())
    }

    /// One of `allowed`.
    pub(super) fn choice(&self, name: &str, allowed: &[&'static str]) -> Result<Option<&'static str>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let known = allowed.iter().copied().find(|choice| *choice == value);
        let message = || format!("Invalid {name}: must be one of {}", allowed.join(", "));
        known.map(Some).ok_or_else(|| ApiError::invalid(message()).param(name))
    }

    /// The fields of the object `name`, by their names inside it.
    pub(super) fn object(&self, name: &str) -> BTreeMap<String, String> {
        let inner = |key: &str| key.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']').map(str::to_owned);
        self.0.iter().filter_map(|(key, value)| Some((inner(key)?, value.clone()))).collect()
    }

    /// Refuses what the endpoint does not know. A name that ends in `[` stands for a whole object.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        let is_known =
            |key: &str| known.iter().any(|name| *name == key || (name.ends_with('[') && key.starts_with(name)));
        match self.0.keys().find(|key| !is_known(key)) {
            None => Ok(()),
            Some(key) => {
                let message = format!("Received unknown parameter: {key}");
                Err(ApiError::invalid(message).code("parameter_unknown").param(key))
            }
        }
    }
}
