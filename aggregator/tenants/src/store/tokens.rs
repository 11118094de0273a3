//! Tokens of the API that are made by calls and commands. What their scopes mean is the server's business.
use serde_json::Value;
use weir_contract::Timestamp;
use weir_contract::directory::KeyHash;
use weir_database::{Row, params};

use super::TenantStore;
use super::change::ChangeError;

/// The most tokens that are not revoked.
pub(crate) const TOKENS_KEPT_MAX: usize = 1_000;

const TOKEN: &str = "name, sha256, person, scopes, gateway, created_at, created_by, expires, revoked_at";

/// A token, known by its hash only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptToken {
    /// Its name, unique for ever.
    pub name: String,
    /// Its hash.
    pub sha256: KeyHash,
    /// The person who has it.
    pub person: Option<String>,
    /// What it opens, as JSON.
    pub scopes: Value,
    /// The only gateway whose events it may send.
    pub gateway: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it expires.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl TenantStore {
    /// All tokens by name, revoked ones too.
    pub fn tokens(&self) -> Result<Vec<KeptToken>, ChangeError> {
        let db = self.db();
        let mut select = db.prepare_cached(&format!("SELECT {TOKEN} FROM token ORDER BY name"))?;
        let rows = select.query_map([], read)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// Keeps a new token.
    pub fn add_token(&self, token: &KeptToken) -> Result<(), ChangeError> {
        let mut db = self.db();
        let tx = db.transaction()?;
        let count = |sql: &str| tx.query_row(sql, [], |row| row.get::<_, usize>(0));
        if count("SELECT count(*) FROM token WHERE revoked_at IS NULL")? >= TOKENS_KEPT_MAX {
            return Err(ChangeError::Invalid(format!("there are {TOKENS_KEPT_MAX} tokens; revoke some")));
        }
        let sql = format!(
            "INSERT INTO token({TOKEN}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL) ON CONFLICT(name) DO NOTHING"
        );
        let added = tx.execute(
            &sql,
            params![
                token.name,
                token.sha256.0,
                token.person,
                token.scopes.to_string(),
                token.gateway,
                token.created_at.as_millis(),
                token.created_by,
                token.expires.map(Timestamp::as_millis),
            ],
        )?;
        if added == 0 {
            return Err(ChangeError::Taken(format!("token {}", token.name)));
        }
        Ok(tx.commit()?)
    }

    /// Revokes a token, and returns it; None if there is none of that name.
    pub fn revoke_token(&self, name: &str, at: Timestamp) -> Result<Option<KeptToken>, ChangeError> {
        let db = self.db();
        let sql = "UPDATE token SET revoked_at = ?2 WHERE name = ?1 AND revoked_at IS NULL";
        db.execute(sql, params![name, at.as_millis()])?;
        let mut select = db.prepare_cached(&format!("SELECT {TOKEN} FROM token WHERE name = ?1"))?;
        let found = select.query_map([name], read)?.next().transpose()?;
        Ok(found)
    }
}

fn read(row: &Row<'_>) -> Result<KeptToken, weir_database::Error> {
    let time = |column| Ok::<_, weir_database::Error>(row.get::<_, Option<u64>>(column)?.map(Timestamp::from_millis));
    Ok(KeptToken {
        name: row.get(0)?,
        sha256: KeyHash(row.get(1)?),
        person: row.get(2)?,
        // Text that is no JSON opens nothing.
        scopes: serde_json::from_str(&row.get::<_, String>(3)?).unwrap_or_default(),
        gateway: row.get(4)?,
        created_at: Timestamp::from_millis(row.get(5)?),
        created_by: row.get(6)?,
        expires: time(7)?,
        revoked_at: time(8)?,
    })
}
