//! Finds the operation that a request names, and maps the names in its path and query.
use crate::rule::{Operation, Parameter, Segment};
use crate::{By, Guard, Refused, RequestHead, names, stores};

/// The segments of a path below the guard's root, without escapes.
pub(crate) type Segments = Vec<String>;

/// The operation of a request.
pub(crate) fn find(guard: &Guard, head: &RequestHead<'_>) -> Result<(&'static Operation, Segments), Refused> {
    let path = std::str::from_utf8(head.path).map_err(|_| Refused::Operation)?;
    let below = path.strip_prefix(&*guard.root).and_then(|rest| rest.strip_prefix('/')).ok_or(Refused::Operation)?;
    let segments: Segments = below.split('/').map(segment).collect::<Option<_>>().ok_or(Refused::Operation)?;
    let is_it = |operation: &&Operation| {
        operation.path.len() == segments.len()
            && operation.method.as_bytes() == head.method
            && operation.path.iter().zip(&segments).all(|(known, found)| fits(*known, found))
    };
    let found = stores::operations(guard.store).iter().find(is_it);
    let offered = found.filter(|operation| operation.offered.contains(&guard.by)).ok_or(Refused::Operation)?;
    Ok((offered, segments))
}

/// A segment without escapes. Names are plain, so that every server reads the same: an escape may only stand for a character that
/// a name may have, such as a colon.
fn segment(raw: &str) -> Option<String> {
    let mut plain = String::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            byte => byte,
        };
        let is_plain = byte.is_ascii_alphanumeric() || b"._-:=@|+~".contains(&byte);
        plain.push(char::from(Some(byte).filter(|_| is_plain)?));
    }
    (!matches!(&*plain, "." | "..")).then_some(plain)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn fits(known: Segment, found: &str) -> bool {
    match known {
        Segment::Is(name) => name == found,
        Segment::Namespace => true,
        Segment::Collection | Segment::CollectionId | Segment::Any => !found.is_empty(),
    }
}

/// Path and query with the tenant's names, and the collection as the client names it. None: the client's own go on.
pub(crate) fn rewrite(
    guard: &Guard,
    tenant: &str,
    operation: &'static Operation,
    segments: &Segments,
    head: &RequestHead<'_>,
) -> Result<(Option<String>, String), Refused> {
    let mut path = guard.root.to_string();
    let mut collection = String::new();
    for (known, found) in operation.path.iter().zip(segments) {
        path.push('/');
        match known {
            Segment::Collection if guard.by == By::Collection => {
                path.push_str(&names::mapped(tenant, found).ok_or(Refused::Name)?);
                collection.clone_from(found);
            }
            Segment::CollectionId if guard.seals_collections() => {
                let ids = guard.collection_ids.as_ref().ok_or(Refused::Collection)?;
                path.push_str(&ids.open(tenant, found).ok_or(Refused::Collection)?);
                collection.clone_from(found);
            }
            Segment::Collection | Segment::CollectionId => {
                path.push_str(found);
                collection.clone_from(found);
            }
            Segment::Namespace if guard.by == By::Namespace => path.push_str(&part(guard, tenant, found)?),
            _ => path.push_str(found),
        }
    }
    let query = query(guard, tenant, operation, head.query)?;
    if !query.is_empty() {
        path.push('?');
        path.push_str(&query);
    }
    let sent = match head.query {
        Some(query) => [head.path, b"?", query].concat(),
        None => head.path.to_vec(),
    };
    Ok(((path.as_bytes() != sent).then_some(path), collection))
}

fn part(guard: &Guard, tenant: &str, name: &str) -> Result<String, Refused> {
    names::part(guard, tenant, name).ok_or(Refused::Name)
}

/// The query, with the tenant's names in the place of the client's.
fn query(guard: &Guard, tenant: &str, operation: &Operation, query: Option<&[u8]>) -> Result<String, Refused> {
    let text = std::str::from_utf8(query.unwrap_or_default()).map_err(|_| Refused::Query)?;
    // Some servers part parameters there, too.
    if text.contains(';') {
        return Err(Refused::Query);
    }
    let mut pairs: Vec<String> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let known = operation.query.iter().find(|(known, _)| *known == name);
        let (known, parameter) = known.ok_or(Refused::Query)?;
        // Ids are a list; of everything else servers take one, and not all the same one.
        if seen.contains(known) && *known != "ids" {
            return Err(Refused::Query);
        }
        seen.push(known);
        pairs.push(match parameter {
            Parameter::Any => pair.to_owned(),
            Parameter::Tenant => format!("{name}={tenant}"),
            Parameter::Namespace => {
                let value = segment(value).filter(|_| guard.by == By::Namespace).ok_or(Refused::Query)?;
                format!("{name}={}", part(guard, tenant, &value)?)
            }
        });
    }
    for (name, parameter) in operation.query.iter().filter(|(name, _)| !seen.contains(name)) {
        match parameter {
            Parameter::Any => {}
            Parameter::Tenant => pairs.push(format!("{name}={tenant}")),
            Parameter::Namespace => pairs.push(format!("{name}={}", part(guard, tenant, "")?)),
        }
    }
    Ok(pairs.join("&"))
}
