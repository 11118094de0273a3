//! `weir flags`: feature flags, and their rules at run time.
use weir_contract::TenantId;
use weir_contract::flags::FlagRule;
use weir_contract::plans::percent_encoded;
use weir_tenants::store::flags::{FlagChange, FlagView, NewRules, RulesFrom};

use super::EXIT_DONE;
use super::access;
use super::args::flags::{FlagSetArgs, FlagsCommand};
use super::render::{json, say, table};
use super::tenants::{Keeper, by, keeper_of_tokens};
use crate::config::Config;

pub(super) fn run(config: &Config, command: FlagsCommand, as_json: bool) -> anyhow::Result<u8> {
    match command {
        FlagsCommand::List => list(config, as_json),
        FlagsCommand::Show { name } => show(&get(config, &name)?, as_json),
        FlagsCommand::Set(args) => set(config, &args, as_json),
        FlagsCommand::Reset { name } => show(&put(config, &name, None, None)?, as_json),
        FlagsCommand::History { name } => history(config, &name, as_json),
    }
}

fn path(name: &str) -> String {
    format!("/v1/flags/{}", percent_encoded(name))
}

fn list(config: &Config, as_json: bool) -> anyhow::Result<u8> {
    let views: Vec<FlagView> = access::block_on(async {
        match keeper_of_tokens(config)? {
            Keeper::Server(server) => server.get("/v1/flags", &()).await,
            Keeper::Here(store, _lock) => Ok(store.flags(&config.flags)?),
        }
    })?;
    if as_json {
        json(&views)?;
        return Ok(EXIT_DONE);
    }
    let mut rows = table(&["flag", "type", "default", "rules", "from", "changed", "by"]);
    for view in views {
        let changed = view.changed_at.map(|at| at.to_string()).unwrap_or_default();
        let from = from(view.from);
        let (kind, default) = (view.kind.to_string(), view.default.to_string());
        let by = view.changed_by.unwrap_or_default();
        rows.add_row([view.name, kind, default, describe(&view.rules), from.to_owned(), changed, by]);
    }
    say!("{rows}");
    Ok(EXIT_DONE)
}

fn from(from: RulesFrom) -> &'static str {
    match from {
        RulesFrom::Configuration => "the configuration",
        RulesFrom::Database => "weir flags",
    }
}

/// The rules in one line, in the order in which they decide.
fn describe(rules: &[FlagRule]) -> String {
    rules.iter().map(describe_rule).collect::<Vec<_>>().join("; ")
}

fn describe_rule(rule: &FlagRule) -> String {
    let mut text = rule.percent.map_or_else(String::new, |percent| format!("{percent} "));
    text.push_str(&rule.value.to_string());
    let tenants: Vec<&str> = rule.tenants.iter().map(TenantId::as_str).collect();
    let plain = |names: &[Box<str>]| names.join(",");
    for (what, names) in
        [("tenant", tenants.join(",")), ("plan", plain(&rule.plans)), ("environment", plain(&rule.environments))]
    {
        if !names.is_empty() {
            text.push_str(&format!(" for {what} {names}"));
        }
    }
    text
}

fn show(view: &FlagView, as_json: bool) -> anyhow::Result<u8> {
    if as_json {
        json(view)?;
        return Ok(EXIT_DONE);
    }
    let FlagView { name, kind, default, .. } = view;
    say!("{name}: {kind}, by default {default}; rules from {}", from(view.from));
    for rule in &view.rules {
        say!("  {}", describe_rule(rule));
    }
    Ok(EXIT_DONE)
}

fn get(config: &Config, name: &str) -> anyhow::Result<FlagView> {
    access::block_on(async {
        match keeper_of_tokens(config)? {
            Keeper::Server(server) => server.get(&path(name), &()).await,
            Keeper::Here(store, _lock) => Ok(store.flag(&config.flags, name)?),
        }
    })
}

/// Sets rules, or takes them back, for this version of the flag only if there is one.
fn put(config: &Config, name: &str, rules: Option<Vec<FlagRule>>, version: Option<u64>) -> anyhow::Result<FlagView> {
    access::block_on(async {
        match (keeper_of_tokens(config)?, rules) {
            (Keeper::Server(server), Some(rules)) => server.put_if(&path(name), &NewRules { rules }, version).await,
            (Keeper::Server(server), None) => server.delete(&path(name)).await,
            (Keeper::Here(store, _lock), rules) => {
                Ok(store.set_flag((&config.flags, store.directory()), (name, rules), version, &by())?)
            }
        }
    })
}

fn set(config: &Config, args: &FlagSetArgs, as_json: bool) -> anyhow::Result<u8> {
    let before = get(config, &args.name)?;
    let rules = with(before.rules, args.rule(before.kind)?);
    // Another change in between would be lost: then the version is another one, and the command says so.
    show(&put(config, &args.name, Some(rules), Some(before.version))?, as_json)
}

/// The rules with one more, in the place of that for the same tenants, plans and environments. More narrow ones go first.
fn with(mut rules: Vec<FlagRule>, new: FlagRule) -> Vec<FlagRule> {
    let same = |rule: &FlagRule| {
        (&rule.tenants, &rule.plans, &rule.environments) == (&new.tenants, &new.plans, &new.environments)
    };
    if let Some(place) = rules.iter().position(same) {
        rules[place] = new;
        return rules;
    }
    let place = rules.iter().position(|rule| breadth(rule) > breadth(&new)).unwrap_or(rules.len());
    rules.insert(place, new);
    rules
}

/// Orders rules: the smaller, the fewer they are for.
fn breadth(rule: &FlagRule) -> (bool, bool, bool) {
    (rule.tenants.is_empty(), rule.plans.is_empty(), rule.environments.is_empty())
}

fn history(config: &Config, name: &str, as_json: bool) -> anyhow::Result<u8> {
    let changes: Vec<FlagChange> = access::block_on(async {
        match keeper_of_tokens(config)? {
            Keeper::Server(server) => server.get(&format!("{}/history", path(name)), &()).await,
            Keeper::Here(store, _lock) => Ok(store.flag_history(&config.flags, name)?),
        }
    })?;
    if as_json {
        json(&changes)?;
        return Ok(EXIT_DONE);
    }
    let rules =
        |rules: Option<Vec<FlagRule>>| rules.map_or_else(|| "the configuration".to_owned(), |rules| describe(&rules));
    let mut rows = table(&["#version", "at", "by", "before", "after"]);
    for change in changes {
        let (before, after) = (rules(change.before), rules(change.after));
        rows.add_row([change.version.to_string(), change.at.to_string(), change.who, before, after]);
    }
    say!("{rows}");
    Ok(EXIT_DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> FlagRule {
        serde_json::from_str(text).expect("a rule")
    }

    #[test]
    fn a_rule_replaces_its_like_and_narrow_ones_go_before_wide_ones() {
        let all = rule(r#"{"value":false}"#);
        let rules = with(vec![all.clone()], rule(r#"{"tenants":["acme"],"value":true}"#));
        let rules = with(rules, rule(r#"{"plans":["pro"],"percent":"10%","value":true}"#));
        let rules = with(rules, rule(r#"{"percent":"25%","value":true}"#));
        assert_eq!(describe(&rules), "true for tenant acme; 10% true for plan pro; 25% true");
        let rules = with(rules, rule(r#"{"plans":["pro"],"value":false}"#));
        assert_eq!(describe(&rules), "true for tenant acme; false for plan pro; 25% true");
    }
}
