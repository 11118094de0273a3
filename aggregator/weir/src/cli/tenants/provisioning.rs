//! `weir tenants provision`, `deprovision` and `status`. The running server does the work.
use anyhow::{Context, bail};
use weir_contract::TenantId;
use weir_provisioning::Mark;

use super::{Keeper, keeper, path};
use crate::cli::access::{self, Client};
use crate::cli::render::{complain, json, say, table};
use crate::cli::{EXIT_ATTENTION, EXIT_DONE};
use crate::config::Config;
use crate::config::tokens::random_token;
use crate::provisioning::{
    DeprovisionRequest, JournalQuery, ProvisionRequest, ProvisioningState, ProvisioningView, SkipRequest,
};
use weir_tenants::store::provisioning::{JournalEntry, JournalPage};
use weir_tenants::store::view::ROWS_MAX;

/// The characters of an `Idempotency-Key` that is made up.
const KEY_CHARS: usize = 16;

pub(super) fn provision(
    config: &Config,
    request: ProvisionRequest,
    key: Option<String>,
    as_json: bool,
) -> anyhow::Result<u8> {
    let key = told_key(key)?;
    let post = async || server(config)?.post_once("/v1/provisionings", &request, &key).await;
    show(&access::block_on(post())?, as_json)
}

pub(super) fn deprovision(config: &Config, tenant: TenantId, key: Option<String>, as_json: bool) -> anyhow::Result<u8> {
    let (key, request) = (told_key(key)?, DeprovisionRequest { tenant });
    let post = async || server(config)?.post_once("/v1/deprovisionings", &request, &key).await;
    show(&access::block_on(post())?, as_json)
}

pub(super) fn status(config: &Config, tenant: &str, all: bool, as_json: bool) -> anyhow::Result<u8> {
    let get = async || {
        let (server, path) = (server(config)?, format!("{}/provisioning", path(tenant)));
        let mut view: ProvisioningView = server.get(&path, &()).await?;
        if all {
            view.journal = journal(&server, &path).await?;
        }
        anyhow::Ok(view)
    };
    show(&access::block_on(get())?, as_json)
}

/// Every act that is kept.
async fn journal(server: &Client, path: &str) -> anyhow::Result<Vec<JournalEntry>> {
    let (mut acts, mut query) = (Vec::new(), JournalQuery { cursor: None, limit: Some(ROWS_MAX) });
    loop {
        let page: JournalPage = server.get(&format!("{path}/journal"), &query).await?;
        acts.extend(page.acts);
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(acts);
        }
    }
}

pub(super) fn skip(config: &Config, tenant: &str, step: &str, why: String, as_json: bool) -> anyhow::Result<u8> {
    let known = serde_json::from_value(step.into());
    let step = known.with_context(|| format!("{step:?} is no step; `weir tenants status {tenant}` names them"))?;
    let request = SkipRequest { step, why };
    let post = async || server(config)?.post(&format!("{}/provisioning/skip", path(tenant)), &request).await;
    show(&access::block_on(post())?, as_json)
}

/// The key under which a request can be repeated, told before it is sent.
fn told_key(key: Option<String>) -> anyhow::Result<String> {
    let mut random = random_token()?;
    random.truncate(KEY_CHARS);
    let key = key.unwrap_or(random);
    complain!("repeat this with --idempotency-key {key} if it is cut off");
    Ok(key)
}

fn server(config: &Config) -> anyhow::Result<Client> {
    match keeper(config)? {
        Keeper::Server(client) => Ok(client),
        Keeper::Here(..) => bail!("start `weir serve`: it is the server that lets tenants come and go"),
    }
}

fn show(view: &ProvisioningView, as_json: bool) -> anyhow::Result<u8> {
    let code = match view.state {
        ProvisioningState::Done => EXIT_DONE,
        _ => EXIT_ATTENTION,
    };
    view.warnings.iter().for_each(|warning| complain!("weir: {warning}"));
    if as_json {
        json(view)?;
        return Ok(code);
    }
    let mut steps = table(&["step", "is", "made", "next try", "last problem"]);
    for step in &view.steps {
        steps.add_row([
            step.step.clone(),
            mark(step.mark).to_owned(),
            step.made.clone().unwrap_or_default(),
            step.due.map(|due| due.to_string()).unwrap_or_default(),
            step.why.clone().unwrap_or_default(),
        ]);
    }
    say!("{} of {}: {}, since {}", view.kind, view.tenant, view.state.as_str(), view.started_at);
    say!("{steps}");
    if let Some(failure) = &view.failure {
        say!("{} failed: {}", failure.step, failure.why);
    }
    for key in &view.keys {
        match &key.key {
            Some(secret) => say!("{} {secret}", key.id),
            None if !key.told => say!("{}: repeat the request to be told it", key.id),
            None => {}
        }
    }
    if !view.journal.is_empty() {
        let mut journal = table(&["at", "step", "act", "what came of it"]);
        for entry in &view.journal {
            let detail = entry.detail.clone().unwrap_or_default();
            journal.add_row([entry.at.to_string(), entry.step.clone(), entry.act.clone(), detail]);
        }
        say!("{journal}");
    }
    Ok(code)
}

const fn mark(mark: Mark) -> &'static str {
    match mark {
        Mark::Open | Mark::Absent => "open",
        Mark::Begun => "under way",
        Mark::Doubtful => "in doubt",
        Mark::Done => "done",
        Mark::Adopted => "found",
        Mark::Undone => "taken back",
        Mark::Skipped => "skipped",
    }
}
