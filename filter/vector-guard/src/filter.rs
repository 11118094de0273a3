//! Filters: the tenant's condition in each store's language, and a client's filter with it.
use crate::edit::{Edits, quoted};
use crate::{Guard, Refused, Store, expression};
use weir_llm_usage::json::tree::{Id, Kind, Tree};

/// A filter that finds the tenant's records and no others.
pub(crate) fn alone(guard: &Guard, tenant: &str) -> String {
    match guard.store {
        Store::Chroma => condition(guard, tenant),
        Store::Milvus => quoted(&condition(guard, tenant)),
        _ => ["{\"must\":[", &condition(guard, tenant), "]}"].concat(),
    }
}

/// That a record is the tenant's: an object, or on Milvus a part of an expression.
fn condition(guard: &Guard, tenant: &str) -> String {
    let (field, tenant) = (&*guard.field, quoted(tenant));
    match guard.store {
        Store::Chroma => ["{\"", field, "\":{\"$eq\":", &tenant, "}}"].concat(),
        Store::Milvus => [field, " == ", &tenant].concat(),
        _ => ["{\"key\":\"", field, "\",\"match\":{\"value\":", &tenant, "}}"].concat(),
    }
}

/// A filter that finds the tenant's records among those with these ids, a list as JSON.
pub(crate) fn with_ids(guard: &Guard, tenant: &str) -> (String, String) {
    ("\"filter\":{\"must\":[{\"has_id\":".to_owned(), ["},", &condition(guard, tenant), "]}"].concat())
}

/// Wraps the filter at `id`, so that it finds, of what it found, the tenant's records alone.
pub(crate) fn wrap(guard: &Guard, tenant: &str, tree: &Tree<'_>, id: Id, edits: &mut Edits) -> Result<(), Refused> {
    let node = tree.node(id).ok_or(Refused::Filter)?;
    let fits = match guard.store {
        Store::Milvus => Kind::String,
        _ => Kind::Object,
    };
    if node.kind != fits && node.kind != Kind::Null {
        return Err(Refused::Filter);
    }
    if tree.is_nothing(id) || tree.text(id).is_some_and(|text| text.trim().is_empty()) {
        edits.replace(node.at.clone(), alone(guard, tenant));
        return Ok(());
    }
    let condition = condition(guard, tenant);
    match guard.store {
        Store::Chroma => {
            edits.insert(node.at.start, "{\"$and\":[");
            edits.insert(node.at.end, [",", &condition, "]}"].concat());
        }
        Store::Milvus => {
            tree.text(id).filter(|text| expression::is_closed(text)).ok_or(Refused::Filter)?;
            let behind = quoted(&format!(") and {condition}"));
            let inner = behind.get(1..behind.len().saturating_sub(1)).unwrap_or_default().to_owned();
            edits.insert(node.at.start.saturating_add(1), "(");
            edits.insert(node.at.end.saturating_sub(1), inner);
        }
        _ => {
            edits.insert(node.at.start, "{\"must\":[");
            edits.insert(node.at.end, [",", &condition, "]}"].concat());
        }
    }
    Ok(())
}
