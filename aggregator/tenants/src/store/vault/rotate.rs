//! Rotates the keys that protect the vault, tenant by tenant: traffic goes on, and a rotation that was cut short is repeated.
use std::path::Path;

use serde::{Deserialize, Serialize};
use weir_contract::TenantId;
use weir_database::{Connection, OptionalExtension, Place, params};

use super::{new_data_key, open_data_key, wrap};
use crate::store::TenantStore;
use crate::store::change::ChangeError;
use crate::store::read::VAULT_SINCE;
use crate::store::secrets::{self, StoredSecret};
use crate::vault::envelope::{Belongs, Key};
use crate::vault::kek::{Kek, Wrapper};
use crate::vault::{KeyRing, KeyRingError, KeySource};

/// Which keys to rotate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationRequest {
    /// Gives each tenant a new data key, too, and seals its keys again.
    #[serde(default)]
    pub data_keys: bool,
}

/// The outcome of a rotation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationView {
    /// The key-encryption key that wraps every data key now.
    pub kek: String,
    /// Data keys that are wrapped by it since.
    pub rewrapped: u64,
    /// Tenants that have new data keys.
    pub resealed: u64,
    /// Tenants whose rows do not open; they are as they were.
    pub unreadable: Vec<TenantId>,
}

/// Why the vault cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is no key-encryption key.
    #[error(transparent)]
    Ring(#[from] KeyRingError),
    /// The database failed.
    #[error("the vault: {0}")]
    Database(#[from] weir_database::Error),
    /// A tenant's rows cannot be written.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// Another key wraps what is there.
    #[error(
        "the keys of {tenants} tenants are wrapped by another key-encryption key ({kek}) than the configured ones; give that one as \
         `vault.previous_key`, then `weir byok rotate`"
    )]
    OtherKey {
        /// How many tenants.
        tenants: u64,
        /// The key's name.
        kek: String,
    },
}

impl TenantStore {
    /// The key-encryption keys of this configuration. The first use of a command makes one.
    pub fn open_vault(
        &self,
        source: &KeySource,
        previous: Option<&KeySource>,
        base: &Path,
    ) -> Result<KeyRing, VaultError> {
        let wrapped = wrapped_roots(&self.db())?;
        let (current, before) = configured(source, previous, base, &wrapped)?;
        let current = match (current, source) {
            (Some(current), _) => current,
            (None, KeySource::Command(command)) => self.new_root(Wrapper(command))?,
            (None, KeySource::Env(_) | KeySource::File(_)) => return Err(KeyRingError::Form.into()),
        };
        let ring = KeyRing::new(current, before);
        check_known(&self.db(), &ring)?;
        Ok(ring)
    }

    /// Whether the vault of the database at `place`, which another process may have open, can be opened with this configuration. Writes
    /// nothing.
    pub fn check_vault(
        place: &Place,
        source: &KeySource,
        previous: Option<&KeySource>,
        base: &Path,
    ) -> Result<(), VaultError> {
        let db = Connection::open_read_only(place)?;
        let is_made = db.schema_version()? >= VAULT_SINCE;
        let wrapped = if is_made { wrapped_roots(&db)? } else { Vec::new() };
        match configured(source, previous, base, &wrapped)? {
            (Some(current), before) if is_made => check_known(&db, &KeyRing::new(current, before)),
            _ => Ok(()),
        }
    }

    /// The keys of the next rotation, to be put in force before it begins: it wraps with a key that others have to know by then. A
    /// command makes a new key-encryption key each time.
    pub fn next_ring(&self, ring: &KeyRing, source: &KeySource) -> Result<KeyRing, VaultError> {
        match source {
            KeySource::Command(command) => Ok(ring.followed_by(self.new_root(Wrapper(command))?)),
            KeySource::Env(_) | KeySource::File(_) => Ok(ring.clone()),
        }
    }

    /// Wraps every data key with the ring's key in use.
    pub fn rotate_vault(&self, ring: &KeyRing, request: RotationRequest) -> Result<RotationView, VaultError> {
        let mut view = RotationView { kek: ring.current().id().to_owned(), ..RotationView::default() };
        let mut after = String::new();
        while let Some(tenant) = self.next_in_vault(&after)? {
            self.rotate_tenant(&tenant, ring, request, &mut view)?;
            after = tenant.to_string();
        }
        let unneeded =
            "DELETE FROM vault_root WHERE id <> ?1 AND id NOT IN (SELECT kek FROM vault_tenant WHERE kek IS NOT NULL)";
        self.db().execute(unneeded, [ring.current().id()])?;
        Ok(view)
    }

    /// The keys that a command has wrapped, the one in use first. Nobody waits for the database while the command runs.
    /// Makes a key, has it wrapped, and keeps it only if it comes back the same.
    fn new_root(&self, command: Wrapper<'_>) -> Result<Kek, VaultError> {
        let made = Kek::of(Key::random().map_err(KeyRingError::from)?);
        let wrapped = command.wrap(&made)?;
        let kek = command.unwrap(&wrapped)?;
        if kek.id() != made.id() {
            return Err(KeyRingError::Another.into());
        }
        let sql =
            "INSERT INTO vault_root(id, wrapped, number) SELECT ?1, ?2, coalesce(max(number), 0) + 1 FROM vault_root";
        self.db().execute(sql, params![kek.id(), wrapped])?;
        Ok(kek)
    }

    fn next_in_vault(&self, after: &str) -> Result<Option<TenantId>, weir_database::Error> {
        let sql = "SELECT tenant FROM vault_tenant WHERE tenant > ?1 AND wrapped IS NOT NULL ORDER BY tenant LIMIT 1";
        self.db().prepare_cached(sql)?.query_row([after], |row| crate::store::rows::id(row, 0)).optional()
    }

    fn rotate_tenant(
        &self,
        tenant: &TenantId,
        ring: &KeyRing,
        request: RotationRequest,
        view: &mut RotationView,
    ) -> Result<(), ChangeError> {
        let mut db = self.db();
        let tx = db.transaction()?;
        let mut kept = secrets::vault_tenant(&tx, tenant)?;
        let Some(key) = open_data_key(tenant, &kept, ring) else {
            view.unreadable.push(tenant.clone());
            return Ok(());
        };
        let current = ring.current();
        let is_current = kept.wrapped.as_ref().is_some_and(|(kek, _)| kek == current.id());
        if request.data_keys {
            let Some(secrets) = opened(&tx, tenant, &key)? else {
                view.unreadable.push(tenant.clone());
                return Ok(());
            };
            let next = new_data_key(&tx, tenant, &mut kept, ring)?;
            for (mut stored, text) in secrets {
                stored.sealed = Some(next.seal(Belongs::Secret(tenant, &stored.provider, stored.version), &text)?);
                secrets::write_secret(&tx, &stored)?;
            }
            view.resealed += 1;
        } else if !is_current {
            wrap(&tx, tenant, &mut kept, &key, current)?;
        }
        view.rewrapped += u64::from(!is_current);
        Ok(tx.commit()?)
    }
}

/// Opened keys with their rows.
type Opened = Vec<(StoredSecret, zeroize::Zeroizing<Vec<u8>>)>;

/// The keys of a tenant; None if one of them does not open.
fn opened(db: &Connection, tenant: &TenantId, key: &Key) -> Result<Option<Opened>, weir_database::Error> {
    let stored = secrets::secrets(db, tenant)?.into_iter().filter(|stored| stored.sealed.is_some());
    let open = |stored: StoredSecret| {
        let belongs = Belongs::Secret(tenant, &stored.provider, stored.version);
        let text = key.open(belongs, stored.sealed.as_deref()?)?;
        Some((stored, text))
    };
    Ok(stored.map(open).collect())
}

/// The key in use, and those before it. No key in use: a command has made none yet.
fn configured(
    source: &KeySource,
    previous: Option<&KeySource>,
    base: &Path,
    wrapped: &[String],
) -> Result<(Option<Kek>, Vec<Kek>), VaultError> {
    let mut before = match previous.map(|source| source.read(base)).transpose()? {
        None => Vec::new(),
        Some(Some(kek)) => vec![kek],
        Some(None) => return Err(KeyRingError::Previous.into()),
    };
    let current = match (source.read(base)?, source) {
        (None, KeySource::Command(command)) => {
            let roots = wrapped.iter().map(|wrapped| Wrapper(command).unwrap(wrapped));
            let mut roots = roots.collect::<Result<Vec<Kek>, _>>()?.into_iter();
            let current = roots.next();
            before.extend(roots);
            current
        }
        (current, _) => current,
    };
    Ok((current, before))
}

/// What a command has answered to `wrap`, of the key in use first.
fn wrapped_roots(db: &Connection) -> Result<Vec<String>, weir_database::Error> {
    let mut select = db.prepare("SELECT wrapped FROM vault_root ORDER BY number DESC")?;
    select.query_map([], |row| row.get(0))?.collect()
}

/// Refuses a ring that lacks a key which wraps something.
fn check_known(db: &Connection, ring: &KeyRing) -> Result<(), VaultError> {
    let sql = "SELECT kek, count(*) FROM vault_tenant WHERE kek IS NOT NULL GROUP BY kek";
    let mut select = db.prepare(sql)?;
    for found in select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))? {
        let (kek, tenants) = found?;
        if ring.find(&kek).is_none() {
            return Err(VaultError::OtherKey { tenants, kek });
        }
    }
    Ok(())
}
