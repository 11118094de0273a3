//! Errors of the client, as the log needs them.
use krafka::KrafkaError;
use krafka::error::ErrorCode;

use crate::brokers::Outcome;
use crate::{AppendError, KafkaProblem};

/// The words of an error, with the remedy where there is one.
pub(super) fn failed(error: &KrafkaError) -> KafkaProblem {
    KafkaProblem::Failed(format!("{error}{}", remedy(error)))
}

fn remedy(error: &KrafkaError) -> &'static str {
    match error {
        KrafkaError::Auth { .. } => "; look at the user in the address, at `password`, `mechanism` and `ca`",
        KrafkaError::Network(_) => "; see that the brokers run and that the address is right",
        KrafkaError::Broker { code, .. } => code_remedy(*code),
        KrafkaError::Protocol { kind: krafka::ProtocolErrorKind::UnknownApiVersion, .. } => {
            "; the brokers are too old: the event log needs Kafka 0.11 or newer, for idempotent writes"
        }
        KrafkaError::DeliveryTimeout { message, .. } if message.contains("NotEnoughReplicas") => {
            code_remedy(ErrorCode::NotEnoughReplicas)
        }
        _ => "",
    }
}

fn code_remedy(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::TopicAuthorizationFailed | ErrorCode::ClusterAuthorizationFailed => {
            "; the user needs to read, write and describe the topic, and to create it or find it there"
        }
        ErrorCode::SaslAuthenticationFailed => "; look at the user in the address, at `password` and `mechanism`",
        ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            "; fewer brokers have the topic than its `min.insync.replicas` asks for: start them"
        }
        _ => "",
    }
}

/// Sorts the error of a write.
pub(super) fn outcome(error: &KrafkaError) -> Outcome {
    match error {
        KrafkaError::Broker { code: ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge, .. } => {
            Outcome::Refused(AppendError::Full(format!("{error}; raise `max.message.bytes` of the topic")))
        }
        KrafkaError::Broker {
            code: ErrorCode::TopicAuthorizationFailed | ErrorCode::ClusterAuthorizationFailed,
            ..
        }
        | KrafkaError::Auth { .. } => Outcome::Refused(AppendError::Locked(failed(error).to_string())),
        _ => Outcome::Unknown(failed(error).to_string()),
    }
}
