//! Walks a body along its rule, and forces the tenant into it.
use crate::edit::{Edits, quoted};
use crate::rule::{Ensure, Rule, Shape};
use crate::{By, Guard, Refused, Shown, Store, filter, names};
use weir_llm_usage::json::tree::{Id, Kind, ROOT, Tree};

/// A walk over one body, and what it found.
#[derive(Debug)]
pub(crate) struct Walk<'w> {
    guard: &'w Guard,
    tenant: &'w str,
    tree: Tree<'w>,
    pub(crate) edits: Edits,
    /// What each search of the body asks to be shown.
    pub(crate) shown: Vec<Shown>,
    /// Records that were marked.
    pub(crate) marked: u64,
    /// Searches, of which a batch has several.
    pub(crate) asked: u64,
    /// The collection as the client names it.
    pub(crate) collection: String,
    /// Members put into each object so far, so that commas part them.
    inserted: Vec<Id>,
}

/// What an empty body is worth: only a rule that needs nothing takes one.
pub(crate) fn empty(rule: &Rule) -> Result<(), Refused> {
    match rule {
        Rule::Object(shape) if shape.ensure.is_empty() => Ok(()),
        Rule::Any => Ok(()),
        _ => Err(Refused::Body),
    }
}

impl<'w> Walk<'w> {
    pub(crate) fn new(guard: &'w Guard, tenant: &'w str, bytes: &'w [u8]) -> Result<Self, Refused> {
        let tree = Tree::read(bytes).map_err(|_| Refused::Body)?;
        Ok(Walk {
            guard,
            tenant,
            tree,
            edits: Edits::default(),
            shown: Vec::new(),
            marked: 0,
            asked: 0,
            collection: String::new(),
            inserted: Vec::new(),
        })
    }

    pub(crate) fn root(&mut self, rule: &'static Rule) -> Result<(), Refused> {
        self.value(ROOT, rule)
    }

    /// Whether records carry marks here, so that filters and payloads are changed.
    fn marks(&self) -> bool {
        self.guard.by == By::Filter || self.guard.store == Store::Chroma
    }

    fn value(&mut self, id: Id, rule: &'static Rule) -> Result<(), Refused> {
        let kind = self.tree.kind(id).ok_or(Refused::Body)?;
        match rule {
            Rule::Opaque | Rule::Any => Ok(()),
            Rule::Scalar if !matches!(kind, Kind::Object | Kind::Array) => Ok(()),
            Rule::Is(known) if kind == Kind::Null || self.tree.text(id).as_deref() == Some(*known) => Ok(()),
            Rule::Vector => self.vector(id),
            Rule::Object(shape) if kind == Kind::Object => self.object(id, shape),
            Rule::List(of) if kind == Kind::Array => self.list(id, of),
            Rule::OneOrList(of) if kind == Kind::Array => self.list(id, of),
            Rule::OneOrList(of) => self.value(id, of),
            Rule::Either(rules) => self.either(id, kind, rules),
            Rule::Filter if !self.marks() => Ok(()),
            Rule::Filter => filter::wrap(self.guard, self.tenant, &self.tree, id, &mut self.edits),
            Rule::PointIds if kind == Kind::Array => self.point_ids(id),
            Rule::Ids if kind == Kind::Array => self.ids(id),
            Rule::Ids if kind == Kind::Null => Ok(()),
            Rule::Payload => self.payload(id, kind),
            Rule::Row => self.row(id, kind),
            Rule::Keys => self.keys(id, kind),
            Rule::Payloads => self.payloads(id, kind),
            Rule::PayloadSelector => self.payload_selector(id, kind),
            Rule::PayloadKeys if kind == Kind::Array => self.payload_keys(id),
            Rule::Columns if kind == Kind::Array => self.columns(id),
            Rule::ColumnsOrCount if kind == Kind::Array => self.columns_or_count(id),
            Rule::Collection => self.collection(id),
            Rule::Namespace => self.namespace(id, kind),
            Rule::Tenant => self.own_name(id, kind),
            Rule::Partitions if kind == Kind::Array => self.partitions(id),
            _ => Err(Refused::Member),
        }
    }

    fn object(&mut self, id: Id, shape: &'static Shape) -> Result<(), Refused> {
        self.asked += u64::from(shape.ensure.iter().any(|ensure| ensure.is_of_searches()));
        let children: Vec<Id> = self.tree.children(id).collect();
        for child in children {
            let is_it = |(known, _): &&(&str, Rule)| self.tree.is_named(child, known);
            let (_, rule) = shape.members.iter().find(is_it).ok_or(Refused::Member)?;
            self.value(child, rule)?;
        }
        shape.ensure.iter().try_for_each(|ensure| self.ensure(id, *ensure))
    }

    fn list(&mut self, id: Id, of: &'static Rule) -> Result<(), Refused> {
        let takes_numbers = match of {
            Rule::Any | Rule::Scalar => true,
            Rule::Vector => self.owns_all(),
            _ => false,
        };
        if self.tree.has_numbers(id) && !takes_numbers {
            return Err(Refused::Member);
        }
        let children: Vec<Id> = self.tree.children(id).collect();
        children.into_iter().try_for_each(|child| self.value(child, of))
    }

    /// Takes the first rule whose type is the value's.
    fn either(&mut self, id: Id, kind: Kind, rules: &'static [Rule]) -> Result<(), Refused> {
        let fits = |rule: &&Rule| match rule {
            Rule::Object(shape) => {
                let knows = |child| shape.members.iter().any(|(known, _)| self.tree.is_named(child, known));
                kind == Kind::Object && self.tree.children(id).all(knows)
            }
            Rule::List(_) => kind == Kind::Array,
            Rule::Scalar => !matches!(kind, Kind::Object | Kind::Array),
            _ => true,
        };
        let rule = rules.iter().find(fits).ok_or(Refused::Member)?;
        self.value(id, rule)
    }

    /// A vector holds numbers, by name or not. A string or a bare number would be the id of a record: nobody knows whose, unless all are
    /// the tenant's.
    fn vector(&self, id: Id) -> Result<(), Refused> {
        match self.tree.kind(id) {
            Some(Kind::Array) => self.tree.children(id).try_for_each(|child| self.vector(child)),
            Some(Kind::Object) => {
                let known = ["indices", "values", "text", "image", "object", "model", "options"];
                let is_known = |child| known.iter().any(|name| self.tree.is_named(child, name));
                if self.tree.children(id).all(is_known) { Ok(()) } else { Err(Refused::Id) }
            }
            Some(Kind::Null) => Ok(()),
            Some(Kind::String | Kind::Number) if self.owns_all() => Ok(()),
            _ => Err(Refused::Id),
        }
    }

    /// Whether every record that a body can name is the tenant's: the collection is its own.
    fn owns_all(&self) -> bool {
        self.guard.by == By::Collection
    }

    fn ensure(&mut self, id: Id, ensure: Ensure) -> Result<(), Refused> {
        let is_there = |name: &str| self.tree.member(id, name).is_some();
        match ensure {
            Ensure::OneOf(names) => {
                let is_one = names.iter().filter(|name| is_there(name)).count() == 1;
                return if is_one { Ok(()) } else { Err(Refused::Member) };
            }
            Ensure::Present(name) => return if is_there(name) { Ok(()) } else { Err(Refused::Member) },
            _ => {}
        }
        let (name, text) = match ensure {
            Ensure::Filter(name) if self.marks() && !is_there(name) => (name, filter::alone(self.guard, self.tenant)),
            Ensure::Payload(name) if !is_there(name) => {
                self.marked += 1;
                (name, self.mark())
            }
            Ensure::Payloads(name, of) if !self.marks() || !is_there(name) => (name, self.marks_for(id, of)?),
            Ensure::PayloadSelector(name) if self.marks() && !is_there(name) => {
                self.shown.push(Shown::Nothing);
                (name, format!("[{}]", quoted(&self.guard.field)))
            }
            Ensure::AllShown(name) if !is_there(name) => {
                self.shown.push(Shown::All);
                return Ok(());
            }
            Ensure::Columns(name) if self.marks() && !is_there(name) => {
                self.shown.push(Shown::WithoutMark);
                (name, format!("[{}]", quoted(&self.guard.field)))
            }
            Ensure::Namespace(name) if self.guard.by == By::Namespace && !is_there(name) => {
                (name, quoted(&self.own_part("")?))
            }
            Ensure::Tenant(name) if !is_there(name) => (name, quoted(self.tenant)),
            Ensure::Partitions(name) if self.guard.by == By::Namespace && !is_there(name) => {
                (name, format!("[{}]", quoted(&self.own_part("")?)))
            }
            _ => return Ok(()),
        };
        if matches!(ensure, Ensure::Payload(_) | Ensure::Payloads(..)) && !self.marks() {
            return Ok(());
        }
        self.insert(id, name, &text);
        Ok(())
    }

    /// Puts a member into an object, before its first.
    fn insert(&mut self, id: Id, name: &str, text: &str) {
        let Some(node) = self.tree.node(id) else { return };
        let is_alone = node.len == 0 && !self.inserted.contains(&id);
        let comma = if is_alone { "" } else { "," };
        // Those that come later stand behind those before, so the first of an empty object has no comma.
        let text = match node.len {
            0 => format!("{comma}\"{name}\":{text}"),
            _ => format!("\"{name}\":{text},"),
        };
        let at = node.at.start.saturating_add(1);
        self.edits.insert(at, text);
        self.inserted.push(id);
    }

    fn replace(&mut self, id: Id, text: String) {
        if let Some(node) = self.tree.node(id) {
            self.edits.replace(node.at.clone(), text);
        }
    }

    /// A payload with nothing but the mark.
    fn mark(&self) -> String {
        format!("{{{}:{}}}", quoted(&self.guard.field), quoted(self.tenant))
    }

    /// As many marks as the list `of` has elements.
    fn marks_for(&mut self, id: Id, of: &str) -> Result<String, Refused> {
        let ids = self.tree.member(id, of).and_then(|ids| self.tree.node(ids)).ok_or(Refused::Member)?;
        let (kind, len) = (ids.kind, ids.len);
        if kind != Kind::Array {
            return Err(Refused::Member);
        }
        self.marked += len as u64;
        Ok(format!("[{}]", vec![self.mark(); len].join(",")))
    }

    fn payload(&mut self, id: Id, kind: Kind) -> Result<(), Refused> {
        self.marked += 1;
        match kind {
            _ if !self.marks() => Ok(()),
            Kind::Null => {
                let mark = self.mark();
                self.replace(id, mark);
                Ok(())
            }
            Kind::Object => {
                let (field, tenant) = (self.guard.field.clone(), quoted(self.tenant));
                match self.tree.member(id, &field) {
                    Some(known) => self.replace(known, tenant),
                    None => self.insert(id, &field, &tenant),
                }
                Ok(())
            }
            _ => Err(Refused::Member),
        }
    }

    fn row(&mut self, id: Id, kind: Kind) -> Result<(), Refused> {
        if !self.marks() {
            return self.payload(id, kind);
        }
        // Milvus reads the members of `$meta` as if they were the row's own.
        if self.tree.member(id, "$meta").is_some() {
            return Err(Refused::Mark);
        }
        let field = self.guard.primary_field.as_deref().ok_or(Refused::Operation)?;
        if let Some(key) = self.tree.member(id, field) {
            self.own_key(key)?;
        }
        self.payload(id, kind)
    }

    fn keys(&mut self, id: Id, kind: Kind) -> Result<(), Refused> {
        let is_text = |id: &Id| self.tree.kind(*id) == Some(Kind::String);
        match kind {
            Kind::Number => Ok(()),
            // The answer tells whose a row is; what the client calls a row is called so in the store.
            _ if !self.marks() || self.guard.primary_field.is_none() => Ok(()),
            Kind::String => self.own_key(id),
            Kind::Array => {
                let keys: Vec<Id> = self.tree.children(id).collect();
                if keys.iter().all(is_text) {
                    keys.into_iter().try_for_each(|key| self.own_key(key))
                } else {
                    Err(Refused::Id)
                }
            }
            _ => Err(Refused::Id),
        }
    }

    /// Puts the tenant's prefix before a key that lacks it. A number may be the key of another tenant's row.
    fn own_key(&mut self, key: Id) -> Result<(), Refused> {
        let text = self.tree.text(key).ok_or(Refused::Key)?;
        let prefix = names::prefix(self.tenant);
        if !text.starts_with(&prefix) {
            let start = self.tree.node(key).ok_or(Refused::Key)?.at.start;
            self.edits.insert(start.saturating_add(1), prefix);
        }
        Ok(())
    }

    fn payloads(&mut self, id: Id, kind: Kind) -> Result<(), Refused> {
        if !self.marks() {
            return Ok(());
        }
        let is_parent = |parent: &Id| self.tree.children(*parent).any(|child| child == id);
        let parent = (0..id).rev().find(is_parent).ok_or(Refused::Member)?;
        match kind {
            Kind::Array => {
                let len = |id: Option<Id>| id.and_then(|id| self.tree.node(id)).map(|node| node.len);
                // A record without a payload would go without a mark.
                if len(Some(id)) != len(self.tree.member(parent, "ids")) {
                    return Err(Refused::Member);
                }
                self.list(id, &Rule::Payload)
            }
            // Chroma's clients send null where nothing is said about any record.
            Kind::Null => {
                let text = self.marks_for(parent, "ids")?;
                self.replace(id, text);
                Ok(())
            }
            _ => Err(Refused::Member),
        }
    }

    /// Ids in the place of a filter: `"points":[1,2]` becomes `"filter":{"must":[{"has_id":[1,2]},…]}`.
    fn point_ids(&mut self, id: Id) -> Result<(), Refused> {
        if !self.marks() {
            return Ok(());
        }
        let Some(node) = self.tree.node(id) else { return Err(Refused::Member) };
        let (before, behind) = filter::with_ids(self.guard, self.tenant);
        self.edits.replace(node.name.start..node.at.start, before);
        self.edits.insert(node.at.end, behind);
        Ok(())
    }

    /// Every id gets the tenant's prefix, so that no two tenants name the same record.
    fn ids(&mut self, id: Id) -> Result<(), Refused> {
        if self.tree.has_numbers(id) {
            return Err(Refused::Id);
        }
        let prefix = names::prefix(self.tenant);
        let ids: Vec<Id> = self.tree.children(id).collect();
        for id in ids {
            let node = self.tree.node(id).filter(|node| node.kind == Kind::String).ok_or(Refused::Id)?;
            self.edits.insert(node.at.start.saturating_add(1), prefix.clone());
        }
        Ok(())
    }

    fn payload_selector(&mut self, id: Id, kind: Kind) -> Result<(), Refused> {
        if !self.marks() {
            return Ok(());
        }
        match kind {
            Kind::Bool(true) => self.shown.push(Shown::All),
            Kind::Bool(false) | Kind::Null => {
                self.shown.push(Shown::Nothing);
                self.replace(id, format!("[{}]", quoted(&self.guard.field)));
            }
            Kind::Array => return self.columns(id),
            Kind::Object => return self.payload_parts(id),
            Kind::String | Kind::Number => return Err(Refused::Member),
        }
        Ok(())
    }

    /// `{include: […]}` or `{exclude: […]}`.
    fn payload_parts(&mut self, id: Id) -> Result<(), Refused> {
        let parts: Vec<Id> = self.tree.children(id).collect();
        let [part] = parts[..] else { return Err(Refused::Member) };
        if self.tree.kind(part) != Some(Kind::Array) {
            return Err(Refused::Member);
        }
        match &*self.tree.name(part) {
            "include" => self.columns(part),
            "exclude" => {
                self.shown.push(Shown::All);
                self.payload_keys(part)
            }
            _ => Err(Refused::Member),
        }
    }

    /// No key is the mark, or a place within it, or anything but a plain path.
    fn payload_keys(&mut self, id: Id) -> Result<(), Refused> {
        if !self.marks() {
            return Ok(());
        }
        if self.tree.has_numbers(id) {
            return Err(Refused::Member);
        }
        for key in self.tree.children(id) {
            let text = self.tree.text(key).ok_or(Refused::Member)?;
            let first = text.split(['.', '[']).next().unwrap_or_default();
            if first == &*self.guard.field || first.is_empty() || text.contains(['"', '\\', '*']) {
                return Err(Refused::Mark);
            }
        }
        Ok(())
    }

    /// A list of the members to show, or `count(*)` alone: the filter counts one's own.
    fn columns_or_count(&mut self, id: Id) -> Result<(), Refused> {
        let columns: Vec<Id> = self.tree.children(id).collect();
        let is_count = |id: Id| self.tree.text(id).is_some_and(|text| text == "count(*)");
        if let [only] = columns[..]
            && self.marks()
            && !self.tree.has_numbers(id)
            && is_count(only)
        {
            self.shown.push(Shown::Count);
            return Ok(());
        }
        self.columns(id)
    }

    /// A list of the members to show gets the mark's.
    fn columns(&mut self, id: Id) -> Result<(), Refused> {
        if !self.marks() {
            return Ok(());
        }
        if self.tree.has_numbers(id) {
            return Err(Refused::Member);
        }
        let mut has_mark = false;
        for column in self.tree.children(id) {
            let text = self.tree.text(column).ok_or(Refused::Member)?;
            // Milvus's aggregates are no members, and tell nobody whose rows they are of.
            if self.guard.store == Store::Milvus && text.contains('(') {
                return Err(Refused::Member);
            }
            has_mark |= *text == *self.guard.field || text == "*";
        }
        if has_mark {
            self.shown.push(Shown::All);
            return Ok(());
        }
        let node = self.tree.node(id).ok_or(Refused::Member)?;
        let (end, is_empty) = (node.at.end.saturating_sub(1), node.len == 0);
        self.shown.push(if is_empty { Shown::Nothing } else { Shown::WithoutMark });
        let comma = if is_empty { "" } else { "," };
        self.edits.insert(end, format!("{comma}{}", quoted(&self.guard.field)));
        Ok(())
    }

    fn collection(&mut self, id: Id) -> Result<(), Refused> {
        let name = self.tree.text(id).ok_or(Refused::Name)?.into_owned();
        if self.guard.by == By::Collection {
            let mapped = names::mapped(self.tenant, &name).filter(|_| !name.is_empty()).ok_or(Refused::Name)?;
            self.replace(id, quoted(&mapped));
        }
        self.collection = name;
        Ok(())
    }

    fn namespace(&mut self, id: Id, kind: Kind) -> Result<(), Refused> {
        if self.guard.by != By::Namespace {
            return Ok(());
        }
        let name = match kind {
            Kind::Null => String::new(),
            _ => self.tree.text(id).ok_or(Refused::Name)?.into_owned(),
        };
        let mapped = quoted(&self.own_part(&name)?);
        self.replace(id, mapped);
        Ok(())
    }

    fn own_name(&mut self, id: Id, kind: Kind) -> Result<(), Refused> {
        if !matches!(kind, Kind::String | Kind::Null) {
            return Err(Refused::Name);
        }
        let own = quoted(self.tenant);
        self.replace(id, own);
        Ok(())
    }

    fn partitions(&mut self, id: Id) -> Result<(), Refused> {
        if self.guard.by != By::Namespace {
            return Ok(());
        }
        if self.tree.is_nothing(id) {
            let own = format!("[{}]", quoted(&self.own_part("")?));
            self.replace(id, own);
            return Ok(());
        }
        self.list(id, &Rule::Namespace)
    }

    fn own_part(&self, name: &str) -> Result<String, Refused> {
        names::part(self.guard, self.tenant, name).ok_or(Refused::Name)
    }
}
