//! Stripe's errors: status, `type`, `code`, `message`, `param`, and whether the idempotency layer keeps them.

use serde_json::{Value, json};

/// An error answer. `None` fields are left out of the JSON, as Stripe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) code: Option<&'static str>,
    pub(super) message: String,
    pub(super) param: Option<String>,
    /// Sent as `stripe-should-retry`.
    pub(super) should_retry: Option<bool>,
    /// Sent as `Retry-After`, seconds.
    pub(super) retry_after_s: Option<u64>,
    /// Whether a repeat with the same `Idempotency-Key` gets this again: only once the endpoint began to execute.
    pub(super) executed: bool,
}

impl ApiError {
    /// A 400 that blames the request, found before anything was executed.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            kind: "invalid_request_error",
            code: None,
            message: message.into(),
            param: None,
            should_retry: None,
            retry_after_s: None,
            executed: false,
        }
    }

    pub(super) fn param(self, param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    pub(super) fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    pub(super) fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(super) fn kind(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }

    pub(super) fn executed(self) -> Self {
        Self { executed: true, ..self }
    }

    pub(super) fn retry(self) -> Self {
        Self { should_retry: Some(true), ..self }
    }

    pub(super) fn missing(param: &str) -> Self {
        Self::invalid(format!("Missing required param: {param}.")).code("parameter_missing").param(param)
    }

    pub(super) fn no_such(what: &str, id: &str) -> Self {
        Self::invalid(format!("No such {what}: '{id}'")).status(404).code("resource_missing").param("id")
    }

    pub(super) fn unauthorized(message: String) -> Self {
        Self::invalid(message).status(401)
    }

    pub(super) fn rate_limit(retry_after_s: Option<u64>) -> Self {
        let message = "Request rate limit exceeded. You can learn more about rate limits here \
            https://stripe.com/docs/rate-limits.";
        let error = Self::invalid(message).status(429).code("rate_limit").retry();
        Self { retry_after_s, ..error }
    }

    pub(super) fn lock_timeout() -> Self {
        let message = "This object cannot be accessed right now because another API request or Stripe process is \
            currently accessing it. If you see this error intermittently, retry the request.";
        Self::invalid(message).status(429).code("lock_timeout").retry()
    }

    pub(super) fn api(status: u16) -> Self {
        let message = "An unknown error occurred. If you see this error repeatedly, contact support.";
        Self::invalid(message).status(status).kind("api_error").executed()
    }

    pub(super) fn body(&self) -> Value {
        let mut error = json!({"type": self.kind, "message": self.message});
        if let Some(code) = self.code {
            error["code"] = json!(code);
        }
        if let Some(param) = &self.param {
            error["param"] = json!(param);
        }
        json!({ "error": error })
    }
}
