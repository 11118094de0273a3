//! What the fuzz targets of request bodies assert of any input. `filter/tests/body_fuzz.rs` runs the same functions on bodies
//! put together from hostile pieces.
#![allow(dead_code, reason = "each fuzz target is a program that uses one of these")]
use weir_filter::body::edit::{CapField, OtherCaps, Splices};
use weir_filter::body::members::Scope;
use weir_filter::body::{Document, Unreadable};

/// A request's body is readable exactly where a strict parser takes it, and names the model that the parser finds unless
/// it is ambiguous.
pub(crate) fn request_body(body: &[u8]) {
    let read = Document::read(body);
    let strict =
        std::str::from_utf8(body).is_ok_and(|body| serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok());
    if !body.is_empty() && read != Err(Unreadable::Depth) {
        assert_eq!(read.is_ok(), strict);
    }
    let Ok(document) = read else { return };
    let Ok(parsed) = serde_json::from_slice::<serde_json::Value>(body) else { return };
    let model = parsed.get("model").and_then(serde_json::Value::as_str);
    if !document.ambiguous && document.model_name().is_some() {
        assert_eq!(document.model_name(), model);
    }
}

/// Edits leave JSON, change nothing else, and make a body that says what they were to make it say.
pub(crate) fn request_edits(body: &[u8]) {
    let Ok(document) = Document::read(body) else { return };
    let container = Some((Scope::GenerationConfig, "generationConfig"));
    for (name, container) in [("max_tokens", None), ("maxOutputTokens", container)] {
        let mut splices = Splices::default();
        splices.replace_model(&document, "m");
        let field = CapField { container, name, aliases: &[] };
        splices.cap_output(&document, 5, &[field], OtherCaps::Remove);
        splices.bound_answers(&document, 2);
        splices.include_usage(&document);
        let edited = Document::read(&splices.apply(body)).expect("still JSON");
        if body.trim_ascii().starts_with(b"{") && !document.ambiguous {
            assert_eq!((edited.model_name(), edited.ambiguous), (Some("m"), false));
            assert!(edited.output_cap(|_| true).flatten().is_some_and(|cap| cap <= 5));
            assert!(edited.counts.iter().all(|count| count.null || count.value.is_some_and(|n| n <= 2)));
        }
    }
}
