//! An answer whose ids are sealed as it streams by.
use std::rc::Rc;

use crate::judge::{Guard, Sealer};
use crate::kind::Kinds;
use crate::rewrite::Rewriter;
use crate::sse::Events;

/// An answer on its way to a tenant.
#[derive(Debug)]
pub struct Answer {
    sealer: Sealer,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Document(Rewriter),
    Events(Events),
}

impl Answer {
    /// An answer before its first byte. `fallback`: what an id of an unknown prefix is in it.
    pub fn new(guard: Rc<Guard>, tenant: &str, fallback: Kinds, is_stream: bool) -> Self {
        let dialect = guard.dialect;
        let form = match is_stream {
            true => Form::Events(Events::new(dialect)),
            false => Form::Document(Rewriter::new(dialect)),
        };
        Answer { sealer: Sealer::new(guard, tenant, fallback), form }
    }

    /// What the client gets instead of a chunk; `ends` on the last.
    pub fn feed(&mut self, chunk: &[u8], ends: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(chunk.len().saturating_add(chunk.len() / 4));
        // A sealer refuses nothing.
        let _sealed = match &mut self.form {
            Form::Document(rewriter) => rewriter.feed(chunk, &mut self.sealer, &mut out),
            Form::Events(events) => events.feed(chunk, &mut self.sealer, &mut out),
        };
        if ends {
            match &mut self.form {
                Form::Document(rewriter) => rewriter.finish(&mut out),
                Form::Events(events) => events.finish(&mut out),
            }
        }
        out
    }
}
