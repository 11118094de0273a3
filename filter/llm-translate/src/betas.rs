//! The header `anthropic-beta`: names of features that a client of Messages asks for.
use crate::table::{Fate, HEADER, betas_of};
use crate::target::Server;
use crate::unfit::Unfit;

/// The features that a server is asked for, of those that a client asks for. `header`: its values, with commas. `more`: names that this
/// server knows beside those of the tables. A server that is no cloud reads the header itself, and gets all of them.
///
/// # Errors
/// If the server does not know one of them: it would refuse the request, or answer another one.
pub fn betas<'h>(server: Server, more: &[Box<str>], header: &'h str) -> Result<Vec<&'h str>, Unfit> {
    let names = header.split(',').map(str::trim).filter(|name| !name.is_empty());
    let Some(known) = betas_of(server) else { return Ok(names.collect()) };
    let mut asked: Vec<&str> = Vec::new();
    for name in names {
        match known.field(name).map(|field| field.fate) {
            Some(Fate::Dropped(_)) => {}
            None if !more.iter().any(|more| **more == *name) => {
                return Err(Unfit::no_counterpart(format!("{HEADER}.{name}"), "the cloud does not know this feature"));
            }
            _ if asked.contains(&name) => {}
            _ => asked.push(name),
        }
    }
    Ok(asked)
}
