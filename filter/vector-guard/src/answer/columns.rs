//! Chroma's answers: lists side by side, one of ids and others of what belongs to each.
//!
//! An id without the tenant's prefix, or a metadata without its mark, is another's; the record goes out of every list.
use std::ops::Range;

use super::{Check, Owner, take_out::take_out};
use crate::names;
use weir_llm_usage::json::tree::{Id, Kind, ROOT};

impl Check<'_> {
    /// Checks lists under these names, the first of which is that of the ids.
    pub(super) fn columns(&mut self, columns: &'static [&'static str]) -> Option<()> {
        let (first, others) = columns.split_first()?;
        let Some(ids) = self.tree.member(ROOT, first) else { return Some(()) };
        let known: Vec<&str> = columns.iter().copied().chain(["include"]).collect();
        self.take_out_beside(ROOT, &known);
        let others: Vec<(&str, Id)> =
            others.iter().filter_map(|name| Some((*name, self.tree.member(ROOT, name)?))).collect();
        let others: Vec<(&str, Id)> = others.into_iter().filter(|(_, id)| self.kind(*id) != Some(Kind::Null)).collect();
        let is_query = self.tree.children(ids).next().is_some_and(|first| self.kind(first) == Some(Kind::Array));
        if !is_query {
            return self.side_by_side(ids, &others);
        }
        let queries = self.elements(ids)?;
        let is_as_long = |(_, list): &(&str, Id)| self.elements(*list).is_some_and(|all| all.len() == queries.len());
        if !others.iter().all(is_as_long) {
            return None;
        }
        for (at, ids) in queries.iter().enumerate() {
            let mut of_query = Vec::with_capacity(others.len());
            for (name, list) in &others {
                let list = self.tree.children(*list).nth(at)?;
                if self.kind(list) != Some(Kind::Null) {
                    of_query.push((*name, list));
                }
            }
            self.side_by_side(*ids, &of_query)?;
        }
        Some(())
    }

    /// Checks one set of lists, all as long as that of the ids.
    fn side_by_side(&mut self, ids: Id, others: &[(&str, Id)]) -> Option<()> {
        let prefix = names::prefix(&self.call.tenant);
        let id_nodes = self.elements(ids)?;
        let metadatas = others.iter().find(|(name, _)| *name == "metadatas").map(|(_, id)| *id);
        let metadatas = metadatas.map(|list| self.elements(list)).map_or(Some(None), |list| list.map(Some))?;
        let mut foreign = Vec::with_capacity(id_nodes.len());
        for (at, id) in id_nodes.iter().enumerate() {
            let is_named = self.tree.text(*id)?.starts_with(&*prefix);
            let owner = match metadatas.as_ref().map(|list| list.get(at)) {
                None => {
                    if is_named {
                        Owner::Own
                    } else {
                        Owner::Unmarked
                    }
                }
                Some(metadata) => {
                    let mark = self.tree.member(*metadata?, &self.call.guard.field);
                    match self.owner_by(mark) {
                        Owner::Own if !is_named => Owner::Unmarked,
                        owner => owner,
                    }
                }
            };
            let is_own = self.count(owner);
            foreign.push(!is_own);
            let start = self.tree.node(*id)?.at.start.saturating_add(1);
            if is_own {
                self.edits.replace(start..start.saturating_add(prefix.len()), "");
            }
        }
        for list in std::iter::once(ids).chain(others.iter().map(|(_, list)| *list)) {
            let spans = self.spans(list)?;
            // What belongs to no id belongs to nobody.
            if spans.len() != foreign.len() {
                return None;
            }
            if foreign.contains(&true) {
                take_out(&mut self.edits, spans, &foreign);
            }
        }
        Some(())
    }

    /// Where the elements of a list stand, numbers too.
    fn spans(&self, id: Id) -> Option<Vec<Range<usize>>> {
        let list = self.tree.node(id).filter(|node| node.kind == Kind::Array)?.at.clone();
        let mut children = self.tree.children(id).filter_map(|child| self.tree.node(child)).peekable();
        let mut spans = Vec::new();
        let (mut at, end) = (list.start.saturating_add(1), list.end.saturating_sub(1));
        while at < end {
            if let Some(child) = children.next_if(|child| child.at.start == at) {
                spans.push(child.at.clone());
                at = child.at.end;
                continue;
            }
            let rest = self.tree.bytes.get(at..end)?;
            let number = rest.iter().take_while(|byte| !matches!(byte, b',' | b' ' | b'\n' | b'\r' | b'\t')).count();
            if number > 0 {
                spans.push(at..at.saturating_add(number));
            }
            at = at.saturating_add(number.max(1));
        }
        Some(spans)
    }
}
