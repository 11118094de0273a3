//! After any change of tenants, a gateway that fetches differences has the same state as one that fetches everything.
use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};
use weir_contract::Timestamp;
use weir_contract::directory::{KeyHash, Page};
use weir_filter::directory::Directory;
use weir_filter::directory::poll::{Origin, Poll, Update};
use weir_filter::fetch::Fetched;
use weir_filter::hash::Keyed;
use weir_tenants::Directory as Served;

const TENANTS: u8 = 8;
const KEYS: u8 = 12;

/// A change of the tenants file or of the server.
#[derive(Clone, Debug)]
enum Edit {
    Put {
        tenant: u8,
        plan: u8,
        suspended: bool,
    },
    Remove(u8),
    Give {
        key: u8,
        tenant: u8,
        environment: Option<u8>,
    },
    Withdraw(u8),
    Revoke(Vec<u8>),
    /// The server restarts and forgets the earlier changes.
    Restart,
    /// The gateway polls.
    Poll,
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (0..TENANTS, 0..3_u8, any::<bool>())
            .prop_map(|(tenant, plan, suspended)| Edit::Put { tenant, plan, suspended }),
        2 => (0..TENANTS).prop_map(Edit::Remove),
        4 => (0..KEYS, 0..TENANTS, proptest::option::of(0..2_u8))
            .prop_map(|(key, tenant, environment)| Edit::Give { key, tenant, environment }),
        1 => (0..KEYS).prop_map(Edit::Withdraw),
        1 => proptest::collection::vec(0..4_u8, 0..3).prop_map(Edit::Revoke),
        1 => Just(Edit::Restart),
        6 => Just(Edit::Poll),
    ]
}

/// The content of the tenants file.
#[derive(Default)]
struct File {
    tenants: BTreeMap<u8, Value>,
    keys: BTreeMap<u8, (u8, Value)>,
    revoked: Vec<u8>,
}

fn hash(key: u8) -> KeyHash {
    KeyHash::of(&[key])
}

impl File {
    fn edit(&mut self, edit: &Edit) {
        match edit {
            Edit::Put { tenant, plan, suspended } => {
                let state = if *suspended { "suspended" } else { "active" };
                let row = json!({"id": format!("t{tenant}"), "plan": format!("p{plan}"), "state": state});
                self.tenants.insert(*tenant, row);
            }
            Edit::Remove(tenant) => drop(self.tenants.remove(tenant)),
            Edit::Give { key, tenant, environment } => {
                let environment = environment.map(|number| format!("e{number}"));
                let row = json!({"id": format!("k{key}"), "sha256": hash(*key), "environment": environment});
                self.keys.insert(*key, (*tenant, row));
            }
            Edit::Withdraw(key) => drop(self.keys.remove(key)),
            Edit::Revoke(names) => self.revoked.clone_from(names),
            Edit::Restart | Edit::Poll => {}
        }
    }

    fn text(&self) -> String {
        let keys = |id: &u8| self.keys.values().filter(|(owner, _)| owner == id).map(|(_, row)| row.clone()).collect();
        let with_keys = |(id, row): (&u8, &Value)| {
            let mut row = row.clone();
            row["keys"] = Value::Array(keys(id));
            row
        };
        let tenants: Vec<Value> = self.tenants.iter().map(with_keys).collect();
        let revoked: Vec<String> = self.revoked.iter().map(|name| format!("j{name}")).collect();
        json!({"tenants": tenants, "revoked": {"tokens": revoked}}).to_string()
    }
}

/// A gateway and its server.
struct Both {
    _folder: tempfile::TempDir,
    path: PathBuf,
    server: Served,
    origin: Origin,
    poll: Poll,
    now: Timestamp,
    /// The results of all polls.
    updates: Vec<Update>,
}

impl Both {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("tenants.yaml");
        std::fs::write(&path, File::default().text()).expect("written");
        let shape = serde_json::from_value(json!({"cluster": "weir", "token": "t", "refresh": "1s"})).expect("a shape");
        let now = Timestamp::from_secs(1_800_000_000);
        Both {
            server: Served::open(Some(path.clone())).expect("good"),
            path,
            origin: Origin::compile(shape, "gw-1", std::iter::empty()).expect("good"),
            poll: Poll::new(Keyed::new([0; 16]), None, now),
            now,
            updates: Vec::new(),
            _folder: folder,
        }
    }

    fn write(&mut self, text: &str) {
        std::fs::write(&self.path, text).expect("written");
        self.server.reload().expect("good");
    }

    fn restart(&mut self) {
        self.server = Served::open(Some(self.path.clone())).expect("good");
    }

    /// Polls until a state is in force.
    fn ask(&mut self) {
        for _ in 0..10 {
            self.now = self.now.plus_millis(1_000);
            let Some(fetch) = self.poll.due(&self.origin, self.now) else { continue };
            let known = fetch.headers.iter().find(|(name, _)| *name == "if-none-match").map(|(_, value)| value.clone());
            let version = format!("\"{}\"", self.server.current().version());
            let since = fetch.path.split_once("?since=").map(|(_, since)| since);
            let (status, body) = if known == Some(version) { (304, Vec::new()) } else { (200, self.answer(since)) };
            let answer = Fetched::Answer { status, etag: None, cache_control: None, body: &body };
            let mut update = self.poll.answered(&self.origin, &answer, self.now);
            while update == Update::Staged {
                update = self.poll.step(&self.origin, self.now).unwrap_or(Update::Staged);
            }
            assert!(!matches!(update, Update::Refused(_) | Update::Unfit(_)), "{update:?}");
            let over = matches!(update, Update::Replaced | Update::Changed | Update::Confirmed);
            self.updates.push(update);
            if over {
                return;
            }
        }
        panic!("no state came into force: {:?}", self.updates);
    }

    fn answer(&self, since: Option<&str>) -> Vec<u8> {
        let difference = since.and_then(|since| self.server.difference(since).expect("json"));
        let whole = || self.server.current().state().page(None).expect("json");
        difference.map_or_else(whole, |difference| difference.page.to_vec())
    }

    /// Checks that the gateway has the state that a full fetch returns.
    fn check(&self) {
        let page = self.server.current().state().page(None).expect("json");
        let page: Page = serde_json::from_slice(&page).expect("a page");
        let whole = Directory::new(&page.tenants, page.revoked, None, Keyed::new([1; 16])).expect("good");
        let known = self.poll.tenants(&self.origin, self.now).expect("in force");
        assert_eq!((known.totals(), known.revoked()), (whole.totals(), whole.revoked()));
        for tenant in 0..TENANTS {
            let id = format!("t{tenant}");
            assert_eq!(known.tenant(&id), whole.tenant(&id));
        }
        for key in 0..KEYS {
            assert_eq!(known.key(&hash(key)), whole.key(&hash(key)), "key {key}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn differences_lead_to_the_same_tenants_as_whole_fetches(edits in proptest::collection::vec(edit(), 1..60)) {
        let (mut both, mut file) = (Both::start(), File::default());
        both.ask();
        for edit in edits.iter().chain([&Edit::Poll]) {
            file.edit(edit);
            match edit {
                Edit::Restart => both.restart(),
                Edit::Poll => {
                    both.ask();
                    both.check();
                }
                _ => both.write(&file.text()),
            }
        }
    }
}

#[test]
fn an_edit_travels_as_a_difference_and_a_forgotten_version_as_the_whole() {
    let (mut both, mut file) = (Both::start(), File::default());
    both.ask();
    file.edit(&Edit::Put { tenant: 1, plan: 1, suspended: false });
    both.write(&file.text());
    both.ask();
    both.check();
    file.edit(&Edit::Remove(1));
    both.write(&file.text());
    both.restart();
    both.ask();
    both.check();
    both.ask();
    assert_eq!(both.updates, [Update::Replaced, Update::Changed, Update::Replaced, Update::Confirmed]);
}
