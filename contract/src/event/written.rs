//! Writes an event as JSON.
//!
//! The bytes are those that `serde` would write, member by member. A gateway writes one event per request, so
//! constant names, quotes and commas are copied in one piece. `written/tests.rs` compares the two.
use super::{
    ATTEMPTS_TYPE, AttemptsData, Decision, EstimateMethod, EventError, Outcome, REFUSED_TYPE, RefusedData, SEARCH_TYPE,
    SECURITY_TYPE, SOURCE_TYPE, SPEC_VERSION, SearchData, SecurityData, SourceData, USAGE_TYPE, Usage, UsageData,
    UsageStatus,
};
use crate::id::{EventId, Sequence, SourceId};
use crate::tenant::TenantId;
use crate::text::Text;
use crate::time::Timestamp;
use crate::writer::{self, write_number_after, write_text_after};

/// An event that is written and not kept: [`super::Event`], borrowed.
#[derive(Clone, Copy, Debug)]
pub struct EventRef<'e> {
    /// Unique to one request.
    pub id: EventId,
    /// The worker VM that made it.
    pub source: &'e SourceId,
    /// Its number in that source.
    pub sequence: Option<Sequence>,
    /// The tenant.
    pub subject: Option<&'e TenantId>,
    /// The time.
    pub time: Timestamp,
    /// What happened.
    pub payload: PayloadRef<'e>,
}

/// What a borrowed event says, by its `type`.
#[derive(Clone, Copy, Debug)]
pub enum PayloadRef<'e> {
    /// `weir.usage.v1`
    Usage(&'e UsageData<'e>),
    /// `weir.refused.v1`
    Refused(&'e RefusedData),
    /// `weir.source.v1`
    Source(&'e SourceData),
    /// `weir.security.v1`
    Security(&'e SecurityData),
    /// `weir.search.v1`
    Search(&'e SearchData),
    /// `weir.attempts.v1`
    Attempts(&'e AttemptsData),
}

impl EventRef<'_> {
    /// Appends the event as JSON.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), EventError> {
        let kind = match self.payload {
            PayloadRef::Usage(_) => USAGE_TYPE,
            PayloadRef::Refused(_) => REFUSED_TYPE,
            PayloadRef::Source(_) => SOURCE_TYPE,
            PayloadRef::Security(_) => SECURITY_TYPE,
            PayloadRef::Search(_) => SEARCH_TYPE,
            PayloadRef::Attempts(_) => ATTEMPTS_TYPE,
        };
        // None of these bytes ever needs an escape.
        for part in ["{\"specversion\":\"", SPEC_VERSION, "\",\"type\":\"", kind, "\",\"id\":\""] {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(&self.id.text());
        for part in ["\",\"source\":\"", self.source.as_str()] {
            out.extend_from_slice(part.as_bytes());
        }
        if let Some(sequence) = self.sequence {
            out.extend_from_slice(b"\",\"sequence\":\"");
            out.extend_from_slice(&sequence.text());
        }
        if let Some(subject) = self.subject {
            out.extend_from_slice(b"\",\"subject\":\"");
            out.extend_from_slice(subject.as_str().as_bytes());
        }
        out.extend_from_slice(b"\",\"time\":\"");
        out.extend_from_slice(&self.time.text());
        out.extend_from_slice(b"\",\"datacontenttype\":\"application/json\",\"data\":");
        match self.payload {
            PayloadRef::Usage(data) => write_usage_data(data, out)?,
            PayloadRef::Refused(data) => writer::write(data, out)?,
            PayloadRef::Source(data) => writer::write(data, out)?,
            // Rare, and with lists, which the quick writer does not know.
            PayloadRef::Security(data) => serde_json::to_writer(&mut *out, data)?,
            PayloadRef::Search(data) => serde_json::to_writer(&mut *out, data)?,
            PayloadRef::Attempts(data) => serde_json::to_writer(&mut *out, data)?,
        }
        out.push(b'}');
        Ok(())
    }
}

/// A member that may be absent.
fn text(lead: &'static str, text: Option<&Text<'_>>, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    text.map_or(Ok(()), |text| write_text_after(lead, text, out))
}

/// A member that may be absent.
fn number(lead: &'static str, number: Option<u64>, out: &mut Vec<u8>) {
    if let Some(number) = number {
        write_number_after(lead, number, out);
    }
}

fn write_usage_data(data: &UsageData<'_>, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    write_text_after("{\"request_id\":", &data.request_id, out)?;
    text(",\"response_id\":", data.response_id.as_ref(), out)?;
    text(",\"trace_id\":", data.trace_id.as_ref(), out)?;
    text(",\"span_id\":", data.span_id.as_ref(), out)?;
    text(",\"credential_id\":", data.credential_id.as_ref(), out)?;
    text(",\"idempotency_key_hash\":", data.idempotency_key_hash.as_ref(), out)?;
    write_text_after(",\"plan\":", &data.plan, out)?;
    out.extend_from_slice(b",\"class\":\"");
    out.extend_from_slice(data.class.as_str().as_bytes());
    out.push(b'"');
    text(",\"route\":", data.route.as_ref(), out)?;
    text(",\"feature\":", data.feature.as_ref(), out)?;
    text(",\"prompt_version\":", data.prompt_version.as_ref(), out)?;
    text(",\"environment\":", data.environment.as_ref(), out)?;
    text(",\"user\":", data.user.as_ref(), out)?;
    text(",\"provider\":", data.provider.as_ref(), out)?;
    text(",\"request_model\":", data.request_model.as_ref(), out)?;
    text(",\"response_model\":", data.response_model.as_ref(), out)?;
    text(",\"service_tier\":", data.service_tier.as_ref(), out)?;
    out.extend_from_slice(if data.stream { b",\"stream\":true" } else { b",\"stream\":false" });
    write_number_after(",\"status\":", data.status.into(), out);
    for part in [",\"outcome\":\"", data.outcome.as_str(), "\",\"decision\":\"", data.decision.as_str()] {
        out.extend_from_slice(part.as_bytes());
    }
    out.push(b'"');
    text(",\"budget\":", data.budget.as_ref(), out)?;
    if let Some(stage) = data.budget_stage {
        for part in [",\"budget_stage\":\"", stage.as_str(), "\""] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    text(",\"flags\":", data.flags.as_ref(), out)?;
    if !data.paid_by.is_house() {
        out.extend_from_slice(b",\"paid_by\":\"tenant\"");
    }
    write_text_after(",\"config_version\":", &data.config_version, out)?;
    write_usage(&data.usage, out)?;
    if data.kept {
        out.extend_from_slice(b",\"kept\":true");
    }
    write_number_after(",\"duration_ms\":", data.duration_ms, out);
    number(",\"time_to_first_token_ms\":", data.time_to_first_token_ms, out);
    write_number_after(",\"request_bytes\":", data.request_bytes, out);
    write_number_after(",\"response_bytes\":", data.response_bytes, out);
    if let Some(routed) = &data.routed {
        out.extend_from_slice(b",\"routed\":");
        writer::write(routed, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_usage(usage: &Usage, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    for part in [",\"usage\":{\"status\":\"", usage.status.as_str(), "\""] {
        out.extend_from_slice(part.as_bytes());
    }
    number(",\"input_tokens\":", usage.input_tokens, out);
    number(",\"output_tokens\":", usage.output_tokens, out);
    number(",\"cache_read_tokens\":", usage.cache_read_tokens, out);
    number(",\"cache_write_tokens\":", usage.cache_write_tokens, out);
    number(",\"reasoning_tokens\":", usage.reasoning_tokens, out);
    if !usage.details.is_empty() {
        out.extend_from_slice(b",\"details\":");
        writer::write(&usage.details, out)?;
    }
    if let Some(estimate) = &usage.estimate {
        for part in [
            ",\"estimate\":{\"input\":\"",
            estimate.input.as_str(),
            "\",\"output\":\"",
            estimate.output.as_str(),
            "\"}",
        ] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    out.push(b'}');
    Ok(())
}

impl UsageStatus {
    /// As JSON writes it.
    const fn as_str(self) -> &'static str {
        match self {
            UsageStatus::Complete => "complete",
            UsageStatus::Estimated => "estimated",
            UsageStatus::None => "none",
        }
    }
}

impl EstimateMethod {
    /// As JSON writes it.
    const fn as_str(self) -> &'static str {
        match self {
            EstimateMethod::Provider => "provider",
            EstimateMethod::RequestText => "request_text",
            EstimateMethod::RequestUnread => "request_unread",
            EstimateMethod::AnswerText => "answer_text",
            EstimateMethod::Total => "total",
        }
    }
}

impl Outcome {
    /// As JSON writes it.
    const fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::ClientError => "client_error",
            Outcome::UpstreamError => "upstream_error",
            Outcome::ClientClosed => "client_closed",
            Outcome::UpstreamReset => "upstream_reset",
            Outcome::Timeout => "timeout",
        }
    }
}

impl Decision {
    /// As JSON writes it.
    const fn as_str(self) -> &'static str {
        match self {
            Decision::Admitted => "admitted",
            Decision::Observed => "observed",
        }
    }
}

#[cfg(test)]
mod tests;
