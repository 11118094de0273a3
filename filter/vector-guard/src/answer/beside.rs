//! What may stand beside records in an answer, and what goes: a store that is newer than its table, or at fault, may put records
//! of others there.
use super::{Check, take_out::take_out};
use crate::Store;
use weir_llm_usage::json::tree::{Id, Kind};

/// A member that stands beside records.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// A number, a string or nothing.
    Scalar,
    /// Whatever holds no text.
    Numbers,
    /// Where the next page begins.
    Page,
}

const fn known(store: Store) -> &'static [(&'static str, Beside)] {
    match store {
        Store::Qdrant => &[
            ("status", Beside::Scalar),
            ("usage", Beside::Numbers),
            ("next_page_offset", Beside::Scalar),
            // What the points of a group have in common.
            ("id", Beside::Scalar),
        ],
        Store::Pinecone => &[("usage", Beside::Numbers), ("pagination", Beside::Page)],
        Store::Milvus => &[("message", Beside::Scalar), ("topks", Beside::Numbers), ("recalls", Beside::Numbers)],
        Store::Chroma | Store::Weaviate => &[],
    }
}

impl Check<'_> {
    /// Takes out of an object whatever stands beside the members `checked` and may hold records.
    pub(super) fn take_out_beside(&mut self, id: Id, checked: &[&str]) {
        let known = known(self.call.guard.store);
        let stays = |member: Id| {
            let beside = known.iter().find(|(name, _)| self.tree.is_named(member, name)).map(|(_, beside)| *beside);
            checked.iter().any(|name| self.tree.is_named(member, name)) || self.is_harmless(member, beside)
        };
        let members: Vec<Id> = self.tree.children(id).collect();
        let goes: Vec<bool> = members.iter().map(|member| !stays(*member)).collect();
        self.take_out_members(&members, &goes);
    }

    /// Takes everything out of an object but one member.
    pub(super) fn take_out_all_but(&mut self, id: Id, name: &str) {
        let members: Vec<Id> = self.tree.children(id).collect();
        let goes: Vec<bool> = members.iter().map(|member| !self.tree.is_named(*member, name)).collect();
        self.take_out_members(&members, &goes);
    }

    pub(super) fn take_out_members(&mut self, members: &[Id], goes: &[bool]) {
        if !goes.contains(&true) {
            return;
        }
        let span = |member: &Id| {
            let node = self.tree.node(*member)?;
            Some(node.name.start..node.at.end)
        };
        take_out(&mut self.edits, members.iter().filter_map(span).collect(), goes);
    }

    /// Whether a member that is not checked holds no record.
    fn is_harmless(&self, id: Id, beside: Option<Beside>) -> bool {
        match (self.tree.kind(id), beside) {
            (Some(Kind::Number | Kind::Bool(_) | Kind::Null), _) | (Some(Kind::String), Some(Beside::Scalar)) => true,
            (_, Some(Beside::Numbers)) => self.holds_no_text(id),
            (Some(Kind::Object), Some(Beside::Page)) => {
                self.tree.children(id).all(|member| matches!(self.tree.kind(member), Some(Kind::String | Kind::Null)))
            }
            _ => self.tree.is_nothing(id),
        }
    }

    fn holds_no_text(&self, id: Id) -> bool {
        self.tree.kind(id) != Some(Kind::String) && self.tree.children(id).all(|child| self.holds_no_text(child))
    }
}
