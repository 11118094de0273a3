use std::path::{Path, PathBuf};

use super::rotate::{RotationRequest, VaultError};
use super::*;
use crate::store::change::NewTenant;
use crate::store::view::HistoryQuery;
use crate::vault::kek::Kek;
use crate::vault::{KeyRingError, KeySource};
use weir_contract::directory::Page;
use weir_database::testing::place;
use weir_database::{Fence, Place};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const SECRET: &str = "sk-proj-acme-0123456789abcdef";
const OTHER: &str = "sk-proj-globex-fedcba9876543210";

struct Kept {
    dir: tempfile::TempDir,
    store: TenantStore,
    ring: KeyRing,
}

fn by() -> By {
    By { who: "ann, with laptop".to_owned(), at: NOW, key: None }
}

fn secret(text: &str) -> ProviderSecret {
    ProviderSecret::new(text).expect("a key")
}

fn kek() -> Kek {
    Kek::of(Key::random().expect("random"))
}

fn id(tenant: &str) -> TenantId {
    TenantId::new(tenant).expect("an id")
}

impl Kept {
    fn new(tenants: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store =
            TenantStore::open(place(&dir.path().join("tenants.sqlite")), &Fence::default(), NOW).expect("a database");
        for tenant in tenants {
            let new: NewTenant = serde_json::from_str(&format!(r#"{{"id":"{tenant}","plan":"p"}}"#)).expect("a tenant");
            store.create(&new, &by()).expect("created");
        }
        Kept { dir, store, ring: KeyRing::new(kek(), Vec::new()) }
    }

    fn put(&self, tenant: &str, text: &str) -> ProviderKeyView {
        let put = self.store.put_provider_key(tenant, "openai", (&secret(text), None), &self.ring, &by());
        put.expect("stored").answer
    }

    /// The key of a tenant at OpenAI, as it would be handed over.
    fn opened(&self, tenant: &str, ring: &KeyRing) -> Option<String> {
        let opened = self.store.open_provider_keys(&id(tenant), ring).expect("read");
        opened.into_iter().next().and_then(|key| key.secret).map(|text| text.to_string())
    }

    fn page(&self) -> String {
        let page = self.store.directory().current().state().page(None).expect("JSON");
        String::from_utf8(page).expect("UTF-8")
    }

    fn execute(&self, sql: &str) {
        self.store.db().execute_batch(sql).expect("done");
    }

    fn place(&self) -> Place {
        place(&self.dir.path().join("tenants.sqlite"))
    }

    /// A file with a key-encryption key of this digit.
    fn key_file(&self, digit: char) -> KeySource {
        use std::os::unix::fs::PermissionsExt;
        let path = self.dir.path().join(format!("kek-{digit}"));
        std::fs::write(&path, digit.to_string().repeat(64)).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        KeySource::File(path)
    }

    /// A script that turns each line around, so that what is wrapped is not the key itself.
    fn command(&self) -> (PathBuf, KeySource) {
        let script = self.dir.path().join("kms");
        std::fs::write(&script, "exec rev\n").expect("written");
        let source = KeySource::Command(vec!["sh".to_owned(), script.display().to_string()]);
        (script, source)
    }

    fn roots(&self) -> u64 {
        self.store.db().query_row("SELECT count(*) FROM vault_root", [], |row| row.get(0)).expect("a number")
    }

    fn open_vault(&self, source: &KeySource, previous: Option<&KeySource>) -> Result<KeyRing, VaultError> {
        self.store.open_vault(source, previous, Path::new("/"))
    }
}

#[test]
fn who_is_to_open_the_vault_later_can_see_whether_it_will_open() {
    let mut kept = Kept::new(&["acme"]);
    let (used, other) = (kept.key_file('1'), kept.key_file('2'));
    kept.ring = kept.open_vault(&used, None).expect("a ring");
    kept.put("acme", SECRET);
    let check = |source: &KeySource, previous: Option<&KeySource>| {
        TenantStore::check_vault(&kept.place(), source, previous, Path::new("/")).map_err(|error| error.to_string())
    };
    assert_eq!(check(&used, None), Ok(()));
    assert!(check(&other, None).is_err_and(|error| error.contains("vault.previous_key")));
    assert!(check(&KeySource::File("nowhere".into()), None).is_err_and(|error| error.contains("nowhere")));
    let (script, command) = kept.command();
    assert_eq!(check(&command, Some(&used)), Ok(()), "the first use makes a key, a look makes none");
    assert_eq!(kept.roots(), 0);
    kept.open_vault(&command, Some(&used)).expect("it opens");
    assert_eq!((check(&command, Some(&used)), kept.roots()), (Ok(()), 1));
    std::fs::write(script, "exit 1\n").expect("written");
    assert!(check(&command, Some(&used)).is_err(), "it unwraps nothing any more");

    let empty = kept.dir.path().join("empty.sqlite");
    std::fs::write(&empty, "").expect("written");
    assert!(TenantStore::check_vault(&place(&empty), &used, None, Path::new("/")).is_ok(), "nothing is wrapped there");
}

#[test]
fn a_stored_key_is_told_by_fingerprint_and_last_four_and_comes_back_for_gateways_only() {
    let kept = Kept::new(&["acme"]);
    let view = kept.put("acme", SECRET);
    assert_eq!((view.version, view.last_four.as_deref()), (1, Some("cdef")));
    assert_eq!(kept.opened("acme", &kept.ring).as_deref(), Some(SECRET));
    let history = kept.store.history("acme", &HistoryQuery::default()).expect("a history");
    assert_eq!(
        (history.changes[0].act.as_str(), history.changes[0].who.as_str()),
        ("provider key put", "ann, with laptop")
    );
    let told = format!("{view:?} {:?} {:?} {}", kept.store, history, kept.page());
    assert!(!told.contains("0123456789"), "{told}");
}

#[test]
fn gateways_learn_of_a_new_version_and_of_a_removal_at_once() {
    let kept = Kept::new(&["acme", "globex"]);
    kept.put("acme", SECRET);
    let before = kept.store.directory().current();
    assert_eq!(kept.put("acme", "sk-proj-acme-second-one").version, 2);
    let difference = kept.store.directory().difference(before.version()).expect("JSON").expect("it is kept");
    let page: Page = serde_json::from_slice(&difference.page).expect("a page");
    assert_eq!((page.tenants.len(), page.tenants[0].provider_keys[0].version), (1, 2));
    let removed = kept.store.remove_provider_key("acme", "openai", &by()).expect("removed").answer;
    assert_eq!((removed.version, removed.fingerprint), (2, None));
    assert!(!kept.page().contains("provider_keys"));
    assert_eq!(kept.put("acme", SECRET).version, 3, "versions are never used again");
}

#[test]
fn the_database_of_a_server_that_starts_again_has_the_same_keys() {
    let kept = Kept::new(&["acme"]);
    kept.put("acme", SECRET);
    kept.store.set_fallback("acme", Fallback::House, &by()).expect("set");
    let page = kept.page();
    assert!(page.contains(r#""house_key":true"#) && page.contains(r#""provider":"openai""#), "{page}");
    let again = TenantStore::open(kept.place(), &Fence::default(), NOW).expect("a database");
    let same = String::from_utf8(again.directory().current().state().page(None).expect("JSON")).expect("UTF-8");
    assert_eq!(same, page);
    assert_eq!(
        TenantStore::look(&kept.place(), NOW).expect("a look").current().version(),
        again.directory().current().version()
    );
}

#[test]
fn a_wrong_key_encryption_key_opens_nothing() {
    let kept = Kept::new(&["acme"]);
    kept.put("acme", SECRET);
    let other = KeyRing::new(kek(), Vec::new());
    assert_eq!(kept.opened("acme", &other), None);
    let put = kept.store.put_provider_key("acme", "groq", (&secret(SECRET), None), &other, &by());
    assert!(matches!(put, Err(ChangeError::Unreadable)));
    assert_eq!(kept.opened("acme", &kept.ring).as_deref(), Some(SECRET), "and nothing is lost");
}

#[test]
fn a_start_with_another_key_is_refused_until_the_one_of_before_is_given() {
    let mut kept = Kept::new(&["acme"]);
    let (old, new) = (kept.key_file('1'), kept.key_file('2'));
    kept.ring = kept.open_vault(&old, None).expect("opened");
    kept.put("acme", SECRET);
    let error = kept.open_vault(&new, None).expect_err("another key");
    assert!(matches!(error, VaultError::OtherKey { tenants: 1, .. }), "{error}");
    let both = kept.open_vault(&new, Some(&old)).expect("opened");
    assert_eq!(kept.opened("acme", &both).as_deref(), Some(SECRET));
    let view = kept.store.rotate_vault(&both, RotationRequest::default()).expect("rotated");
    assert_eq!((view.rewrapped, view.resealed), (1, 0));
    let alone = kept.open_vault(&new, None).expect("the old one is not needed any more");
    assert_eq!(kept.opened("acme", &alone).as_deref(), Some(SECRET));
}

#[test]
fn a_row_of_another_tenant_does_not_open() {
    let kept = Kept::new(&["acme", "globex"]);
    kept.put("acme", SECRET);
    kept.put("globex", OTHER);
    kept.execute("UPDATE vault_secret SET sealed = (SELECT sealed FROM vault_secret WHERE tenant = 'globex') WHERE tenant = 'acme'");
    assert_eq!(kept.opened("acme", &kept.ring), None);
    kept.execute(
        "UPDATE vault_tenant SET wrapped = (SELECT wrapped FROM vault_tenant WHERE tenant = 'globex') WHERE tenant = 'acme'",
    );
    assert_eq!(kept.opened("acme", &kept.ring), None, "not with the other's data key either");
    assert_eq!(kept.opened("globex", &kept.ring).as_deref(), Some(OTHER));
}

#[test]
fn a_row_that_was_cut_or_turned_back_does_not_open() {
    let kept = Kept::new(&["acme"]);
    kept.put("acme", SECRET);
    kept.execute("CREATE TABLE before AS SELECT * FROM vault_secret");
    kept.put("acme", OTHER);
    kept.execute("UPDATE vault_secret SET sealed = (SELECT sealed FROM before)");
    assert_eq!(kept.opened("acme", &kept.ring), None, "the version is another one");
    for sql in [
        "sealed = substr(sealed, 1, 20)",
        "sealed = substr(sealed, 1, 0)",
        "provider = 'groq', sealed = (SELECT sealed FROM before)",
    ] {
        kept.execute(&format!("UPDATE vault_secret SET {sql}"));
        assert_eq!(kept.opened("acme", &kept.ring), None, "{sql}");
    }
}

#[test]
fn a_rotation_that_ended_half_way_is_repeated_and_loses_nothing() {
    let mut kept = Kept::new(&["acme", "globex", "initech"]);
    let (old, new) = (kept.key_file('1'), kept.key_file('2'));
    kept.ring = kept.open_vault(&old, None).expect("opened");
    for tenant in ["acme", "globex", "initech"] {
        kept.put(tenant, SECRET);
    }
    // As if the process had been killed behind the first tenant: the rows of the others are put back.
    kept.execute("CREATE TABLE before AS SELECT * FROM vault_tenant");
    let both = kept.open_vault(&new, Some(&old)).expect("opened");
    kept.store.rotate_vault(&both, RotationRequest::default()).expect("rotated");
    kept.execute(
        "UPDATE vault_tenant SET kek = before.kek, wrapped = before.wrapped FROM before
         WHERE before.tenant = vault_tenant.tenant AND vault_tenant.tenant <> 'acme'",
    );
    let all_open = |ring: &KeyRing| {
        ["acme", "globex", "initech"].iter().all(|id| kept.opened(id, ring).as_deref() == Some(SECRET))
    };
    assert!(all_open(&both), "traffic goes on meanwhile");
    assert!(kept.open_vault(&new, None).is_err(), "the old key is still needed, and the start says so");
    let view = kept.store.rotate_vault(&both, RotationRequest::default()).expect("rotated");
    assert_eq!(view.rewrapped, 2);
    assert!(all_open(&kept.open_vault(&new, None).expect("opened")));
}

#[test]
fn new_data_keys_seal_everything_again() {
    let kept = Kept::new(&["acme"]);
    kept.put("acme", SECRET);
    let row = || {
        kept.store.db().query_row("SELECT sealed FROM vault_secret", [], |row| row.get::<_, Vec<u8>>(0)).expect("a row")
    };
    let (before, page) = (row(), kept.page());
    let request = RotationRequest { data_keys: true };
    let view = kept.store.rotate_vault(&kept.ring, request).expect("rotated");
    assert_eq!((view.resealed, view.unreadable.len()), (1, 0));
    assert_ne!(row(), before);
    assert_eq!(kept.opened("acme", &kept.ring).as_deref(), Some(SECRET));
    assert_eq!(kept.page(), page, "gateways have nothing to fetch");
}

#[test]
fn a_tenant_that_does_not_open_is_named_and_the_others_are_rotated() {
    let kept = Kept::new(&["acme", "globex"]);
    kept.put("acme", SECRET);
    kept.put("globex", OTHER);
    let damage = "UPDATE vault_secret SET sealed = ?1 WHERE tenant = 'acme'";
    kept.store.db().execute(damage, [[0_u8]]).expect("damaged");
    let view = kept.store.rotate_vault(&kept.ring, RotationRequest { data_keys: true }).expect("rotated");
    assert_eq!((view.resealed, view.unreadable), (1, vec![id("acme")]));
    assert_eq!(kept.opened("globex", &kept.ring).as_deref(), Some(OTHER));
}

#[test]
fn a_command_keeps_the_key_encryption_key_and_a_rotation_makes_another() {
    let mut kept = Kept::new(&["acme"]);
    let (script, source) = kept.command();
    kept.ring = kept.open_vault(&source, None).expect("opened");
    kept.put("acme", SECRET);
    let again = kept.open_vault(&source, None).expect("opened again");
    assert_eq!(again.current().id(), kept.ring.current().id());
    let rotated = kept.store.next_ring(&again, &source).expect("a key");
    let view = kept.store.rotate_vault(&rotated, RotationRequest::default()).expect("rotated");
    assert!(view.rewrapped == 1 && view.kek != again.current().id());
    let started = kept.open_vault(&source, None).expect("opened");
    assert_eq!(started.current().id(), rotated.current().id());
    assert_eq!(kept.opened("acme", &started).as_deref(), Some(SECRET));
    std::fs::write(&script, "exit 1\n").expect("written");
    let refused = kept.open_vault(&source, None);
    assert!(matches!(refused, Err(VaultError::Ring(KeyRingError::Command { .. }))), "{refused:?}");
}

#[test]
fn keys_open_under_the_next_ring_before_during_and_after_a_rotation() {
    let mut kept = Kept::new(&["acme", "globex"]);
    let (_, source) = kept.command();
    kept.ring = kept.open_vault(&source, None).expect("opened");
    kept.put("acme", SECRET);
    kept.put("globex", OTHER);
    let next = kept.store.next_ring(&kept.ring, &source).expect("a key");
    assert_eq!(kept.opened("acme", &next).as_deref(), Some(SECRET), "nothing is wrapped by it yet");
    kept.execute("CREATE TABLE before AS SELECT * FROM vault_tenant");
    kept.store.rotate_vault(&next, RotationRequest::default()).expect("rotated");
    kept.execute(
        "UPDATE vault_tenant SET kek = before.kek, wrapped = before.wrapped FROM before
         WHERE before.tenant = vault_tenant.tenant AND vault_tenant.tenant = 'globex'",
    );
    assert_eq!(kept.opened("acme", &next).as_deref(), Some(SECRET));
    assert_eq!(kept.opened("globex", &next).as_deref(), Some(OTHER), "as if it were not rotated yet");
}

#[test]
fn a_change_with_the_ring_of_before_a_rotation_is_refused_and_no_key_is_lost() {
    let mut kept = Kept::new(&["acme", "globex"]);
    let (_, source) = kept.command();
    kept.ring = kept.open_vault(&source, None).expect("opened");
    kept.put("acme", SECRET);
    let next = kept.store.next_ring(&kept.ring, &source).expect("a key");
    kept.store.rotate_vault(&next, RotationRequest::default()).expect("rotated");
    assert_eq!(kept.roots(), 1);
    let late = kept.store.put_provider_key("globex", "openai", (&secret(OTHER), None), &kept.ring, &by());
    assert!(matches!(late, Err(ChangeError::Rotated)), "{late:?}");
    kept.ring = kept.open_vault(&source, None).expect("opened");
    kept.put("globex", OTHER);
    assert_eq!(kept.opened("globex", &kept.ring).as_deref(), Some(OTHER));
}

#[test]
fn a_key_encryption_key_that_a_row_needs_outlives_a_rotation() {
    let mut kept = Kept::new(&["acme", "globex"]);
    let (_, source) = kept.command();
    kept.ring = kept.open_vault(&source, None).expect("opened");
    kept.put("acme", SECRET);
    let next = kept.store.next_ring(&kept.ring, &source).expect("a key");
    kept.store.rotate_vault(&next, RotationRequest::default()).expect("rotated");
    // A rotation that does not know the key in use names the tenant, and keeps what wraps its rows.
    let other = kept.store.next_ring(&kept.ring, &source).expect("a key");
    let view = kept.store.rotate_vault(&other, RotationRequest::default()).expect("rotated");
    assert_eq!((view.unreadable, kept.roots()), (vec![id("acme")], 2));
    let started = kept.open_vault(&source, None).expect("opened");
    assert_eq!(kept.opened("acme", &started).as_deref(), Some(SECRET));
}

#[test]
fn the_files_of_the_database_hold_no_key() {
    let kept = Kept::new(&["acme"]);
    let mut by = by();
    by.key = Some("once".to_owned());
    let put = |by: &By| kept.store.put_provider_key("acme", "openai", (&secret(SECRET), None), &kept.ring, by);
    assert!(!put(&by).expect("stored").repeated && put(&by).expect("stored").repeated);
    for entry in std::fs::read_dir(kept.dir.path()).expect("a directory") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("read");
        assert!(!bytes.windows(16).any(|window| window == &SECRET.as_bytes()[..16]));
    }
}

#[test]
fn a_tenant_has_keys_of_so_many_providers_and_no_more() {
    let kept = Kept::new(&["acme"]);
    for number in 0..PROVIDER_KEYS_MAX {
        let put =
            kept.store.put_provider_key("acme", &format!("p{number}"), (&secret(SECRET), None), &kept.ring, &by());
        assert_eq!(put.expect("stored").answer.version, 1);
    }
    let put = kept.store.put_provider_key("acme", "p99", (&secret(SECRET), None), &kept.ring, &by());
    assert!(matches!(put, Err(ChangeError::Invalid(_))));
    let over = kept.store.put_provider_key("acme", "p1", (&secret(SECRET), Some(NOW)), &kept.ring, &by());
    assert!(matches!(over, Err(ChangeError::Over("expires"))));
}
