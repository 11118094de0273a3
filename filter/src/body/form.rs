//! Forms: the bodies of audio and image uploads (RFC 7578).
//!
//! Only what governs is read: the model, and how many answers are asked for. Servers are lenient about forms in many ways,
//! so this reads only the plain form that the SDKs and curl write, and a form with anything else in it is [`NoForm`]: a
//! header that no client has reason to send, a name with escapes, bytes before the first part.
use std::ops::Range;

use super::members::Scope;
use super::{Amount, Document, MODEL_MAX_BYTES, Member, Model};

/// The most parts of a form: an edit of images sends 16 of them, and some dozen fields.
pub(crate) const PARTS_MAX: usize = 64;

/// The longest boundary (RFC 2046, section 5.1.1).
const BOUNDARY_MAX_BYTES: usize = 70;

/// The body does not have the plain form that weir reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no plain form")]
pub struct NoForm;

/// The boundary of a form, from its content type; None if it is not a form.
pub fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    let rest = content_type.split_at_checked(19).filter(|(kind, _)| kind.eq_ignore_ascii_case(b"multipart/form-data"));
    let parameter = rest?.1.trim_ascii().strip_prefix(b";")?.trim_ascii();
    let (name, value) = parameter.split_at_checked(9)?;
    let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(byte);
    let fits = (1..=BOUNDARY_MAX_BYTES).contains(&value.len()) && value.iter().all(letter);
    (name.eq_ignore_ascii_case(b"boundary=") && fits).then_some(value)
}

/// Reads a form.
pub fn read(body: &[u8], boundary: &[u8]) -> Result<Document, NoForm> {
    let delimiter = [b"\r\n--", boundary].concat();
    // The first delimiter has no line before it.
    let mut at = delimiter.len().saturating_sub(2);
    if body.get(..at) != delimiter.get(2..) {
        return Err(NoForm);
    }
    let mut document = Document { is_form: true, ..Document::default() };
    for _ in 0..=PARTS_MAX {
        let rest = body.get(at..).unwrap_or_default();
        if matches!(rest, b"--" | b"--\r\n") {
            return Ok(document);
        }
        let head = rest.strip_prefix(b"\r\n").ok_or(NoForm)?;
        let start = at.saturating_add(2);
        let length = memchr::memmem::find(head, b"\r\n\r\n").ok_or(NoForm)?;
        let (name, is_file) = read_head(head.get(..length).ok_or(NoForm)?)?;
        let from = start.saturating_add(length).saturating_add(4);
        let value = memchr::memmem::find(body.get(from..).ok_or(NoForm)?, &delimiter).ok_or(NoForm)?;
        let value = from..from.saturating_add(value);
        note(&mut document, name, is_file, body, &value);
        at = value.end.saturating_add(delimiter.len());
    }
    Err(NoForm)
}

/// A part's name, and whether it is a file.
fn read_head(head: &[u8]) -> Result<(&[u8], bool), NoForm> {
    let mut found = None;
    for line in head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)) {
        let colon = memchr::memchr(b':', line).ok_or(NoForm)?;
        let (name, value) = (line.get(..colon).unwrap_or_default(), line.get(colon + 1..).unwrap_or_default());
        match name.to_ascii_lowercase().as_slice() {
            b"content-disposition" if found.is_none() => found = Some(read_disposition(value.trim_ascii())?),
            b"content-type" | b"content-length" => {}
            // An encoding, or what a lenient server may take for the name.
            _ => return Err(NoForm),
        }
    }
    found.ok_or(NoForm)
}

/// `form-data; name="model"`, and a file's name behind it.
fn read_disposition(value: &[u8]) -> Result<(&[u8], bool), NoForm> {
    let rest = value.strip_prefix(b"form-data; name=\"").ok_or(NoForm)?;
    let end = memchr::memchr(b'"', rest).ok_or(NoForm)?;
    let (name, rest) = rest.split_at_checked(end).ok_or(NoForm)?;
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'\\');
    let rest = rest.get(1..).unwrap_or_default();
    if !name.iter().all(plain) || !(rest.is_empty() || rest.starts_with(b"; filename")) {
        return Err(NoForm);
    }
    Ok((name, !rest.is_empty()))
}

/// Takes what governs. A field that stands twice, in another case, as a list or as a file is ambiguous.
fn note(document: &mut Document, name: &[u8], is_file: bool, body: &[u8], at: &Range<usize>) {
    let plain = name.split(|byte| *byte == b'[').next().unwrap_or_default().to_ascii_lowercase();
    let odd = is_file || plain != name;
    let text = std::str::from_utf8(body.get(at.clone()).unwrap_or_default()).ok();
    match plain.as_slice() {
        b"model" => {
            document.ambiguous |= odd || document.model.is_some();
            let name = text.filter(|name| name.len() <= MODEL_MAX_BYTES).map(Into::into);
            document.has.model = true;
            document.model = Some(Model { name, at: at.clone() });
        }
        b"models" | b"fallbacks" | b"model_id" | b"engine" => document.other_models |= !at.is_empty(),
        b"n" => {
            document.ambiguous |= odd || !document.counts.is_empty();
            let value = text.and_then(|text| text.parse().ok());
            let member = Member { object: 0, at: at.start, comma_before: None, comma_behind: None };
            document.counts.push(Amount { value, null: false, at: at.clone(), name: (Scope::Root, "n"), member });
        }
        b"stream" => {
            document.ambiguous |= odd;
            document.stream |= text.is_none_or(|text| !matches!(text, "false" | "False" | "0" | ""));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::edit::Splices;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn form(parts: &[(&str, &str)]) -> String {
        let part =
            |(head, value): &(&str, &str)| format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n");
        parts.iter().map(part).collect::<String>() + "--b--\r\n"
    }

    const FILE: (&str, &str) = ("name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg", "\0\u{1}--b \r\n--");

    #[test]
    fn the_model_of_a_form_is_read_and_replaced_and_the_file_stays() {
        let body = form(&[FILE, ("name=\"model\"", "whisper-1"), ("name=\"n\"", "9"), ("name=\"stream\"", "true")]);
        let document = read(body.as_bytes(), b"b").expect("a form");
        assert_eq!((document.model_name(), document.answers(), document.stream), (Some("whisper-1"), Some(9), true));
        assert!(!document.ambiguous);
        let mut splices = Splices::default();
        splices.replace_model(&document, "gpt-4o-transcribe");
        splices.bound_answers(&document, 2);
        let edited = String::from_utf8(splices.apply(body.as_bytes())).expect("text");
        assert_eq!(edited, body.replace("whisper-1", "gpt-4o-transcribe").replace("\r\n9\r\n", "\r\n2\r\n"));
    }

    #[test]
    fn a_field_that_servers_read_differently_is_ambiguous() {
        for parts in [
            [("name=\"model\"", "a"), ("name=\"model\"", "b")],
            [("name=\"model\"", "a"), ("name=\"Model\"", "b")],
            [("name=\"model\"", "a"), ("name=\"model[]\"", "b")],
            [("name=\"model\"", "a"), ("name=\"model\"; filename=\"x\"", "b")],
            [("name=\"n\"", "1"), ("name=\"n\"", "50")],
        ] {
            assert!(read(form(&parts).as_bytes(), b"b").expect("a form").ambiguous, "{parts:?}");
        }
        let other = read(form(&[("name=\"model\"", "a"), ("name=\"models\"", "b")]).as_bytes(), b"b");
        assert!(other.expect("a form").other_models);
    }

    #[test]
    fn what_is_not_in_the_plain_form_is_none() {
        let good = form(&[("name=\"model\"", "a")]);
        assert!(read(good.as_bytes(), b"b").is_ok() && read(b"--b--", b"b").is_ok());
        for bad in [
            good.replace("\r\n", "\n"),
            good.replace("name=\"model\"", "name=model"),
            good.replace("name=\"model\"", "name*=utf-8''model"),
            good.replace("name=\"model\"", "name=\"mod\\el\""),
            good.replace("name=\"model\"", "name=\"mod%65l\""),
            good.replace("name=\"model\"", "name=\"x\"; name=\"model\""),
            good.replace("name=\"model\"", "name=\"model\"\r\nContent-Transfer-Encoding: base64"),
            good.replace("name=\"model\"", "name=\"x\"\r\nContent-Disposition: form-data; name=\"model\""),
            good.replace("form-data; ", "form-data;  "),
            good.replace("--b--", "--b"),
            format!("preamble\r\n{good}"),
            format!("{good}epilogue"),
            good.replace("--b\r\n", "--b \r\n"),
            form(&[FILE; PARTS_MAX + 1]),
            String::new(),
        ] {
            assert_eq!(read(bad.as_bytes(), b"b").err(), Some(NoForm), "{bad:?}");
        }
    }

    #[test]
    fn a_boundary_is_read_by_its_grammar() {
        assert_eq!(boundary(b"multipart/form-data; boundary=----x1"), Some(&b"----x1"[..]));
        assert_eq!(boundary(b"Multipart/Form-Data;Boundary=\"a b\""), None);
        assert_eq!(boundary(b"multipart/form-data; boundary=\"ab\""), Some(&b"ab"[..]));
        for kind in [
            &b"multipart/mixed; boundary=x"[..],
            b"multipart/form-data",
            b"multipart/form-data; charset=x; boundary=y",
            b"x",
        ] {
            assert_eq!(boundary(kind), None, "{}", String::from_utf8_lossy(kind));
        }
    }
}
