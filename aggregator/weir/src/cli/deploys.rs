//! `weir deploys`: marks from which on another version serves.
use weir_steer::alert::deploy::{self, Deploy};

use super::EXIT_DONE;
use super::access::{self, Access};
use super::alerts::{post, server, told};
use super::args::deploys::DeploysCommand;
use super::render::{json, say, table};
use super::show::caught_up;
use crate::alerts::DeployQuery;
use crate::config::Config;

pub(super) fn run(config: &Config, command: DeploysCommand, as_json: bool) -> anyhow::Result<u8> {
    match command {
        DeploysCommand::Mark(args) => {
            let deploy: Deploy = post(config, "/v1/deploys", &args.request())?;
            told(&deploy, &format!("marked at {}; its number is {}", deploy.at, deploy.id), as_json)
        }
        DeploysCommand::List { limit } => list(config, &DeployQuery { limit }, as_json),
        DeploysCommand::Unmark { id } => {
            let deploy: Deploy =
                access::block_on(async { server(config)?.delete(&format!("/v1/deploys/{id}")).await })?;
            told(&deploy, &format!("{} is no mark any more", deploy.name), as_json)
        }
    }
}

fn list(config: &Config, query: &DeployQuery, as_json: bool) -> anyhow::Result<u8> {
    let deploys: Vec<Deploy> = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/deploys", query).await?,
            Access::Here(store) => deploy::list(caught_up(&store).await?.db(), query.shown())?,
        })
    })?;
    if as_json {
        json(&deploys)?;
        return Ok(EXIT_DONE);
    }
    let mut shown = table(&["#", "at", "name", "feature", "prompt version", "who"]);
    for Deploy { id, at, name, feature, prompt_version, who, .. } in &deploys {
        let pattern = |pattern: &Option<String>| pattern.clone().unwrap_or_default();
        shown.add_row([
            id.to_string(),
            at.to_string(),
            name.clone(),
            pattern(feature),
            pattern(prompt_version),
            who.clone(),
        ]);
    }
    say!("{shown}");
    Ok(EXIT_DONE)
}
