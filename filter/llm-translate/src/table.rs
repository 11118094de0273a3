//! What becomes of each field: the tables that the translation obeys and the documentation is written from.
pub(crate) mod anthropic;
mod clouds;
pub(crate) mod openai;
mod servers;

pub(crate) use clouds::{HEADER, betas_of};
pub(crate) use servers::rules_of;

use weir_llm_usage::json::tree::{Id, Kind, Tree};

use crate::unfit::Unfit;

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its value stays as it is, perhaps under another name.
    Carried,
    /// It is written in another way: how.
    Changed(&'static str),
    /// It is left out: why this makes no difference.
    Dropped(&'static str),
    /// It makes the target unfit: why.
    Unfit(&'static str),
}

/// Which values have this fate. `null` counts as absent everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    /// All of them.
    Any,
    /// These, as JSON without white space; another makes the target unfit: why.
    Of(&'static [&'static str], &'static str),
    /// All but those named; the text says which, and the code that translates the field checks them.
    Except(&'static str),
}

/// A field and its fate.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What becomes of it.
    pub fate: Fate,
    /// For which of its values.
    pub only: Only,
}

/// The fields of one kind of object.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// The object's place.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

/// All tables: a heading and the sections below it.
#[must_use]
pub fn tables() -> [(&'static str, &'static [&'static Section]); 7] {
    [
        ("From Chat Completions to Messages", openai::SECTIONS),
        ("From Messages to Chat Completions", anthropic::SECTIONS),
        ("From Messages to Vertex AI", clouds::VERTEX_SECTIONS),
        ("From Messages to Bedrock", clouds::BEDROCK_SECTIONS),
        ("From Chat Completions to vLLM", servers::VLLM_SECTIONS),
        ("From Chat Completions to Mistral", servers::MISTRAL_SECTIONS),
        ("From Chat Completions to Ollama", servers::OLLAMA_SECTIONS),
    ]
}

const fn carried(name: &'static str) -> Field {
    Field { name, fate: Fate::Carried, only: Only::Any }
}

const fn changed(name: &'static str, how: &'static str) -> Field {
    Field { name, fate: Fate::Changed(how), only: Only::Any }
}

const fn dropped(name: &'static str, why: &'static str) -> Field {
    Field { name, fate: Fate::Dropped(why), only: Only::Any }
}

const fn unfit(name: &'static str, why: &'static str) -> Field {
    Field { name, fate: Fate::Unfit(why), only: Only::Any }
}

impl Field {
    const fn of(self, values: &'static [&'static str], otherwise: &'static str) -> Field {
        Field { only: Only::Of(values, otherwise), ..self }
    }

    const fn except(self, which: &'static str) -> Field {
        Field { only: Only::Except(which), ..self }
    }
}

impl Section {
    /// The field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Checks an object: each of its members must be in the table, and fit.
    pub(crate) fn check(&self, tree: &Tree<'_>, object: Id) -> Result<(), Unfit> {
        if tree.kind(object) != Some(Kind::Object) {
            return Err(Unfit::malformed(self.name, "it must be an object"));
        }
        for member in tree.children(object).filter(|member| tree.kind(*member) != Some(Kind::Null)) {
            let name = tree.name(member);
            let place = || format!("{}.{name}", self.name);
            let field = self.field(&name).ok_or_else(|| Unfit::unknown(place()))?;
            field.check(tree, member).map_err(|why| Unfit::no_counterpart(place(), why))?;
        }
        Ok(())
    }
}

impl Field {
    /// Checks a value that is not null; an error says why the target is unfit.
    pub(crate) fn check(&self, tree: &Tree<'_>, value: Id) -> Result<(), &'static str> {
        match (self.fate, self.only) {
            (Fate::Unfit(why), _) => Err(why),
            (_, Only::Of(values, otherwise)) if !values.iter().any(|allowed| is_json(tree.raw(value), allowed)) => {
                Err(otherwise)
            }
            _ => Ok(()),
        }
    }
}

/// Whether `raw` is the value `json`, which has no white space. Numbers are the same if they have the same value.
fn is_json(raw: &[u8], json: &str) -> bool {
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<f64>().ok();
    match number(json.as_bytes()) {
        Some(wanted) => number(raw) == Some(wanted),
        None => raw.iter().filter(|byte| !byte.is_ascii_whitespace()).eq(json.as_bytes()),
    }
}

/// A member that is there and not null.
pub(crate) fn member(tree: &Tree<'_>, object: Id, name: &str) -> Option<Id> {
    tree.member(object, name).filter(|value| tree.kind(*value) != Some(Kind::Null))
}

/// The elements of a list, none of which is a number.
pub(crate) fn elements(tree: &Tree<'_>, list: Id, place: &'static str) -> Result<Vec<Id>, Unfit> {
    if tree.kind(list) != Some(Kind::Array) || tree.has_numbers(list) {
        return Err(Unfit::malformed(place, "it must be a list"));
    }
    Ok(tree.children(list).collect())
}
