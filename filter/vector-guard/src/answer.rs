//! Checks answers: records of other tenants are taken out, names of others are not shown, and the mark goes where the client did
//! not ask for it.
mod beside;
mod columns;
mod take_out;

use crate::edit::{Edits, quoted};
use crate::rule::{Answer, Operation, Step};
use crate::{By, Call, Guard, Removed, Shown, Store, names};
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
pub(crate) fn holds(guard: &Guard, operation: &Operation) -> bool {
    match operation.answer {
        Answer::Plain => false,
        Answer::Collections => guard.seals_collections(),
        _ => true,
    }
}

/// Checks an answer.
pub(crate) fn check(call: &Call, status: u16, bytes: &[u8]) -> Checked {
    let is_empty = bytes.iter().all(u8::is_ascii_whitespace);
    if status == 404 && call.hides_absence() {
        // What the store says of a missing record would tell it from another tenant's.
        let verdict = Verdict::Changed(not_found(call.guard.store));
        return Checked { verdict, ..Checked::default() };
    }
    // An error of the store holds no record.
    if status >= 400 || is_empty || !call.holds_answer() {
        return Checked { verdict: Verdict::Same, ..Checked::default() };
    }
    // A status that the gateway does not tell may be any, and with it a record may be missing.
    let is_success = (200..300).contains(&status) || (status == 0 && !call.hides_absence());
    if !is_success {
        return Checked::default();
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
        Answer::Collections => check.collections(),
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
        Store::Qdrant => br#"{"status":{"error":"Not found: no such point or collection"},"time":0.0}"#.to_vec(),
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
                Kind::Object => {
                    self.take_out_beside(id, &[name]);
                    match self.tree.member(id, name) {
                        Some(member) => self.records(member, rest),
                        // Nothing was found, or the store says why in another member.
                        None => Some(()),
                    }
                }
                Kind::Null => Some(()),
                _ => None,
            },
            [Step::Each] => self.list(id),
            [Step::EachSearch, rest @ ..] => {
                for element in self.elements(id)? {
                    self.records(element, rest)?;
                    self.search += 1;
                }
                Some(())
            }
            [Step::Each, rest @ ..] => self.groups(id, rest),
            [] => None,
        }
    }

    /// Checks groups of records. One without a record of the tenant's goes whole: its id is a value of the records that went.
    fn groups(&mut self, id: Id, steps: &'static [Step]) -> Option<()> {
        let groups = self.elements(id)?;
        let mut goes = Vec::with_capacity(groups.len());
        for group in &groups {
            let (edits, results) = (self.edits.len(), self.results);
            self.records(*group, steps)?;
            let is_foreign = self.call.guard.by == By::Filter && self.results == results;
            if is_foreign {
                self.edits.truncate(edits);
            }
            goes.push(is_foreign);
        }
        self.take_out(&groups, &goes);
        Some(())
    }

    /// Takes those of the elements out of their list that `goes` names.
    fn take_out(&mut self, elements: &[Id], goes: &[bool]) {
        if goes.contains(&true) {
            let spans = elements.iter().filter_map(|element| Some(self.tree.node(*element)?.at.clone()));
            take_out(&mut self.edits, spans.collect(), goes);
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
        self.take_out(&records, &foreign);
        Some(())
    }

    fn record_at(&mut self, steps: &'static [Step]) -> Option<()> {
        let mut id = ROOT;
        for step in steps {
            let Step::Member(name) = step else { return None };
            self.take_out_beside(id, &[name]);
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
        if self.shown() == Shown::Count {
            return if self.is_count(record) { Owner::Own } else { Owner::Unmarked };
        }
        let guard = &self.call.guard;
        let mark = match (guard.store, guard.by) {
            (Store::Qdrant, By::Filter) => {
                self.tree.member(record, "payload").and_then(|payload| self.tree.member(payload, &guard.field))
            }
            (Store::Milvus, By::Filter) => self.tree.member(record, &guard.field),
            (Store::Weaviate, _) => self.tree.member(record, "tenant"),
            // The collection or partition is the tenant's own.
            _ => return Owner::Own,
        };
        self.owner_by(mark)
    }

    fn owner_by(&self, mark: Option<Id>) -> Owner {
        match mark.and_then(|mark| self.tree.text(mark)) {
            Some(owner) if *owner == *self.call.tenant => Owner::Own,
            Some(owner) => Owner::Other(owner.into_owned()),
            None => Owner::Unmarked,
        }
    }

    /// How much of its records the search that is being answered shows.
    fn shown(&self) -> Shown {
        self.call.shown.get(self.search).or(self.call.shown.last()).copied().unwrap_or(Shown::All)
    }

    /// Whether an entry is the number of rows that the filter found, and nothing else.
    fn is_count(&self, record: Id) -> bool {
        let is_number = |member| self.tree.is_named(member, "count(*)") && self.kind(member) == Some(Kind::Number);
        self.tree.node(record).is_some_and(|node| node.len == 1) && self.tree.children(record).all(is_number)
    }

    /// Takes the mark out of a record of which the client did not ask to see it.
    fn hide_mark(&mut self, record: Id) {
        let (shown, guard) = (self.shown(), &self.call.guard);
        if matches!(shown, Shown::All | Shown::Count) || guard.by != By::Filter {
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
        let members: Vec<Id> = self.tree.children(holder).collect();
        let is_mark: Vec<bool> = members.iter().map(|member| self.tree.is_named(*member, &guard.field)).collect();
        self.take_out_members(&members, &is_mark);
    }

    /// Shows the tenant's own names, as it knows them, and no others.
    fn names(&mut self, id: Id, steps: &'static [Step]) -> Option<()> {
        match steps {
            [Step::Member(name), rest @ ..] => {
                let Some(member) = self.tree.member(id, name) else {
                    self.take_out_beside(id, &[]);
                    return Some(());
                };
                if self.names_are_own(member, rest) {
                    self.take_out_beside(id, &[name]);
                } else {
                    // The store did not look for the tenant's alone, so its count and its page are everybody's.
                    self.take_out_all_but(id, name);
                }
                self.names(member, rest)
            }
            _ => {
                let elements = self.elements(id)?;
                let mut foreign = Vec::with_capacity(elements.len());
                for element in &elements {
                    foreign.push(!self.own_name(*element)?);
                }
                self.take_out(&elements, &foreign);
                Some(())
            }
        }
    }

    /// Whether a list of Pinecone's holds names of the tenant's alone. Other stores say nothing beside their lists.
    fn names_are_own(&self, list: Id, steps: &[Step]) -> bool {
        if self.call.guard.store != Store::Pinecone || !matches!(steps, [Step::Each]) {
            return true;
        }
        let is_own = |element| {
            let name = self.tree.member(element, "name").and_then(|name| self.tree.text(name));
            name.is_some_and(|name| names::unmapped(&self.call.tenant, &name).is_some())
        };
        self.tree.children(list).all(is_own) && self.tree.children(list).next().is_some()
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

    /// Seals the ids of the tenant's collections.
    fn collections(&mut self) -> Option<()> {
        match self.kind(ROOT)? {
            Kind::Array => self.elements(ROOT)?.into_iter().try_for_each(|element| self.collection(element)),
            _ => self.collection(ROOT),
        }
    }

    fn collection(&mut self, object: Id) -> Option<()> {
        let id = self.tree.member(object, "id")?;
        let text = self.tree.text(id)?;
        let ids = self.call.guard.collection_ids.as_ref()?;
        let sealed = ids.seal(&self.call.tenant, &text)?;
        let at = self.tree.node(id)?.at.clone();
        self.edits.replace(at, quoted(&sealed));
        Some(())
    }

    /// The part of the collection that the answer says it is from is the tenant's.
    fn of_namespace(&mut self) -> Option<()> {
        self.take_out_beside(ROOT, &["matches", "vectors", "namespace"]);
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
