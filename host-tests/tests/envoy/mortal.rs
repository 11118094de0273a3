//! The shipped module with one weak spot, for tests of what a VM leaves behind that dies.
//!
//! Nothing that a client sends makes weir trap. So the callback for request trailers is replaced by one that does, within
//! its own bytes; all else is the shipped module.
use std::ops::Range;

use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

const CALLBACK: &str = "proxy_on_request_trailers";

// Instructions of WebAssembly.
const UNREACHABLE: u8 = 0x00;
const NOP: u8 = 0x01;
const END: u8 = 0x0b;

/// The module, with request trailers made deadly.
pub(crate) fn mortal(module: &[u8]) -> Vec<u8> {
    let body = body_of(module, CALLBACK);
    let mut mortal = module.to_vec();
    let last = body.end - 1;
    mortal[body.clone()].fill(NOP);
    // No locals, then the trap; what follows is never run.
    mortal[body.start] = 0;
    mortal[body.start + 1] = UNREACHABLE;
    mortal[last] = END;
    mortal
}

/// Where the body of an exported function stands: its locals and its instructions.
fn body_of(module: &[u8], name: &str) -> Range<usize> {
    let (mut imported, mut wanted, mut bodies) = (0, None, Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload.expect("a module") {
            Payload::ImportSection(imports) => {
                let functions = imports.into_imports().filter(|import| {
                    matches!(import.as_ref().expect("an import").ty, TypeRef::Func(_) | TypeRef::FuncExact(_))
                });
                imported = functions.count();
            }
            Payload::ExportSection(exports) => {
                let mut exports = exports.into_iter().map(|export| export.expect("an export"));
                let found = exports.find(|export| export.name == name && export.kind == ExternalKind::Func);
                wanted = found.map(|export| export.index as usize);
            }
            Payload::CodeSectionEntry(body) => bodies.push(body.range()),
            _ => {}
        }
    }
    bodies[wanted.expect("the export") - imported].clone()
}
