//! Checks answers: records of other tenants are taken out, names of others are not shown, and the mark goes where the client did
//! not ask for it.
mod columns;
mod take_out;

use crate::edit::{Edits, quoted};
use crate::rule::{Answer, Operation, Step};
use crate::walk::COUNT;
use crate::{By, Call, Removed, Shown, Store, names};
use take_out::take_out;
use weir_llm_usage::json::tree::{Id, Kind, ROOT, Tree};

/// The owner of records that name none.
const UNMARKED: &str = "(unmarked)";
/// The owner of records beyond [`OWNERS_MAX`].
const OTHERS: &str = "(other)";
/// The most owners that one answer names.
const OWNERS_MAX: usize = 8;

/// An answer, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// What becomes of it.
    pub verdict: Verdict,
    /// The tenant's own records in it.
    pub results: u64,
    /// Records that were taken out, by the owner that they name.
    pub removed: Removed,
}

/// What becomes of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as it is.
    Same,
    /// This goes on instead.
    Changed(Vec<u8>),
    /// The record that was asked for is another's: it does not exist. The body says so as the store does.
    NotFound(Vec<u8>),
    /// It cannot be checked.
    #[default]
    Unreadable,
}

/// Whether answers of an operation are held.
pub(crate) fn holds(operation: &Operation) -> bool {
    operation.answer != Answer::Plain
}

/// Whether a record that does not exist must look like one of another tenant, so that nobody learns which ids others use.
pub(crate) fn hides_missing(call: &Call) -> bool {
    call.guard.store == Store::Qdrant
        && call.guard.by == By::Filter
        && matches!(call.operation.answer, Answer::Record(_))
}

/// Checks an answer.
pub(crate) fn check(call: &Call, status: u16, bytes: &[u8]) -> Checked {
    let same = Checked { verdict: Verdict::Same, ..Checked::default() };
    // An error holds no record; a status that the gateway does not tell may be any.
    if status == 404 && hides_missing(call) {
        return Checked { verdict: Verdict::NotFound(not_found(call.guard.store)), ..Checked::default() };
    }
    if status >= 300 || bytes.iter().all(u8::is_ascii_whitespace) || !holds(call.operation) {
        return same;
    }
    let Ok(tree) = Tree::read(bytes) else { return Checked::default() };
    let mut check = Check { call, tree, edits: Edits::default(), results: 0, removed: Removed::new(), search: 0 };
    let done = match call.operation.answer {
        Answer::Plain => Some(()),
        Answer::Records(steps) => check.records(ROOT, steps),
        Answer::Record(steps) => {
            let done = check.record_at(steps);
            if done.is_some() && !check.removed.is_empty() {
                let verdict = Verdict::NotFound(not_found(call.guard.store));
                return Checked { verdict, results: 0, removed: check.removed };
            }
            done
        }
        Answer::Columns(names) => check.columns(names),
        Answer::Names(steps) => check.names(ROOT, steps),
        Answer::OfNamespace => check.of_namespace(),
    };
    if done.is_none() {
        return Checked { removed: check.removed, ..Checked::default() };
    }
    let verdict = check.edits.apply(bytes).map_or(Verdict::Same, Verdict::Changed);
    Checked { verdict, results: check.results, removed: check.removed }
}

/// What the store answers where a record does not exist.
fn not_found(store: Store) -> Vec<u8> {
    match store {
        Store::Qdrant => br#"{"status":{"error":"Not found: there is no such point"},"time":0.0}"#.to_vec(),
        _ => br#"{"error":[{"message":"not found"}]}"#.to_vec(),
    }
}

/// Whose a record is.
pub(super) enum Owner {
    Own,
    Other(String),
    Unmarked,
}

/// One answer under check.
struct Check<'c> {
    call: &'c Call,
    tree: Tree<'c>,
    edits: Edits,
    results: u64,
    removed: Removed,
    /// Which search of a batch is being answered.
    search: usize,
}

impl Check<'_> {
    /// Checks the records that the steps lead to from `id`. None: they lead elsewhere.
    fn records(&mut self, id: Id, steps: &'static [Step]) -> Option<()> {
        match steps {
            [Step::Member(name), rest @ ..] => match self.kind(id)? {
                Kind::Object => match self.tree.member(id, name) {
                    Some(member) => self.records(member, rest),
                    // Nothing was found, or the store says why in another member.
                    None => Some(()),
                },
                Kind::Null => Some(()),
                _ => None,
            },
            [Step::Each] => self.list(id),
            [Step::Each | Step::EachSearch, rest @ ..] => {
                let is_batch = matches!(steps, [Step::EachSearch, ..]);
                let elements = self.elements(id)?;
                let mut emptied = Vec::with_capacity(elements.len());
                for element in &elements {
                    let (results, removed) = (self.results, self.removed.values().sum::<u64>());
                    self.records(*element, rest)?;
                    self.search += usize::from(is_batch);
                    // A group is named by what its records have, so it goes with the last of them.
                    let has_lost = removed < self.removed.values().sum::<u64>();
                    emptied.push(!is_batch && has_lost && results == self.results);
                }
                if emptied.contains(&true) {
                    self.take_out_of(&elements, &emptied);
                }
                Some(())
            }
            [] => None,
        }
    }

    /// The elements of a list of objects or lists.
    fn elements(&self, id: Id) -> Option<Vec<Id>> {
        match self.kind(id)? {
            Kind::Null => Some(Vec::new()),
            Kind::Array if !self.tree.has_numbers(id) => Some(self.tree.children(id).collect()),
            _ => None,
        }
    }

    /// Takes the records of others out of a list.
    fn list(&mut self, id: Id) -> Option<()> {
        let records = self.elements(id)?;
        let mut foreign = Vec::with_capacity(records.len());
        for record in &records {
            let is_foreign = !self.is_own(*record)?;
            foreign.push(is_foreign);
            if !is_foreign {
                self.hide_mark(*record);
            }
        }
        if foreign.contains(&true) {
            self.take_out_of(&records, &foreign);
        }
        Some(())
    }

    /// Takes those elements out of a list that `goes` names.
    fn take_out_of(&mut self, elements: &[Id], goes: &[bool]) {
        let spans = elements.iter().filter_map(|element| Some(self.tree.node(*element)?.at.clone()));
        take_out(&mut self.edits, spans.collect(), goes);
    }

    /// Takes members out of an object.
    fn take_out_members(&mut self, object: Id, is_out: impl Fn(&Self, Id) -> bool) {
        let members: Vec<Id> = self.tree.children(object).collect();
        let goes: Vec<bool> = members.iter().map(|member| is_out(self, *member)).collect();
        let spans = members.iter().filter_map(|member| {
            let node = self.tree.node(*member)?;
            Some(node.name.start..node.at.end)
        });
        take_out(&mut self.edits, spans.collect(), &goes);
    }

    fn record_at(&mut self, steps: &'static [Step]) -> Option<()> {
        let mut id = ROOT;
        for step in steps {
            let Step::Member(name) = step else { return None };
            match self.tree.member(id, name) {
                Some(member) => id = member,
                None => return Some(()),
            }
        }
        if self.kind(id)? == Kind::Null {
            return Some(());
        }
        if self.is_own(id)? {
            self.hide_mark(id);
        }
        Some(())
    }

    /// Whether a record is the tenant's; counts it. None: it is no record.
    fn is_own(&mut self, record: Id) -> Option<bool> {
        if self.kind(record)? != Kind::Object {
            return None;
        }
        Some(self.count(self.owner(record)))
    }

    /// Counts a record by its owner; true if that is the tenant.
    fn count(&mut self, owner: Owner) -> bool {
        let owner = match owner {
            Owner::Own => {
                self.results += 1;
                return true;
            }
            Owner::Other(owner) if self.removed.len() < OWNERS_MAX || self.removed.contains_key(&owner) => owner,
            Owner::Other(_) => OTHERS.to_owned(),
            Owner::Unmarked => UNMARKED.to_owned(),
        };
        *self.removed.entry(owner).or_default() += 1;
        false
    }

    /// Whose a record is, by its mark.
    fn owner(&self, record: Id) -> Owner {
        let guard = &self.call.guard;
        let mark = match (guard.store, guard.by) {
            (Store::Qdrant, By::Filter) => {
                self.tree.member(record, "payload").and_then(|payload| self.tree.member(payload, &guard.field))
            }
            (Store::Milvus, By::Filter) if self.is_count(record) => return Owner::Own,
            (Store::Milvus, By::Filter) => self.tree.member(record, &guard.field),
            (Store::Weaviate, _) => self.tree.member(record, "tenant"),
            // The collection or partition is the tenant's own.
            _ => return Owner::Own,
        };
        self.owner_by(mark)
    }

    /// Whether a row of Milvus is the number of the rows that the filter found.
    fn is_count(&self, row: Id) -> bool {
        let mut members = self.tree.children(row);
        let is_alone =
            members.next().is_some_and(|member| self.tree.is_named(member, COUNT)) && members.next().is_none();
        is_alone && self.shown() == Shown::Count
    }

    /// What the search that is being answered has asked to be shown.
    fn shown(&self) -> Shown {
        self.call.shown.get(self.search).or(self.call.shown.last()).copied().unwrap_or(Shown::All)
    }

    fn owner_by(&self, mark: Option<Id>) -> Owner {
        match mark.and_then(|mark| self.tree.text(mark)) {
            Some(owner) if *owner == *self.call.tenant => Owner::Own,
            Some(owner) => Owner::Other(owner.into_owned()),
            None => Owner::Unmarked,
        }
    }

    /// Takes the mark out of a record of which the client did not ask to see it.
    fn hide_mark(&mut self, record: Id) {
        let shown = self.shown();
        let guard = &self.call.guard;
        if shown == Shown::All || guard.by != By::Filter {
            return;
        }
        let holder = if guard.store == Store::Qdrant { self.tree.member(record, "payload") } else { Some(record) };
        let Some(holder) = holder else { return };
        if shown == Shown::Nothing && guard.store == Store::Qdrant {
            if let Some(node) = self.tree.node(holder) {
                self.edits.replace(node.at.clone(), "null");
            }
            return;
        }
        self.take_out_members(holder, |check, member| check.tree.is_named(member, &check.call.guard.field));
    }

    /// Shows the tenant's own names, as it knows them, and no others.
    fn names(&mut self, id: Id, steps: &'static [Step]) -> Option<()> {
        match steps {
            [Step::Member(name), rest @ ..] => match self.tree.member(id, name) {
                Some(member) => self.names(member, rest),
                None => Some(()),
            },
            _ => {
                let elements = self.elements(id)?;
                let mut foreign = Vec::with_capacity(elements.len());
                for element in &elements {
                    foreign.push(!self.own_name(*element)?);
                }
                self.take_out_of(&elements, &foreign);
                if foreign.contains(&true) {
                    // Numbers and tokens of a list with others' names in it speak of theirs.
                    let told = ["total_count", "totalCount", "pagination"];
                    self.take_out_members(ROOT, |check, member| {
                        told.iter().any(|name| check.tree.is_named(member, name))
                    });
                }
                Some(())
            }
        }
    }

    /// Whether an entry of a list of names is the tenant's; then its name is the tenant's own of it.
    fn own_name(&mut self, element: Id) -> Option<bool> {
        let name = match self.kind(element)? {
            Kind::String => element,
            _ => self.tree.member(element, "name")?,
        };
        let text = self.tree.text(name)?;
        let Some(own) = names::unmapped(&self.call.tenant, &text) else { return Some(false) };
        let own = quoted(own);
        let at = self.tree.node(name)?.at.clone();
        self.edits.replace(at, own);
        Some(true)
    }

    /// The part of the collection that the answer says it is from is the tenant's.
    fn of_namespace(&mut self) -> Option<()> {
        for list in ["matches", "vectors"] {
            let found = self.tree.member(ROOT, list).and_then(|list| self.tree.node(list));
            self.results += found.map_or(0, |node| node.len as u64);
        }
        let namespace = self.tree.member(ROOT, "namespace")?;
        let text = self.tree.text(namespace)?;
        let Some(own) = names::unmapped(&self.call.tenant, &text) else {
            let results = std::mem::take(&mut self.results).max(1);
            self.removed.insert(UNMARKED.to_owned(), results);
            return None;
        };
        let own = quoted(own);
        let at = self.tree.node(namespace)?.at.clone();
        self.edits.replace(at, own);
        Some(())
    }

    fn kind(&self, id: Id) -> Option<Kind> {
        self.tree.kind(id)
    }
}
