//! `weir tenants`, and who answers for the database of tenants.
mod addresses;
mod provisioning;

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;
use weir_contract::Timestamp;
use weir_contract::placement::Placement;
use weir_contract::plans::percent_encoded;
use weir_settings::yaml;
use weir_tenants::TenantsFile;
use weir_tenants::store::change::{By, TenantPatch};
use weir_tenants::store::view::{HistoryPage, HistoryQuery, Standing, TenantView, TenantsPage, TenantsQuery};
use weir_tenants::store::{ImportView, TenantStore};

use super::access::{self, Client, clock, somebody_here};
use super::args::tenants::{TenantsCommand, history};
use super::render::{complain, json, say, table};
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::config::Config;
use crate::config::home::TenantsHome;
use crate::kept::Right;
use crate::store::{DataDir, StoreError};

/// Who answers for the database of tenants.
pub(super) enum Keeper {
    /// A running server, over HTTP.
    Server(Client),
    /// This process, which has the right to.
    Here(Box<TenantStore>, Right),
}

/// Finds out who answers.
pub(super) fn keeper(config: &Config) -> anyhow::Result<Keeper> {
    if config.tenants != TenantsHome::Database {
        bail!(
            "{}: tenants are kept in a file or not at all; `tenants_database: true` keeps them where commands change them",
            config.path.display()
        );
    }
    keeper_of_tokens(config)
}

/// Finds out who answers for tokens, which the database keeps wherever tenants are kept.
pub(super) fn keeper_of_tokens(config: &Config) -> anyhow::Result<Keeper> {
    let home = DataDir::of(config);
    if let Some(client) = Client::of_owner(config, &home)? {
        return Ok(Keeper::Server(client));
    }
    match home.take_right() {
        Ok(right) => Ok(Keeper::Here(Box::new(home.open_tenants(&right.fence, clock().now())?), right)),
        Err(StoreError::Locked(_)) => Ok(Keeper::Server(Client::of(&home)?)),
        Err(error) => Err(error.into()),
    }
}

/// Who changes something, for the history.
pub(super) fn by() -> By {
    By { who: somebody_here(), at: clock().now(), key: None }
}

/// The path of a tenant.
pub(super) fn path(tenant: &str) -> String {
    format!("/v1/tenants/{}", percent_encoded(tenant))
}

pub(super) fn run(config: &Config, command: TenantsCommand, as_json: bool) -> anyhow::Result<u8> {
    let shown = |view: TenantView| show(&view, as_json);
    match command {
        TenantsCommand::Create(args) => {
            let new = args.tenant();
            let create = async || match keeper(config)? {
                Keeper::Server(server) => server.post("/v1/tenants", &new).await,
                Keeper::Here(store, _lock) => Ok(store.create(&new, &by())?.answer),
            };
            shown(access::block_on(create())?)
        }
        TenantsCommand::Provision(args) => {
            let key = args.idempotency_key.clone();
            provisioning::provision(config, args.request(), key, as_json)
        }
        TenantsCommand::Deprovision { id, idempotency_key } => {
            provisioning::deprovision(config, id, idempotency_key, as_json)
        }
        TenantsCommand::Status { id, all } => provisioning::status(config, id.as_str(), all, as_json),
        TenantsCommand::Skip { id, step, why } => provisioning::skip(config, id.as_str(), &step, why, as_json),
        TenantsCommand::List(args) => list(config, args.query(), as_json),
        TenantsCommand::Show { id } => {
            let get = async || match keeper(config)? {
                Keeper::Server(server) => server.get(&path(id.as_str()), &()).await,
                Keeper::Here(store, _lock) => Ok(store.tenant(id.as_str(), clock().now())?),
            };
            shown(access::block_on(get())?)
        }
        TenantsCommand::Set(args) => {
            let (id, version) = (args.id.clone(), args.if_version);
            shown(change(config, id.as_str(), &args.patch(), version)?)
        }
        TenantsCommand::Suspend { id } => shown(stand(config, id.as_str(), Standing::Suspended)?),
        TenantsCommand::Resume { id } => shown(stand(config, id.as_str(), Standing::Active)?),
        TenantsCommand::Archive { id } => shown(stand(config, id.as_str(), Standing::Archived)?),
        TenantsCommand::History { id, limit } => tell(config, id.as_str(), &history(limit), as_json),
        TenantsCommand::Addresses(command) => addresses::run(config, command, as_json),
        TenantsCommand::Import { file, check } => import(config, &file, check, as_json),
        TenantsCommand::Export => export(config, as_json),
    }
}

fn change(config: &Config, id: &str, patch: &TenantPatch, version: Option<u64>) -> anyhow::Result<TenantView> {
    access::block_on(async {
        match keeper(config)? {
            Keeper::Server(server) => server.patch(&path(id), patch, version).await,
            Keeper::Here(store, _lock) => Ok(store.change(id, patch, version, &by())?.answer),
        }
    })
}

fn stand(config: &Config, id: &str, state: Standing) -> anyhow::Result<TenantView> {
    change(config, id, &TenantPatch { state: Some(state), ..TenantPatch::default() }, None)
}

fn list(config: &Config, mut query: TenantsQuery, as_json: bool) -> anyhow::Result<u8> {
    let mut tenants = Vec::new();
    access::block_on(async {
        let keeper = keeper(config)?;
        loop {
            let page: TenantsPage = match &keeper {
                Keeper::Server(server) => server.get("/v1/tenants", &query).await?,
                Keeper::Here(store, _lock) => store.tenants(&query, clock().now())?,
            };
            tenants.extend(page.tenants);
            query.cursor = page.next;
            if query.cursor.is_none() {
                return Ok(());
            }
        }
    })?;
    if as_json {
        json(&tenants)?;
        return Ok(EXIT_DONE);
    }
    let mut rows = table(&["tenant", "state", "plan", "#keys", "customer", "changed"]);
    for tenant in tenants {
        rows.add_row([
            tenant.id.to_string(),
            tenant.state.as_str().to_owned(),
            tenant.plan,
            tenant.keys.to_string(),
            tenant.stripe_customer.unwrap_or_default(),
            tenant.changed_at.to_string(),
        ]);
    }
    say!("{rows}");
    Ok(EXIT_DONE)
}

fn show(view: &TenantView, as_json: bool) -> anyhow::Result<u8> {
    view.warnings.iter().for_each(|warning| complain!("weir: {warning}"));
    if as_json {
        json(view)?;
        return Ok(EXIT_DONE);
    }
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    let of_placement = |read: fn(&Placement) -> Option<String>| view.placement.as_deref().and_then(read);
    let amounts = view.budgets.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(", ");
    let lines = [
        ("tenant", Some(view.id.to_string())),
        ("state", Some(view.state.as_str().to_owned())),
        ("plan", Some(view.plan.clone())),
        ("isolation", of_placement(|placement| placement.isolation.map(|isolation| isolation.as_str().to_owned()))),
        ("region", of_placement(|placement| placement.region.as_deref().map(str::to_owned))),
        ("endpoint", of_placement(|placement| placement.endpoint.as_deref().map(str::to_owned))),
        ("owner", view.owner.clone()),
        ("identifiers", Some(view.identifiers.join(", ")).filter(|all| !all.is_empty())),
        ("own budgets", Some(amounts).filter(|all| !all.is_empty())),
        ("keys in force", Some(view.keys.to_string())),
        ("stripe customer", view.stripe_customer.clone()),
        ("billing anchor", time(view.billing_anchor)),
        ("created", time(view.created_at)),
        ("changed", time(Some(view.changed_at))),
        ("version", Some(view.version.to_string())),
    ];
    let mut rows = table(&["", ""]);
    for (name, value) in lines.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        rows.add_row([name.to_owned(), value]);
    }
    say!("{rows}");
    Ok(EXIT_DONE)
}

fn tell(config: &Config, id: &str, query: &HistoryQuery, as_json: bool) -> anyhow::Result<u8> {
    let page: HistoryPage = access::block_on(async {
        match keeper(config)? {
            Keeper::Server(server) => server.get(&format!("{}/history", path(id)), query).await,
            Keeper::Here(store, _lock) => Ok(store.history(id, query)?),
        }
    })?;
    if as_json {
        json(&page.changes)?;
        return Ok(EXIT_DONE);
    }
    let mut rows = table(&["at", "who", "#version", "act", "before", "after"]);
    let text = |value: Option<Value>| value.map(|value| value.to_string()).unwrap_or_default();
    for entry in page.changes {
        let first = [entry.at.to_string(), entry.who, entry.version.to_string(), entry.act];
        rows.add_row(first.into_iter().chain([text(entry.before), text(entry.after)]));
    }
    say!("{rows}");
    Ok(EXIT_DONE)
}

fn import(config: &Config, file: &Path, check: bool, as_json: bool) -> anyhow::Result<u8> {
    let tenants: TenantsFile = yaml::parse(file, &yaml::read_text(file)?)?;
    if !check {
        access::check_alone(config)?;
    }
    let home = DataDir::of(config);
    let right = match home.take_right() {
        Ok(right) => Some(right),
        // What is only compared is rolled back, so the server may run.
        Err(error) if check && error.is_in_use() => None,
        Err(error) => return Err(error).context("stop the server before an import; --check only says what differs"),
    };
    let fence = right.as_ref().map(|right| right.fence.clone()).unwrap_or_default();
    if right.is_some() {
        home.move_in(&fence)?;
    }
    let view = TenantStore::import(home.tenants(), &fence, tenants, &by(), check)?;
    drop(right);
    let differs = view.created + view.changed + view.archived > 0 || view.revoked;
    if as_json {
        json(&view)?;
    } else {
        print_import(&view, check);
        if !check && config.tenants != TenantsHome::Database {
            say!("replace `tenants` in {} by `tenants_database: true` to use the database", config.path.display());
        }
    }
    Ok(if check && differs { EXIT_ATTENTION } else { EXIT_DONE })
}

fn print_import(view: &ImportView, check: bool) {
    if !view.differences.is_empty() {
        let mut rows = table(&["tenant", "in the database", "in the file"]);
        for difference in &view.differences {
            let (before, after) = (difference.before.to_string(), difference.after.to_string());
            rows.add_row([difference.tenant.to_string(), before, after]);
        }
        say!("{rows}");
    }
    let would = if check { "would be " } else { "" };
    say!(
        "{} tenants {would}created, {} {would}changed, {} {would}archived; {} are the same",
        view.created,
        view.changed,
        view.archived,
        view.same
    );
}

/// Prints a line of JSON for each tenant: it is YAML, too, and a change is a changed line.
fn export(config: &Config, as_json: bool) -> anyhow::Result<u8> {
    let home = DataDir::of(config);
    let Some(place) = home.tenants_to_read() else {
        let place = home.tenants().label();
        bail!("{place}: there is no database of tenants; `weir tenants import` or `weir serve` makes one");
    };
    let file = TenantStore::export(&place, clock().now())?;
    if as_json {
        json(&file)?;
        return Ok(EXIT_DONE);
    }
    say!("tenants:{}", if file.tenants.is_empty() { " []" } else { "" });
    for tenant in &file.tenants {
        say!("- {}", serde_json::to_string(tenant)?);
    }
    if !file.revoked.is_empty() {
        say!("revoked: {}", serde_json::to_string(&file.revoked)?);
    }
    Ok(EXIT_DONE)
}
