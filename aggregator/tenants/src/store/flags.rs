//! Feature flags whose rules are set at run time. The configuration declares flags and their first rules; rules that are set here
//! stand in their place until they are reset.
//!
//! A change is one transaction, and in force at the [`Directory`] before it is answered, under the same lock: gateways never know
//! more than the disk. Rules of a flag that is not declared any more are kept, and mean nothing.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_contract::flags::{self, Flag, FlagRule, FlagType, FlagValue, Flags};
use weir_database::{Connection, OptionalExtension, Row, Transaction, params};

use super::TenantStore;
use super::change::{By, ChangeError};
use super::rows::wrong;
use crate::Directory;

/// The most changes of one answer.
const HISTORY_MAX: u32 = 1_000;

/// A flag as it is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagView {
    /// Its name.
    pub name: String,
    /// The type of its values.
    #[serde(rename = "type")]
    pub kind: FlagType,
    /// The value where no rule decides.
    pub default: FlagValue,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The rules; the first that holds decides.
    pub rules: Vec<FlagRule>,
    /// Where the rules come from.
    pub from: RulesFrom,
    /// Counts the changes of its rules at run time; the ETag.
    pub version: u64,
    /// When they were last changed at run time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
    /// Who did that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<String>,
}

/// Where the rules of a flag come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RulesFrom {
    /// The configuration.
    Configuration,
    /// A command or a call.
    Database,
}

/// New rules of a flag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRules {
    /// The rules.
    pub rules: Vec<FlagRule>,
}

/// A change of a flag's rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagChange {
    /// When.
    pub at: Timestamp,
    /// The person or token.
    pub who: String,
    /// The flag's version after it.
    pub version: u64,
    /// The rules as they were; absent for those of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Vec<FlagRule>>,
    /// The rules as they are; absent for those of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<FlagRule>>,
}

/// What the database knows of a flag.
#[derive(Clone, Debug)]
struct Stored {
    version: u64,
    rules: Option<Vec<FlagRule>>,
    changed_at: Timestamp,
    changed_by: String,
}

impl TenantStore {
    /// The declared flags as they are in force, by name.
    pub fn flags(&self, declared: &Flags) -> Result<Vec<FlagView>, ChangeError> {
        let stored = stored(&self.db())?;
        Ok(declared.iter().map(|(name, flag)| view(name, flag, stored.get(&**name))).collect())
    }

    /// One declared flag as it is in force.
    pub fn flag(&self, declared: &Flags, name: &str) -> Result<FlagView, ChangeError> {
        let flag = find(declared, name)?;
        Ok(view(name, flag, stored_of(&self.db(), name)?.as_ref()))
    }

    /// Sets the rules of a declared flag, or with None those of its declaration again. With `expected`, only for that version of it.
    pub fn set_flag(
        &self,
        (declared, directory): (&Flags, &Directory),
        (name, rules): (&str, Option<Vec<FlagRule>>),
        expected: Option<u64>,
        by: &By,
    ) -> Result<FlagView, ChangeError> {
        let flag = find(declared, name)?;
        let mut db = self.db();
        let tx = db.write_transaction()?;
        let before = stored_of(&tx, name)?;
        let version = before.as_ref().map_or(0, |stored| stored.version);
        if expected.is_some_and(|expected| expected != version) {
            return Err(ChangeError::StaleFlag { now: version });
        }
        let was = before.as_ref().and_then(|stored| stored.rules.clone());
        let rules = rules.map(|rules| typed(rules, flag.kind, name)).transpose()?;
        if was == rules {
            return Ok(view(name, flag, before.as_ref()));
        }
        let after = Stored { version: version + 1, rules, changed_at: by.at, changed_by: by.who.clone() };
        write(&tx, name, &after)?;
        note(&tx, name, was.as_ref(), &after)?;
        let in_force = with_stored(declared, &stored(&tx)?);
        flags::check(&mut in_force.clone()).map_err(|error| ChangeError::Invalid(error.to_string()))?;
        self.commit(tx, by.at)?;
        directory.set_flags(in_force)?;
        Ok(view(name, flag, Some(&after)))
    }

    /// Puts the declared flags in force, with the rules that were set at run time. False: together they are beyond the bounds of
    /// flags, so the declared rules alone are in force.
    pub fn lay_flags(&self, declared: &Flags, directory: &Directory) -> Result<bool, ChangeError> {
        let db = self.db();
        let in_force = with_stored(declared, &stored(&db)?);
        let fits = flags::check(&mut in_force.clone()).is_ok();
        directory.set_flags(if fits { in_force } else { declared.clone() })?;
        Ok(fits)
    }

    /// Who changed the rules of a flag, and what; the latest change first, at most 1,000.
    pub fn flag_history(&self, declared: &Flags, name: &str) -> Result<Vec<FlagChange>, ChangeError> {
        find(declared, name)?;
        let db = self.db();
        let mut select = db.prepare_cached(
            "SELECT at, who, version, before, after FROM flag_history WHERE flag = ?1 ORDER BY number DESC LIMIT ?2",
        )?;
        let rows = select.query_map(params![name, HISTORY_MAX], |row| {
            Ok(FlagChange {
                at: Timestamp::from_millis(row.get(0)?),
                who: row.get(1)?,
                version: row.get(2)?,
                before: rules(row, 3)?,
                after: rules(row, 4)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn find<'f>(declared: &'f Flags, name: &str) -> Result<&'f Flag, ChangeError> {
    declared.get(name).ok_or_else(|| {
        let known = declared.keys().map(|name| &**name).collect::<Vec<_>>().join(", ");
        ChangeError::NoFlag(if known.is_empty() { name.to_owned() } else { format!("{name}; declared are: {known}") })
    })
}

/// The rules with values of the flag's type.
fn typed(mut rules: Vec<FlagRule>, kind: FlagType, name: &str) -> Result<Vec<FlagRule>, ChangeError> {
    let checked = flags::check_rules(&mut rules, kind, &format!("flags.{name}"));
    checked.map_err(|error| ChangeError::Invalid(error.to_string()))?;
    Ok(rules)
}

/// The declared flags with the rules of the database. Rules that do not fit a changed declaration are left out.
fn with_stored(declared: &Flags, stored: &BTreeMap<String, Stored>) -> Flags {
    let mut all = declared.clone();
    for (name, flag) in &mut all {
        if let Some(rules) = stored.get(&**name).and_then(|stored| fitting(flag.kind, stored, name)) {
            flag.rules = rules;
        }
    }
    all
}

fn fitting(kind: FlagType, stored: &Stored, name: &str) -> Option<Vec<FlagRule>> {
    typed(stored.rules.clone()?, kind, name).ok()
}

fn view(name: &str, flag: &Flag, stored: Option<&Stored>) -> FlagView {
    let set = stored.and_then(|stored| fitting(flag.kind, stored, name));
    FlagView {
        name: name.to_owned(),
        kind: flag.kind,
        default: flag.default.clone(),
        description: flag.description.as_deref().map(str::to_owned),
        from: if set.is_some() { RulesFrom::Database } else { RulesFrom::Configuration },
        rules: set.unwrap_or_else(|| flag.rules.clone()),
        version: stored.map_or(0, |stored| stored.version),
        changed_at: stored.map(|stored| stored.changed_at),
        changed_by: stored.map(|stored| stored.changed_by.clone()),
    }
}

fn stored(db: &Connection) -> Result<BTreeMap<String, Stored>, ChangeError> {
    let mut select = db.prepare_cached("SELECT name, version, rules, changed_at, changed_by FROM flag")?;
    let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, read(row)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn stored_of(db: &Connection, name: &str) -> Result<Option<Stored>, ChangeError> {
    let mut select =
        db.prepare_cached("SELECT name, version, rules, changed_at, changed_by FROM flag WHERE name = ?1")?;
    Ok(select.query_row([name], read).optional()?)
}

fn read(row: &Row<'_>) -> Result<Stored, weir_database::Error> {
    Ok(Stored {
        version: row.get(1)?,
        rules: rules(row, 2)?,
        changed_at: Timestamp::from_millis(row.get(3)?),
        changed_by: row.get(4)?,
    })
}

fn rules(row: &Row<'_>, column: usize) -> Result<Option<Vec<FlagRule>>, weir_database::Error> {
    let Some(text) = row.get::<_, Option<String>>(column)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| wrong(column, error))
}

fn write(tx: &Transaction<'_>, name: &str, stored: &Stored) -> Result<(), ChangeError> {
    let rules = stored.rules.as_ref().map(serde_json::to_string).transpose()?;
    let values = params![name, stored.version, rules, stored.changed_at.as_millis(), stored.changed_by];
    let sql = "INSERT INTO flag(name, version, rules, changed_at, changed_by) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT(name) DO UPDATE SET version = ?2, rules = ?3, changed_at = ?4, changed_by = ?5";
    tx.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

fn note(tx: &Transaction<'_>, name: &str, before: Option<&Vec<FlagRule>>, after: &Stored) -> Result<(), ChangeError> {
    let text = |rules: Option<&Vec<FlagRule>>| rules.map(serde_json::to_string).transpose();
    let (before, rules) = (text(before)?, text(after.rules.as_ref())?);
    let values = params![after.changed_at.as_millis(), after.changed_by, name, after.version, before, rules];
    let sql = "INSERT INTO flag_history(at, who, flag, version, before, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    tx.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

#[cfg(test)]
mod tests;
