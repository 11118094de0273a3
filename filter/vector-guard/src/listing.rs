//! The tables as documentation shows them.
use crate::rule::{Kind, Operation, Parameter, Segment};
use crate::{By, Store, stores};

/// An operation that is offered to tenants.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name in metrics and audits.
    pub name: &'static str,
    /// Its method and path, names in braces.
    pub request: String,
    /// The query parameters that it takes.
    pub query: Vec<String>,
    /// What it asks of the store; empty for neither a read nor a write.
    pub kind: &'static str,
    /// In which ways of keeping tenants apart it is offered.
    pub offered: &'static [By],
}

/// The operations of a store.
pub fn listed(store: Store) -> impl Iterator<Item = Listed> {
    stores::operations(store).iter().map(|operation| Listed {
        name: operation.name,
        request: request(operation),
        query: operation.query.iter().map(parameter).collect(),
        kind: match operation.kind {
            Kind::Search => "search, audited",
            Kind::Read => "read",
            Kind::Write => "write",
            Kind::Free => "",
        },
        offered: operation.offered,
    })
}

fn request(operation: &Operation) -> String {
    let mut request = format!("{} ", operation.method);
    for segment in operation.path {
        request.push('/');
        request.push_str(match *segment {
            Segment::Is(name) => name,
            Segment::Collection => "{collection}",
            Segment::CollectionId => "{collection id}",
            Segment::Namespace => "{namespace}",
            Segment::Any => "{name}",
        });
    }
    request
}

fn parameter((name, parameter): &(&str, Parameter)) -> String {
    match parameter {
        Parameter::Any => format!("`{name}`"),
        Parameter::Tenant | Parameter::Namespace => format!("`{name}` (mapped)"),
    }
}
