//! A command in the directory of a node that does not run: while it asks, it stands in the table of nodes, so that the owner knows it.
use weir_contract::directory::KeyHash;
use weir_database::{Error, Place};

use super::tables::{NodeRow, Tables};
use crate::config::tokens::{NoRandomness, random_token};

/// How much of a random name is enough to tell commands apart, in bytes.
const NAME_BYTES: usize = 8;

/// What a command says to the owner.
#[derive(Debug)]
pub(crate) struct Visit {
    tables: Tables,
    /// The node that owns.
    pub(crate) owner: NodeRow,
    /// The name under which the owner knows the command.
    pub(crate) name: String,
    /// With this it proves that it has written itself into the table.
    pub(crate) proof: String,
    /// The token of commands.
    pub(crate) token: String,
}

/// Why a command cannot ask the owner.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VisitError {
    /// The table of nodes cannot be read or written.
    #[error("the table of nodes: {0}")]
    Tables(#[from] Error),
    /// The operating system provides no random bytes.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// The node that owns the ledger at `ledger`; None if no node does.
pub(crate) fn owner_of(ledger: &Place) -> Result<Option<NodeRow>, Error> {
    living(&Tables::open(ledger)?)
}

fn living(tables: &Tables) -> Result<Option<NodeRow>, Error> {
    let view = tables.view()?;
    Ok(view.owner().filter(|owner| view.writer.is_some() && !owner.is_missing()).cloned())
}

impl Visit {
    /// Lets the owner know of a command of the node `node`; None if no node owns.
    pub(crate) fn begin(ledger: &Place, node: &str) -> Result<Option<Self>, VisitError> {
        let tables = Tables::open(ledger)?;
        let Some(owner) = living(&tables)? else { return Ok(None) };
        let (mut name, proof, token) = (random_token()?, random_token()?, random_token()?);
        name.truncate(NAME_BYTES);
        let name = format!("{node} ({name})");
        tables.visit(&name, &KeyHash::of(proof.as_bytes()), &KeyHash::of(token.as_bytes()))?;
        Ok(Some(Visit { tables, owner, name, proof, token }))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        // One that stays is dropped with others that are as old.
        let _ = self.tables.visited(&self.name);
    }
}
