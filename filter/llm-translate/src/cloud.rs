//! Errors that a cloud answers in the place of a model: their names, and the statuses that other providers would give them.
use crate::answer_head::AnswerHead;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    Invalid,
    Authentication,
    Billing,
    Permission,
    NotFound,
    TooLarge,
    RateLimit,
    Timeout,
    Overloaded,
    Server,
}

/// What the head of a cloud's error says of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfCloud(pub(crate) Option<Failing>);

impl OfCloud {
    pub(crate) fn read(head: &AnswerHead<'_>) -> Self {
        OfCloud(head.error_type().and_then(Failing::of_cloud))
    }
}

/// The status of an error of a cloud, as providers say it: what the model has failed at is the server's fault, and a quota is a limit.
pub(crate) fn status(head: &AnswerHead<'_>) -> u16 {
    match (OfCloud::read(head).0, head.status) {
        (Some(Failing::Authentication), _) => 401,
        (Some(Failing::RateLimit), _) => 429,
        (Some(Failing::Timeout), _) | (_, 408) => 504,
        (Some(Failing::Server), ..500) | (_, 424) => 502,
        (_, status) => status,
    }
}

impl Failing {
    /// By the name that [Bedrock](https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html#API_runtime_InvokeModel_Errors)
    /// or [Google](https://cloud.google.com/apis/design/errors#handling_errors) gives an error.
    pub(crate) fn of_cloud(name: &str) -> Option<Self> {
        // Some services of AWS put their own name before it.
        Some(match name.rsplit('#').next().unwrap_or(name) {
            "ValidationException" | "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => Failing::Invalid,
            "UnrecognizedClientException"
            | "ExpiredTokenException"
            | "MissingAuthenticationTokenException"
            | "UNAUTHENTICATED" => Failing::Authentication,
            "AccessDeniedException" | "PERMISSION_DENIED" => Failing::Permission,
            "ResourceNotFoundException" | "NOT_FOUND" => Failing::NotFound,
            "ThrottlingException"
            | "ModelNotReadyException"
            | "ServiceQuotaExceededException"
            | "RESOURCE_EXHAUSTED" => Failing::RateLimit,
            "ModelTimeoutException" | "DEADLINE_EXCEEDED" => Failing::Timeout,
            "ServiceUnavailableException" | "UNAVAILABLE" => Failing::Overloaded,
            "InternalServerException"
            | "ModelErrorException"
            | "ModelStreamErrorException"
            | "INTERNAL"
            | "UNKNOWN"
            | "DATA_LOSS" => Failing::Server,
            _ => return None,
        })
    }
}
