//! `weir tenants addresses`: where a tenant is told of its own budgets.
use anyhow::bail;
use serde_json::json as value;
use weir_tenants::store::addresses::AddressView;

use super::{Keeper, by, keeper, path};
use crate::cli::args::tenants::{AddressAct, AddressesCommand};
use crate::cli::render::{json, say, table};
use crate::cli::{EXIT_DONE, access};
use crate::config::Config;

/// Why a code cannot be sent from here.
const NEEDS_SERVER: &str = "the server sends the code: start `weir serve`";

pub(super) fn run(config: &Config, command: AddressesCommand, as_json: bool) -> anyhow::Result<u8> {
    match command {
        AddressesCommand::List { tenant } => list(config, tenant.as_str(), as_json),
        AddressesCommand::Act(act) => perform(config, act, as_json),
    }
}

fn perform(config: &Config, act: AddressAct, as_json: bool) -> anyhow::Result<u8> {
    let of = |tenant: &str| format!("{}/alert-addresses", path(tenant));
    let view: AddressView = access::block_on(async {
        match act {
            AddressAct::Add { tenant, email } => match keeper(config)? {
                Keeper::Server(server) => server.post(&of(tenant.as_str()), &value!({"email": email})).await,
                Keeper::Here(..) => bail!(NEEDS_SERVER),
            },
            AddressAct::Prove { tenant, number, code } => match keeper(config)? {
                Keeper::Server(server) => {
                    server.post(&format!("{}/{number}/prove", of(tenant.as_str())), &value!({"code": code})).await
                }
                Keeper::Here(store, _lock) => Ok(store.prove_address(tenant.as_str(), number, &code, &by())?),
            },
            AddressAct::Remove { tenant, number } => match keeper(config)? {
                Keeper::Server(server) => server.delete(&format!("{}/{number}", of(tenant.as_str()))).await,
                Keeper::Here(store, _lock) => Ok(store.remove_address(tenant.as_str(), number, &by())?),
            },
        }
    })?;
    if as_json {
        json(&view)?;
    } else {
        say!("{}  {}: {}", view.id, view.email, state(&view));
    }
    Ok(EXIT_DONE)
}

fn list(config: &Config, tenant: &str, as_json: bool) -> anyhow::Result<u8> {
    let addresses: Vec<AddressView> = access::block_on(async {
        match keeper(config)? {
            Keeper::Server(server) => server.get(&format!("{}/alert-addresses", path(tenant)), &()).await,
            Keeper::Here(store, _lock) => Ok(store.addresses(tenant)?),
        }
    })?;
    if as_json {
        json(&addresses)?;
        return Ok(EXIT_DONE);
    }
    let mut rows = table(&["#number", "address", "state", "added", "by"]);
    for address in addresses {
        let state = state(&address).to_owned();
        rows.add_row([address.id.to_string(), address.email, state, address.added_at.to_string(), address.added_by]);
    }
    say!("{rows}");
    Ok(EXIT_DONE)
}

fn state(view: &AddressView) -> &'static str {
    if view.proven { "is told" } else { "waits for its code" }
}
