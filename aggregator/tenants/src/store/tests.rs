use std::sync::atomic::{AtomicU64, Ordering};

use super::change::{By, ChangeError, Made, NewKey, NewTenant, Rotation, TenantPatch};
use super::view::{HistoryQuery, KeyView, Standing, TenantsQuery};
use super::*;
use crate::TenantsFile;
use weir_contract::directory::{KeyHash, Page, Revoked, TENANTS_MAX, TenantState};
use weir_contract::scopes::Scopes;
use weir_database::testing::{on_postgres, place};
use weir_settings::duration::Millis;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const HOUR_MS: u64 = 3_600_000;

struct Kept {
    dir: tempfile::TempDir,
    store: TenantStore,
}

impl Kept {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store =
            TenantStore::open(place(&dir.path().join("tenants.sqlite")), &Fence::default(), NOW).expect("opened");
        Kept { dir, store }
    }

    fn place(&self) -> Place {
        place(&self.dir.path().join("tenants.sqlite"))
    }

    fn open(&self) -> TenantStore {
        TenantStore::open(self.place(), &Fence::default(), NOW).expect("opened")
    }

    fn import(&self, file: TenantsFile, check: bool) -> Result<ImportView, ImportError> {
        TenantStore::import(&self.place(), &Fence::default(), file, &by(), check)
    }

    fn export(&self) -> TenantsFile {
        TenantStore::export(&self.place(), NOW).expect("exported")
    }

    fn page(&self) -> Page {
        let page = self.store.directory().current().state().page(None).expect("json");
        serde_json::from_slice(&page).expect("a page")
    }

    fn create(&self, id: &str) {
        self.store.create(&new(id), &by()).expect("created");
    }

    fn key(&self, tenant: &str) -> KeyView {
        self.store.create_key(tenant, &NewKey::default(), &made(), &by()).expect("made").answer
    }

    /// The tenant of a key, as gateways know it.
    fn owner(&self, key: &str) -> Option<(String, Option<Timestamp>)> {
        let hash = KeyHash::of(key.as_bytes());
        let find = |tenant: &weir_contract::directory::Tenant| {
            let key = tenant.keys.iter().find(|key| key.sha256 == hash)?;
            Some((tenant.id.to_string(), key.expires))
        };
        self.page().tenants.iter().find_map(find)
    }
}

fn new(id: &str) -> NewTenant {
    serde_json::from_value(serde_json::json!({"id": id, "plan": "starter"})).expect("a tenant")
}

fn patch(text: &str) -> TenantPatch {
    serde_json::from_str(text).expect("a patch")
}

fn by() -> By {
    By { who: "ann".to_owned(), at: NOW, key: None }
}

fn under(key: &str) -> By {
    By { key: Some(key.to_owned()), ..by() }
}

/// Another key each time.
fn made() -> Made {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    Made { key: format!("sk_weir_{}", NEXT.fetch_add(1, Ordering::Relaxed)) }
}

#[test]
fn a_tenant_is_in_force_when_it_is_created_and_after_a_restart() {
    let mut kept = Kept::new();
    kept.create("acme");
    let key = kept.key("acme").key.expect("told once");
    assert_eq!(kept.owner(&key), Some(("acme".to_owned(), None)));
    let version = kept.store.directory().current().version().to_owned();
    kept.store = kept.open();
    assert_eq!(kept.store.directory().current().version(), version);
    assert!(matches!(kept.store.create(&new("acme"), &by()), Err(ChangeError::Taken(_))));
    assert_eq!(kept.store.keys("acme").expect("keys")[0].key, None, "the database does not know it");
}

#[test]
fn a_change_touches_what_it_names_and_the_history_says_who_made_it() {
    let kept = Kept::new();
    kept.create("acme");
    let changed = patch(r#"{"plan": "enterprise", "stripe_customer": "cus_1"}"#);
    kept.store.change("acme", &changed, Some(1), &by()).expect("changed");
    let removed = patch(r#"{"stripe_customer": null}"#);
    let view = kept.store.change("acme", &removed, None, &by()).expect("changed").answer;
    assert_eq!((view.version, view.plan.as_str(), view.stripe_customer), (3, "enterprise", None));
    let same = kept.store.change("acme", &removed, None, &by()).expect("nothing to do").answer;
    assert_eq!(same.version, 3);
    let stale = kept.store.change("acme", &removed, Some(2), &by());
    assert!(matches!(stale, Err(ChangeError::Stale { now: 3 })));
    let history = kept.store.history("acme", &HistoryQuery::default()).expect("history").changes;
    let told: Vec<_> = history.iter().map(|entry| (entry.act.as_str(), entry.who.as_str(), entry.version)).collect();
    assert_eq!(told, [("change", "ann", 3), ("change", "ann", 2), ("create", "ann", 1)]);
    assert_eq!(history[0].before, Some(serde_json::json!({"stripe_customer": "cus_1"})));
}

#[test]
fn what_no_gateway_or_stripe_would_take_changes_nothing() {
    let kept = Kept::new();
    kept.create("acme");
    let cases = [
        (r#"{"plan": ""}"#, "plan"),
        (r#"{"stripe_customer": "acct_1"}"#, "cus_"),
        (r#"{"billing_interval": "year"}"#, "billing_anchor"),
        (r#"{"identifiers": ["-"]}"#, "identifiers[0]"),
    ];
    for (text, needle) in cases {
        let refused = kept.store.change("acme", &patch(text), None, &by()).expect_err(text);
        assert!(refused.to_string().contains(needle), "{refused}");
    }
    assert_eq!(kept.store.tenant("acme", NOW).expect("there").version, 1);
    assert!(matches!(kept.store.change("nobody", &patch("{}"), None, &by()), Err(ChangeError::NoTenant(_))));
}

#[test]
fn the_suspended_are_refused_and_the_archived_unknown_to_gateways_but_not_to_billing() {
    let kept = Kept::new();
    kept.create("acme");
    kept.key("acme");
    kept.store
        .change("acme", &patch(r#"{"stripe_customer": "cus_1", "state": "suspended"}"#), None, &by())
        .expect("good");
    assert_eq!(kept.page().tenants[0].state, TenantState::Suspended);
    assert!(kept.store.directory().current().is_suspended("acme"));
    kept.store.change("acme", &patch(r#"{"state": "archived"}"#), None, &by()).expect("good");
    let snapshot = kept.store.directory().current();
    assert_eq!((kept.page().tenants.len(), snapshot.counts()), (0, (0, 0)));
    assert_eq!((snapshot.customers()["acme"].as_str(), snapshot.knows("acme")), ("cus_1", true));
    assert!(snapshot.has_left("acme") && !snapshot.is_suspended("acme"));
    kept.store.change("acme", &patch(r#"{"state": "active"}"#), None, &by()).expect("good");
    assert_eq!(kept.page().tenants[0].keys.len(), 1, "it comes back with its keys");
    assert!(!kept.store.directory().current().has_left("acme"));
}

#[test]
fn a_request_that_comes_twice_happens_once_and_tells_no_key_again() {
    let kept = Kept::new();
    kept.store.create(&new("acme"), &under("1")).expect("created");
    let again = kept.store.create(&new("acme"), &under("1")).expect("the same answer");
    assert!(again.repeated);
    assert!(matches!(kept.store.create(&new("globex"), &under("1")), Err(ChangeError::OtherRequest)));
    let make = |by: &By| kept.store.create_key("acme", &NewKey::default(), &made(), by).expect("made");
    let (first, second) = (make(&under("2")), make(&under("2")));
    assert!(first.answer.key.is_some() && second.repeated && second.answer.key.is_none());
    assert_eq!((first.answer.id, kept.page().tenants[0].keys.len()), (second.answer.id, 1));
    let tomorrow = By { at: NOW.plus_millis(ANSWERS_KEPT_MS + 1), ..under("2") };
    assert!(!make(&tomorrow).repeated);
}

#[test]
fn a_rotated_key_works_beside_its_successor_for_the_overlap() {
    let kept = Kept::new();
    kept.create("acme");
    let old = kept.key("acme");
    let rotation = Rotation { overlap: Some(Millis(HOUR_MS)), id: None };
    let successor = kept.store.rotate_key("acme", &old.id, &rotation, &made(), &by()).expect("rotated").answer;
    let end = NOW.plus_millis(HOUR_MS);
    assert_eq!(kept.owner(&old.key.clone().expect("key")), Some(("acme".to_owned(), Some(end))));
    assert_eq!(kept.owner(&successor.key.clone().expect("key")), Some(("acme".to_owned(), None)));
    let at_once = Rotation { overlap: Some(Millis(0)), id: Some("last".to_owned()) };
    kept.store.rotate_key("acme", &successor.id, &at_once, &made(), &by()).expect("rotated");
    assert_eq!(kept.owner(&successor.key.expect("key")), None);
    let later = By { at: end, ..by() };
    let refused = kept.store.rotate_key("acme", &old.id, &rotation, &made(), &later).expect_err("over");
    assert!(refused.to_string().contains("expired"), "{refused}");
}

#[test]
fn a_rotated_key_that_expires_has_a_successor_of_the_same_lifetime() {
    let kept = Kept::new();
    kept.create("acme");
    let new = NewKey { expires: Some(NOW.plus_millis(10 * HOUR_MS)), ..NewKey::default() };
    let old = kept.store.create_key("acme", &new, &made(), &by()).expect("made").answer;
    let later = By { at: NOW.plus_millis(9 * HOUR_MS), ..by() };
    let rotation = Rotation { overlap: None, id: None };
    let successor = kept.store.rotate_key("acme", &old.id, &rotation, &made(), &later).expect("rotated").answer;
    assert_eq!(successor.expires, Some(NOW.plus_millis(19 * HOUR_MS)));
}

#[test]
fn a_confined_key_stays_confined_over_rotation_restart_export_and_import() {
    let kept = Kept::new();
    kept.create("acme");
    let scopes = Scopes::new(["route:docs", "chat"]).expect("scopes");
    let new = NewKey { scopes: Some(scopes.clone()), ..NewKey::default() };
    let key = kept.store.create_key("acme", &new, &made(), &by()).expect("made").answer;
    let successor = kept.store.rotate_key("acme", &key.id, &Rotation::default(), &made(), &by()).expect("rotated");
    assert_eq!((key.scopes.as_ref(), successor.answer.scopes.as_ref()), (Some(&scopes), Some(&scopes)));
    let told = |store: &TenantStore| -> Vec<Option<Scopes>> {
        let page = store.directory().current().state().page(None).expect("a page");
        let page: Page = serde_json::from_slice(&page).expect("a page");
        page.tenants[0].keys.iter().map(|key| key.scopes.clone()).collect()
    };
    assert_eq!(told(&kept.store), [Some(scopes.clone()), Some(scopes.clone())]);
    let file = kept.export();
    let elsewhere = Kept::new();
    elsewhere.import(file.clone(), false).expect("imported");
    assert_eq!(told(&elsewhere.open()), [Some(scopes.clone()), Some(scopes)]);
    let mut widened = file;
    widened.tenants[0].keys[0].scopes = None;
    let view = elsewhere.import(widened, false).expect("imported");
    assert_eq!((view.changed, view.differences.len()), (1, 1), "another scope is a difference");
    assert_eq!(told(&elsewhere.open())[0], None);
}

#[test]
fn a_database_before_scopes_is_read_as_it_is_and_takes_scopes_once_it_is_opened() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tenants.sqlite");
    let db = Connection::open(&path).expect("a database");
    schema::MIGRATIONS.iter().take(4).for_each(|step| db.execute_batch(step).expect("a step"));
    db.set_schema_version(4).expect("set");
    let tenant = "INSERT INTO tenant(id, version, state, plan, identifiers, changed_at) VALUES ('acme', 1, 'active', 'p', '[]', 0)";
    db.execute(tenant, []).expect("written");
    let hash = KeyHash::of(b"sk_weir_before");
    db.execute("INSERT INTO key(tenant, id, sha256) VALUES ('acme', 'k', ?1)", [hash.0]).expect("written");
    drop(db);
    assert_eq!(TenantStore::look(&Place::from(&path), NOW).expect("read").current().counts(), (1, 1));
    let store = TenantStore::open(&path, &Fence::default(), NOW).expect("opened");
    assert_eq!(store.keys("acme").expect("keys")[0].scopes, None);
    let new = NewKey { scopes: Scopes::new(["chat"]).ok(), ..NewKey::default() };
    store.create_key("acme", &new, &made(), &by()).expect("made");
}

#[test]
fn a_revoked_key_is_gone_and_its_name_is_not_used_again() {
    let kept = Kept::new();
    kept.create("acme");
    let key = kept.key("acme");
    kept.store.revoke_key("acme", &key.id, &by()).expect("revoked");
    assert_eq!(kept.owner(&key.key.expect("key")), None);
    let same_name = NewKey { id: Some(key.id.clone()), ..NewKey::default() };
    let refused = kept.store.create_key("acme", &same_name, &made(), &by());
    assert!(matches!(refused, Err(ChangeError::Taken(_))), "{refused:?}");
    assert!(matches!(kept.store.revoke_key("acme", "other", &by()), Err(ChangeError::NoKey { .. })));
    let again = kept.store.revoke_key("acme", &key.id, &by()).expect("no change").answer;
    assert_eq!((again.revoked_at, kept.store.tenant("acme", NOW).expect("there").version), (Some(NOW), 3));
}

#[test]
fn a_hundred_edits_at_a_time_lose_none() {
    let kept = Kept::new();
    kept.create("acme");
    let store = &kept.store;
    std::thread::scope(|scope| {
        for number in 0..100 {
            scope.spawn(move || {
                // Who reads and writes back with the version that was read tries again.
                loop {
                    let view = store.tenant("acme", NOW).expect("there");
                    let mut identifiers = view.identifiers;
                    identifiers.truncate(63);
                    identifiers.push(format!("name-{number}"));
                    let change = TenantPatch { identifiers: Some(identifiers), ..TenantPatch::default() };
                    match store.change("acme", &change, Some(view.version), &by()) {
                        Ok(_) => break,
                        Err(ChangeError::Stale { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    let history = store.history("acme", &HistoryQuery { limit: Some(1_000), cursor: None }).expect("history").changes;
    assert_eq!((store.tenant("acme", NOW).expect("there").version, history.len()), (101, 101));
    let told = history.iter().filter_map(|entry| entry.after.as_ref()?["identifiers"].as_array()?.last()?.as_str());
    assert_eq!(told.collect::<std::collections::HashSet<_>>().len(), 100, "each edit has its own line");
}

#[test]
fn lists_come_in_pages_by_id() {
    let kept = Kept::new();
    for id in ["c", "a", "b", "d"] {
        kept.create(id);
    }
    kept.store.change("b", &patch(r#"{"state": "suspended"}"#), None, &by()).expect("changed");
    let list = |state, cursor: Option<&str>, limit| {
        let query = TenantsQuery { state, plan: None, cursor: cursor.map(Into::into), limit: Some(limit) };
        let page = kept.store.tenants(&query, NOW).expect("a page");
        (page.tenants.iter().map(|tenant| tenant.id.to_string()).collect::<String>(), page.next)
    };
    assert_eq!(list(None, None, 3), ("abc".to_owned(), Some("c".to_owned())));
    assert_eq!(list(None, Some("c"), 3), ("d".to_owned(), None));
    assert_eq!(list(Some(Standing::Active), None, 3), ("acd".to_owned(), None));
    assert!(kept.store.tenants(&TenantsQuery { limit: Some(1_001), ..TenantsQuery::default() }, NOW).is_err());
}

#[test]
fn a_file_comes_back_from_the_database_as_it_was_and_an_import_says_what_differs() {
    let kept = Kept::new();
    let file = |text: &str| -> TenantsFile { serde_json::from_str(text).expect("a file") };
    let hash = KeyHash::of(b"sk_weir_of_a_file");
    let first = file(&format!(
        r#"{{"tenants": [{{"id": "a", "plan": "p", "keys": [{{"id": "k", "sha256": "{hash}"}}]}},
            {{"id": "b", "plan": "p", "state": "suspended", "stripe_customer": "cus_1"}}], "revoked": {{"tokens": ["t"]}}}}"#
    ));
    let view = kept.import(first.clone(), true).expect("good");
    assert_eq!((view.created, kept.export().tenants.len()), (2, 0), "only checked");
    kept.import(first.clone(), false).expect("good");
    assert_eq!(kept.export(), first);
    let view = kept.import(first, false).expect("good");
    assert_eq!((view.same, view.differences.len(), view.revoked), (2, 0, false));
    let second = file(r#"{"tenants": [{"id": "a", "plan": "q"}]}"#);
    let view = kept.import(second, false).expect("good");
    assert_eq!((view.changed, view.archived, view.revoked), (1, 1, true));
    let (before, after) = (&view.differences[0].before, &view.differences[0].after);
    assert_eq!(
        (before["plan"].as_str(), after["plan"].as_str(), &after["keys"]),
        (Some("p"), Some("q"), &serde_json::json!({}))
    );
    let other_key = file(&format!(
        r#"{{"tenants": [{{"id": "a", "plan": "q", "keys": [{{"id": "k", "sha256": "{}"}}]}}]}}"#,
        KeyHash::of(b"sk_weir_another")
    ));
    let refused = kept.import(other_key, false).expect_err("another key");
    assert!(refused.to_string().contains("another key before"), "{refused}");
}

#[test]
fn what_is_revoked_reaches_gateways_and_outlives_a_restart() {
    let kept = Kept::new();
    let revoked = Revoked { tokens: vec!["jti-1".to_owned()], keys: Vec::new() };
    kept.store.revoke(revoked.clone(), NOW).expect("revoked");
    assert_eq!(kept.page().revoked, revoked);
    let again = kept.open();
    assert_eq!(again.revoked().expect("read"), revoked);
    let too_long = Revoked { tokens: vec!["x".repeat(129)], keys: Vec::new() };
    assert!(kept.store.revoke(too_long, NOW).is_err());
}

#[test]
fn a_change_of_which_nobody_knew_whether_it_took_effect_is_in_force_once_the_database_answers() {
    let kept = Kept::new();
    kept.create("acme");
    // As if the answer to a commit had been lost.
    kept.store.db().execute("UPDATE tenant SET plan = 'pro' WHERE id = 'acme'", []).expect("changed");
    *kept.store.unsure.lock().expect("free") = Some(NOW);
    assert_eq!(kept.page().tenants[0].plan, "starter");
    assert_eq!(kept.store.tenant("acme", NOW).expect("there").plan, "pro");
    assert_eq!(kept.page().tenants[0].plan, "pro");
    assert_eq!(*kept.store.unsure.lock().expect("free"), None);
}

#[test]
fn the_history_cannot_be_changed() {
    let kept = Kept::new();
    kept.create("acme");
    let db = kept.store.db();
    for sql in ["DELETE FROM history", "UPDATE history SET who = 'nobody'"] {
        assert!(db.execute(sql, []).expect_err(sql).to_string().contains("only grows"));
    }
}

#[test]
fn a_file_in_which_nothing_was_kept_yet_has_no_tenants() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tenants.sqlite");
    std::fs::write(&path, "").expect("written");
    assert_eq!(TenantStore::look(&Place::from(&path), NOW).expect("empty").current().counts(), (0, 0));
}

#[test]
fn a_database_of_a_later_version_is_not_opened() {
    let kept = Kept::new();
    kept.store.db().set_schema_version(VERSION + 1).expect("set");
    let refused = TenantStore::open(kept.place(), &Fence::default(), NOW).expect_err("refused");
    assert!(refused.to_string().contains("later version"), "{refused}");
}

#[test]
fn the_largest_directory_opens_and_takes_edits_and_no_tenant_more() {
    // The bound is no business of the database, and over PostgreSQL an import asks it a million times.
    if on_postgres() {
        return;
    }
    let kept = Kept::new();
    let entry = |at: usize| {
        let keys: Vec<_> = (0..2)
            .map(|key| serde_json::json!({"id": format!("k{key}"), "sha256": KeyHash::of(format!("{at}-{key}").as_bytes())}))
            .collect();
        serde_json::from_value(serde_json::json!({"id": format!("tenant-{at:06}"), "plan": "p", "keys": keys}))
            .expect("good")
    };
    let file = TenantsFile { tenants: (0..TENANTS_MAX).map(entry).collect(), revoked: Revoked::default() };
    kept.import(file, false).expect("imported");
    let store = kept.open();
    for at in 0..100 {
        let id = format!("tenant-{:06}", at * 997);
        store.change(&id, &patch(r#"{"state": "suspended"}"#), None, &by()).expect("changed");
    }
    assert!(matches!(store.create(&new("one-more"), &by()), Err(ChangeError::Full)));
}
