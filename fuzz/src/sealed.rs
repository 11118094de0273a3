//! What the fuzz target of sealed ids asserts of any request and any answer.
use std::rc::Rc;

use weir_sealed_ids::kind::SEALABLE;
use weir_sealed_ids::rewrite::Rewriter;
use weir_sealed_ids::{Answer, Dialect, Guard, Keys, Kinds, Opener, Refused};

fn guard(dialect: Dialect) -> Rc<Guard> {
    let keys = Keys::new((1, b"a secret that no corpus holds, of 32 bytes"), None).expect("keys");
    let sealed = SEALABLE.into_iter().fold(Kinds::NONE, Kinds::with);
    Rc::new(Guard { keys: Rc::new(keys), dialect, sealed, shared: Kinds::NONE })
}

fn open(guard: &Guard, tenant: &str, pieces: [&[u8]; 2]) -> Result<Vec<u8>, Refused> {
    let (mut rewriter, mut out) = (Rewriter::new(guard.dialect), Vec::new());
    for piece in pieces {
        rewriter.feed(piece, &mut Opener { guard, tenant }, &mut out)?;
    }
    rewriter.finish(&mut out);
    Ok(out)
}

fn seal(guard: &Rc<Guard>, pieces: [&[u8]; 2], is_stream: bool) -> Vec<u8> {
    let mut answer = Answer::new(Rc::clone(guard), "acme", guard.sealed, is_stream);
    [answer.feed(pieces[0], false), answer.feed(pieces[1], true)].concat()
}

/// However it is cut, a document is opened and sealed to the same bytes, and stays JSON. What no key has sealed opens to nothing.
pub(crate) fn sealed_ids(input: &[u8]) {
    let Some((first, input)) = input.split_first() else { return };
    let dialect = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini][usize::from(*first) % 3];
    let guard = guard(dialect);
    let (head, rest) = input.split_at(usize::from(*first) * input.len() / 256);
    let is_json = |bytes: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
    let opened = open(&guard, "acme", [input, b""]);
    assert_eq!(open(&guard, "acme", [head, rest]), opened);
    if let Ok(opened) = opened {
        assert_eq!(opened, input);
    }
    for is_stream in [false, true] {
        assert_eq!(seal(&guard, [head, rest], is_stream), seal(&guard, [input, b""], is_stream));
    }
    let sealed = seal(&guard, [input, b""], false);
    if is_json(input) {
        assert!(is_json(&sealed));
        if let Ok(opened) = open(&guard, "globex", [&sealed, b""]) {
            assert_eq!(opened, sealed, "another tenant opens nothing");
        }
    }
}
