//! Answers that are searched for identifiers: cut in two anywhere they become the same bytes, and nothing panics.
use std::cell::RefCell;
use std::rc::Rc;

use weir_redaction::{Form, Identifiers, Redactor, TooLong};

pub(crate) fn redaction(input: &[u8]) {
    let [form, cut, body @ ..] = input else { return };
    let form = [Form::Document, Form::Events, Form::Lines, Form::Text][usize::from(form % 4)];
    let cut = usize::from(*cut).min(body.len());
    let (whole, pieces) = (redact(form, &[body]), redact(form, &[&body[..cut], &body[cut..]]));
    assert_eq!(whole, pieces);
    if let (Ok(whole), Form::Text) = (whole, form) {
        // Other letters, and `_`, make it a part of a longer word.
        let parts = |byte: &u8| byte.is_ascii() && !byte.is_ascii_alphanumeric() && *byte != b'_';
        assert!(!whole.split(parts).any(|word| word.eq_ignore_ascii_case(b"globex")));
    }
}

fn redact(form: Form, pieces: &[&[u8]]) -> Result<Vec<u8>, TooLong> {
    let mut identifiers = Identifiers::new(2);
    for text in ["globex", "a b", "b a c", "日本", "x.y"] {
        identifiers.add("globex", text);
    }
    let mut redactor = Redactor::new(Rc::new(RefCell::new(identifiers)), "acme", form, 4096);
    let mut out = Vec::new();
    for piece in pieces {
        redactor.feed(piece, &mut out)?;
    }
    redactor.finish(&mut out)?;
    Ok(out)
}
