//! `weir tokens`.
use anyhow::bail;
use weir_contract::plans::percent_encoded;

use super::EXIT_DONE;
use super::access::{self, clock, somebody_here};
use super::args::tokens::TokensCommand;
use super::render::{json, say, table};
use super::tenants::{Keeper, keeper_of_tokens};
use crate::config::Config;
use crate::config::tokens::{NewToken, TokenView};

pub(super) fn run(config: &Config, command: TokensCommand, as_json: bool) -> anyhow::Result<u8> {
    match command {
        TokensCommand::Create(args) => create(config, args.token(), as_json),
        TokensCommand::List => list(config, as_json),
        TokensCommand::Revoke { name } => revoke(config, &name, as_json),
    }
}

fn create(config: &Config, new: NewToken, as_json: bool) -> anyhow::Result<u8> {
    let view: TokenView = access::block_on(async {
        match keeper_of_tokens(config)? {
            Keeper::Server(server) => server.post("/v1/tokens", &new).await,
            Keeper::Here(store, _lock) => {
                if config.tokens()?.knows(&new.name) {
                    bail!("token {} stands in the configuration", new.name);
                }
                let (kept, secret) = new.make(&somebody_here(), clock().now())?;
                store.add_token(&kept)?;
                Ok(TokenView { token: Some(secret), ..TokenView::from(kept) })
            }
        }
    })?;
    if as_json {
        json(&view)?;
    } else {
        let token = view.token.as_deref().unwrap_or_default();
        say!("token  {token}\nname   {}\nopens  {}\n\nThe token is shown this once.", view.name, view.opens());
    }
    Ok(EXIT_DONE)
}

fn list(config: &Config, as_json: bool) -> anyhow::Result<u8> {
    let views: Vec<TokenView> = access::block_on(async {
        match keeper_of_tokens(config)? {
            Keeper::Server(server) => server.get("/v1/tokens", &()).await,
            Keeper::Here(store, _lock) => {
                let configured = config.tokens()?;
                Ok(configured.views().chain(store.tokens()?.into_iter().map(TokenView::from)).collect())
            }
        }
    })?;
    if as_json {
        json(&views)?;
        return Ok(EXIT_DONE);
    }
    let mut rows = table(&["token", "person", "opens", "made", "by", "expires", "revoked", "last used"]);
    for view in views {
        let opens = view.opens();
        let time = |time: Option<weir_contract::Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        let made = view.created_at.map_or_else(|| "in the configuration".to_owned(), |at| at.to_string());
        let by = view.created_by.unwrap_or_default();
        let person = view.person.unwrap_or_default();
        let (expires, revoked, used) = (time(view.expires), time(view.revoked_at), time(view.last_used));
        rows.add_row([view.name, person, opens, made, by, expires, revoked, used]);
    }
    say!("{rows}");
    Ok(EXIT_DONE)
}

fn revoke(config: &Config, name: &str, as_json: bool) -> anyhow::Result<u8> {
    let view: TokenView = access::block_on(async {
        match keeper_of_tokens(config)? {
            Keeper::Server(server) => server.delete(&format!("/v1/tokens/{}", percent_encoded(name))).await,
            Keeper::Here(store, _lock) => match store.revoke_token(name, clock().now())? {
                Some(kept) => Ok(kept.into()),
                None if config.tokens()?.knows(name) => {
                    bail!("token {name} stands in the configuration: take it out there")
                }
                None => bail!("there is no token {name}"),
            },
        }
    })?;
    if as_json {
        json(&view)?;
    } else {
        say!("token {} is revoked", view.name);
    }
    Ok(EXIT_DONE)
}
