use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn tenants(json: &str) -> Vec<Tenant> {
    serde_json::from_str(json).expect("tenants")
}

fn directory(json: &str) -> Result<Directory, DirectoryError> {
    Directory::new(&tenants(json), Revoked::default(), None, Keyed::new([0; 16]))
}

#[test]
fn a_tenant_is_found_by_its_id_and_by_its_key() {
    let hash = KeyHash::of(b"sk_weir_1");
    let key =
        format!(r#"{{"id":"k1","sha256":"{hash}","plan":"q","environment":"test","expires":"2030-01-01T00:00:00Z"}}"#);
    let directory = directory(&format!(r#"[{{"id":"acme","plan":"p","keys":[{key}]}}]"#)).expect("a directory");
    let (id, plan, state) = ("acme", "p", TenantState::Active);
    let member = TenantEntry { stages: None, hard_budgets: None, own_keys: None, placement: None, id, plan, state };
    assert_eq!(directory.tenant("acme"), Some(member));
    let key = directory.key(&hash).expect("a key");
    assert_eq!((key.member, key.id, key.plan.map(|plan| &**plan)), (member, "k1", Some("q")));
    assert_eq!((key.environment.map(|name| &**name), key.feature), (Some("test"), None));
    assert_eq!(key.expires, Timestamp::parse("2030-01-01T00:00:00Z"));
    assert!(directory.tenant("Acme").is_none(), "case counts");
    assert!(directory.key(&KeyHash::of(b"sk_weir_2")).is_none());
}

#[test]
fn a_key_of_two_tenants_is_refused() {
    let hash = KeyHash::of(b"k");
    let key = format!(r#"[{{"id":"k","sha256":"{hash}"}}]"#);
    let error = directory(&format!(r#"[{{"id":"a","plan":"p","keys":{key}}},{{"id":"b","plan":"p","keys":{key}}}]"#));
    assert_eq!(error.err(), Some(DirectoryError::Key { tenant: "b".into(), key: "k".into() }));
}

#[test]
fn a_tenant_that_stands_twice_is_refused() {
    let error = directory(r#"[{"id":"a","plan":"p"},{"id":"a","plan":"q"}]"#).err();
    assert_eq!(error, Some(DirectoryError::Tenant("a".into())));
}

#[test]
fn more_revocations_than_a_worker_looks_through_are_refused() {
    let revoked = Revoked { tokens: vec!["t".into(); 1_001], keys: Vec::new() };
    assert_eq!(Directory::new(&[], revoked, None, Keyed::new([0; 16])).err(), Some(DirectoryError::Revoked));
    let empty = Revoked { tokens: vec![String::new()], keys: Vec::new() };
    assert_eq!(Directory::new(&[], empty, None, Keyed::new([0; 16])).err(), Some(DirectoryError::Revoked));
}

#[test]
fn a_hundred_thousand_tenants_are_all_found() {
    let mut directory = Directory::empty(Keyed::new([0; 16]), None);
    let key = |name: &str| weir_contract::directory::ApiKey {
        id: name.to_owned(),
        sha256: KeyHash::of(name.as_bytes()),
        plan: None,
        environment: Some("production".into()),
        feature: None,
        scopes: None,
        expires: None,
    };
    for at in 0..TENANTS_MAX {
        let keys = vec![key(&format!("a{at}")), key(&format!("b{at}"))];
        let id = TenantId::new(&format!("tenant-{at}")).expect("an id");
        directory
            .add(&Tenant {
                id,
                plan: "p".into(),
                state: TenantState::Active,
                keys,
                identifiers: Vec::new(),
                stages: Vec::new(),
                further_stages: Vec::new(),
                hard_budgets: Vec::new(),
                provider_keys: Vec::new(),
                house_key: false,
                placement: None,
            })
            .expect("room");
    }
    let found = |at: usize| {
        let key = directory.key(&KeyHash::of(format!("b{at}").as_bytes())).expect("a key");
        key.member.id == format!("tenant-{at}") && directory.tenant(key.member.id).is_some()
    };
    assert!((0..TENANTS_MAX).step_by(997).all(found));
    let one_more = tenants(r#"[{"id":"one-more","plan":"p"}]"#);
    assert_eq!(directory.add(&one_more[0]), Err(DirectoryError::TooLarge));
}

#[test]
fn a_key_may_move_from_one_tenant_to_another_in_one_difference_only() {
    let hash = KeyHash::of(b"sk_weir_1");
    let keys = format!(r#""keys":[{{"id":"k1","sha256":"{hash}"}}]"#);
    let mut directory =
        directory(&format!(r#"[{{"id":"a","plan":"p",{keys}}},{{"id":"b","plan":"p"}}]"#)).expect("a directory");
    let delta = |json: &str| super::delta::Delta { tenants: tenants(json), ..super::delta::Delta::default() };
    let stolen = delta(&format!(r#"[{{"id":"b","plan":"p",{keys}}}]"#));
    assert_eq!(directory.apply(stolen), Err(DirectoryError::Key { tenant: "b".into(), key: "k1".into() }));
    assert_eq!(directory.key(&hash).map(|key| key.member.id), Some("a"), "nothing has changed");
    let moved = delta(&format!(r#"[{{"id":"b","plan":"p",{keys}}},{{"id":"a","plan":"q"}}]"#));
    assert_eq!(directory.apply(moved), Ok(()));
    assert_eq!(directory.key(&hash).map(|key| key.member.id), Some("b"));
    assert_eq!(directory.tenant("a").map(|member| member.plan), Some("q"));
    assert_eq!(directory.totals(), Totals { tenants: 2, keys: 1 });
}

#[test]
fn a_directory_that_has_changed_much_wants_to_be_taken_in_whole() {
    let mut directory = directory(r#"[{"id":"a","plan":"p"}]"#).expect("a directory");
    let change = || super::delta::Delta { tenants: tenants(r#"[{"id":"a","plan":"p"}]"#), ..Default::default() };
    let fits = (0..10_000).take_while(|_| directory.apply(change()).is_ok()).count();
    assert!((1_000..1_010).contains(&fits) && directory.is_worn(), "{fits}");
    assert!(directory.tenant("a").is_some());
}
