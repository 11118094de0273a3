//! Tenants: one YAML file, served to gateways in pages, and the customers that sums are billed to.
//!
//! [`directory`] holds the tenants in force and wakes gateways that wait for a change; [`pages`] splits a state into
//! pages; [`history`] keeps recent changes, so that gateways fetch only the difference.
#![forbid(unsafe_code)]

pub mod directory;
pub mod history;
mod identifiers;
pub mod pages;
pub mod store;
pub mod vault;

pub use directory::{Arrivals, Arriving, Difference, Directory, Overlay, Reloaded};
pub use identifiers::warnings as common_words;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::{self, IntoDeserializer, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use weir_contract::directory::{
    ApiKey, KEYS_MAX, KeyHash, PAGE_MAX_BYTES, REVOKED_MAX, REVOKED_MAX_BYTES, Revoked, TENANTS_MAX, Tenant,
    TenantState,
};
use weir_contract::placement::Placement;
use weir_contract::stage::is_budget_name;
use weir_contract::vault::ProviderKey;
use weir_contract::{TenantId, Timestamp, placeholder};

use pages::State;
use weir_ledger::amount::Pico;
use weir_ledger::periods::{Anchor, Interval};
use weir_ledger::tenant_plans::{PlanEntry, PlansNow};
use weir_settings::yaml::{self, YamlError};

/// The longest customer name, in bytes; Stripe's own have 18.
const CUSTOMER_MAX_BYTES: usize = 255;
/// The longest name of an owner, in characters.
const OWNER_MAX_CHARS: usize = 200;
/// The most budgets of which a tenant has amounts of its own: as many as a configuration has.
const AMOUNTS_MAX: usize = 100;

/// The tenants file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantsFile {
    /// All tenants.
    pub tenants: Vec<TenantEntry>,
    /// Tokens and signing keys that gateways refuse from now on.
    #[serde(default, skip_serializing_if = "Revoked::is_empty")]
    pub revoked: Revoked,
}

/// A tenant in the file: what gateways need, and what billing needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantEntry {
    /// Its id, in quotes if it has digits only. Never reuse it for another tenant.
    #[serde(deserialize_with = "written_as_text")]
    pub id: TenantId,
    /// The name of its plan, in quotes if it has digits only.
    #[serde(deserialize_with = "written_as_text")]
    pub plan: String,
    /// Whether the tenant may use the service.
    #[serde(default)]
    pub state: TenantState,
    /// Its API keys.
    #[serde(default)]
    pub keys: Vec<ApiKey>,
    /// What it is known by beside its id: names, domains, secrets. Other tenants' answers show `[redacted]` in their place
    /// where the gateway's configuration says `redact`. At most 64, each of at most 128 bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identifiers: Vec<String>,
    /// Where it is kept apart from others: isolation, region, endpoint. The upstream learns of it in headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Box<Placement>>,
    /// The person or team that looks after it; messages about the tenant name it. Absent: as `alerts.owners` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its own amounts of budgets, by the budget's name, instead of those that the configuration gives.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "amounts")]
    pub budgets: BTreeMap<String, Pico>,
    /// The Stripe customer that pays, `cus_…`. Absent: its sums are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripe_customer: Option<String>,
    /// The beginning of one of its billing periods, to the second: the `billing_cycle_anchor` of its subscription.
    /// Absent: the anchor that `weir stripe setup` found, else calendar months.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_anchor: Option<Timestamp>,
    /// The length of its billing periods. Absent: `month`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_interval: Option<Interval>,
    /// When the tenant was created; for the time to its first answer. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Its own keys at providers, as gateways learn of them; the database has them.
    #[serde(skip)]
    pub provider_keys: Vec<ProviderKey>,
    /// Whether the operator's key serves it where its own does not.
    #[serde(skip)]
    pub house_key: bool,
}

/// Amounts by name: numbers or decimals in quotes.
fn amounts(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let amount = schemars::json_schema!({"type": ["number", "string"], "examples": [500, "12.50"]});
    schemars::json_schema!({"type": "object", "additionalProperties": amount})
}

/// Reads a text, and refuses what YAML takes for a number or a truth value: a gateway that is given the same lines as JSON or
/// as a structure would refuse them, or know the tenant by another name (`007` as 7).
fn written_as_text<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a text; one that looks like a number is written in quotes")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }
    }
    T::deserialize(deserializer.deserialize_any(Text)?.into_deserializer())
}

/// Why a tenants file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The file cannot be read as YAML.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// The content is not valid.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The problem, and the tenant concerned.
        problem: String,
    },
    /// A tenant cannot be written as JSON.
    #[error("writing a tenant: {0}")]
    Json(#[from] serde_json::Error),
}

/// All tenants at one moment, checked and split into pages.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    state: State,
    names: HashSet<String>,
    customers: HashMap<String, String>,
    warnings: Vec<String>,
    anchors: HashMap<String, Anchor>,
    plans: HashMap<String, String>,
    created: HashMap<String, Timestamp>,
    owners: HashMap<String, String>,
    budgets: HashMap<String, BTreeMap<String, Pico>>,
    left: HashSet<String>,
    suspended: HashSet<String>,
}

impl Snapshot {
    /// Reads and checks the file at `path`. Any error refuses the whole file.
    pub fn load(path: &Path) -> Result<Self, DirectoryError> {
        Self::parse(path, &yaml::read_text(path)?)
    }

    /// Checks `text`, the content of the file at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, DirectoryError> {
        Self::checked(path, yaml::parse(path, text)?, Vec::new())
    }

    /// Checks tenants of the file at `path`. Gateways do not learn of those that have left.
    pub(crate) fn checked(path: &Path, file: TenantsFile, left: Vec<TenantEntry>) -> Result<Self, DirectoryError> {
        let wrong = |problem| DirectoryError::Content { path: path.to_owned(), problem };
        check(&file.tenants).map_err(wrong)?;
        if !file.revoked.fits() {
            let problem = format!("revoked: at most {REVOKED_MAX} names, each of 1 to {REVOKED_MAX_BYTES} bytes");
            return Err(wrong(problem));
        }
        let mut snapshot = Self::of(file.tenants, file.revoked).map_err(|error| wrong(error.to_string()))?;
        left.into_iter().for_each(|entry| drop(snapshot.learn(entry, true)));
        match snapshot.state.too_large() {
            Some(id) => Err(wrong(too_large(id))),
            None => Ok(snapshot),
        }
    }

    fn of(entries: Vec<TenantEntry>, revoked: Revoked) -> Result<Self, serde_json::Error> {
        let mut snapshot = Snapshot { warnings: identifiers::warnings(&entries), ..Snapshot::default() };
        let tenants = entries.into_iter().map(|entry| snapshot.learn(entry, false)).collect::<Vec<_>>();
        snapshot.state = State::new(&tenants, revoked)?;
        Ok(snapshot)
    }

    /// Takes in all of a tenant but what gateways receive, and returns that.
    fn learn(&mut self, entry: TenantEntry, has_left: bool) -> Tenant {
        let id = || entry.id.to_string();
        if has_left {
            self.left.insert(id());
        } else {
            self.left.remove(entry.id.as_str());
        }
        if entry.state == TenantState::Suspended && !has_left {
            self.suspended.insert(id());
        } else {
            self.suspended.remove(entry.id.as_str());
        }
        self.names.insert(id());
        self.plans.insert(id(), entry.plan.clone());
        let anchor = |at| Anchor { at, interval: entry.billing_interval.unwrap_or_default() };
        set(&mut self.anchors, id(), entry.billing_anchor.map(anchor));
        set(&mut self.created, id(), entry.created_at);
        set(&mut self.owners, id(), entry.owner);
        set(&mut self.budgets, id(), Some(entry.budgets).filter(|amounts| !amounts.is_empty()));
        set(&mut self.customers, id(), entry.stripe_customer);
        let TenantEntry { id, plan, state, keys, identifiers, placement, provider_keys, house_key, .. } = entry;
        let (stages, further_stages, hard_budgets) = (Vec::new(), Vec::new(), Vec::new());
        Tenant {
            id,
            plan,
            state,
            keys,
            identifiers,
            placement,
            stages,
            further_stages,
            hard_budgets,
            provider_keys,
            house_key,
        }
    }

    /// What is valid and may not be meant, a sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether there is a tenant of this name.
    pub fn knows(&self, tenant: &str) -> bool {
        self.names.contains(tenant)
    }

    /// Whether a tenant has left: it is archived.
    pub fn has_left(&self, tenant: &str) -> bool {
        self.left.contains(tenant)
    }

    /// Whether gateways refuse a tenant's requests until an operator lets it in again.
    pub fn is_suspended(&self, tenant: &str) -> bool {
        self.suspended.contains(tenant)
    }

    /// How many tenants and keys there are.
    pub fn counts(&self) -> (usize, usize) {
        self.state.counts()
    }

    /// The state that gateways receive.
    pub fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// The version: a hash of everything that gateways receive.
    pub fn version(&self) -> &str {
        self.state.version()
    }

    /// Every tenant.
    pub fn ids(&self) -> &HashSet<String> {
        &self.names
    }

    /// The anchors of the tenants whose entry has one.
    pub fn anchors(&self) -> &HashMap<String, Anchor> {
        &self.anchors
    }

    /// The plan of each tenant.
    pub fn plans(&self) -> &HashMap<String, String> {
        &self.plans
    }

    /// When tenants were created of which the file says so.
    pub fn created(&self) -> &HashMap<String, Timestamp> {
        &self.created
    }

    /// What decides how each tenant pays.
    pub fn plans_now(&self) -> PlansNow {
        let mut now = PlansNow::default();
        self.plans.iter().for_each(|(tenant, plan)| self.put_plan(tenant, plan, &mut now));
        now
    }

    /// The same of one tenant.
    pub fn plan_now(&self, tenant: &str) -> PlansNow {
        let mut now = PlansNow::default();
        if let Some(plan) = self.plans.get(tenant) {
            self.put_plan(tenant, plan, &mut now);
        }
        now
    }

    fn put_plan(&self, tenant: &str, plan: &str, now: &mut PlansNow) {
        let entry = PlanEntry {
            plan: Some(plan.to_owned()),
            created_at: self.created.get(tenant).copied(),
            anchor: self.anchors.get(tenant).copied(),
        };
        let place = if self.left.contains(tenant) { &mut now.left } else { &mut now.present };
        place.insert(tenant.to_owned(), entry);
    }

    /// Who looks after each tenant whose entry says so.
    pub fn owners(&self) -> &HashMap<String, String> {
        &self.owners
    }

    /// Own amounts of budgets, by tenant and budget.
    pub fn budgets(&self) -> &HashMap<String, BTreeMap<String, Pico>> {
        &self.budgets
    }

    /// Customers, by tenant, for tenants that have one.
    pub fn customers(&self) -> &HashMap<String, String> {
        &self.customers
    }
}

fn set<T>(map: &mut HashMap<String, T>, id: String, value: Option<T>) {
    match value {
        Some(value) => drop(map.insert(id, value)),
        None => drop(map.remove(&id)),
    }
}

pub(crate) fn too_large(id: &TenantId) -> String {
    format!("tenant {id} takes more than {PAGE_MAX_BYTES} bytes, which no gateway takes")
}

fn check(tenants: &[TenantEntry]) -> Result<(), String> {
    let keys: usize = tenants.iter().map(|tenant| tenant.keys.len()).sum();
    if tenants.len() > TENANTS_MAX {
        return Err(format!("{} tenants, at most {TENANTS_MAX}", tenants.len()));
    }
    if keys > KEYS_MAX {
        return Err(format!("{keys} keys, at most {KEYS_MAX}"));
    }
    let mut ids = HashSet::new();
    let mut hashes: HashMap<KeyHash, &TenantId> = HashMap::new();
    for tenant in tenants {
        if !ids.insert(&tenant.id) {
            return Err(format!("tenant {} is there twice", tenant.id));
        }
        check_tenant(tenant)?;
        for key in &tenant.keys {
            if let Some(other) = hashes.insert(key.sha256, &tenant.id) {
                return Err(format!("key {} of tenant {} is a key of {other} as well", key.id, tenant.id));
            }
        }
    }
    Ok(())
}

/// Checks what can be said of a tenant without the others.
pub(crate) fn check_tenant(tenant: &TenantEntry) -> Result<(), String> {
    let id = &tenant.id;
    identifiers::check(tenant)?;
    if let Some(key) = tenant.keys.iter().find(|key| placeholder::is_known_hash(&key.sha256)) {
        return Err(format!(
            "key {} of tenant {id}: its sha256 is that of a key in documentation or tutorials, which everybody knows; `weir keys new` makes one",
            key.id
        ));
    }
    if let Some(Err(error)) = tenant.placement.as_ref().map(|placement| placement.check()) {
        return Err(format!("tenant {id}: placement: {error}"));
    }
    check_care(tenant)?;
    if tenant.plan.is_empty() {
        return Err(format!("tenant {id}: its plan has no name"));
    }
    let mut names = HashSet::new();
    if let Some(key) = tenant.keys.iter().find(|key| !names.insert(&key.id)) {
        return Err(format!("tenant {id}: key id {} is there twice", key.id));
    }
    if tenant.billing_anchor.is_some_and(|at| at.as_millis() % 1_000 != 0) {
        return Err(format!("tenant {id}: billing_anchor has fractions of a second; Stripe's have none"));
    }
    if tenant.billing_interval.is_some() && tenant.billing_anchor.is_none() {
        return Err(format!("tenant {id}: billing_interval says nothing without a billing_anchor"));
    }
    match &tenant.stripe_customer {
        Some(customer) if !customer.starts_with("cus_") || customer.len() > CUSTOMER_MAX_BYTES => {
            Err(format!("tenant {id}: stripe_customer {customer:?} does not start with cus_"))
        }
        _ => Ok(()),
    }
}

/// Checks who looks after a tenant, and its own amounts.
fn check_care(tenant: &TenantEntry) -> Result<(), String> {
    let id = &tenant.id;
    let is_long = |owner: &String| owner.chars().count() > OWNER_MAX_CHARS || owner.chars().any(char::is_control);
    if tenant.owner.as_ref().is_some_and(is_long) {
        return Err(format!("tenant {id}: owner has at most {OWNER_MAX_CHARS} printable characters"));
    }
    if tenant.budgets.len() > AMOUNTS_MAX {
        return Err(format!("tenant {id}: {} amounts of budgets, at most {AMOUNTS_MAX}", tenant.budgets.len()));
    }
    match tenant.budgets.iter().find(|(name, amount)| !is_budget_name(name) || **amount < Pico::ZERO) {
        Some((name, _)) => Err(format!("tenant {id}: budgets: {name:?} is no budget's name, or its amount is below 0")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_contract::directory::Page;

    fn parse(text: &str) -> Result<Snapshot, DirectoryError> {
        Snapshot::parse(Path::new("tenants.yaml"), text)
    }

    fn page(snapshot: &Snapshot, cursor: Option<&str>) -> Page {
        serde_json::from_slice(&snapshot.state().page(cursor).expect("json")).expect("a page")
    }

    const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn gateways_learn_tenants_and_not_who_pays() {
        let text = "tenants: [{id: acme, plan: starter, stripe_customer: cus_1}]";
        let snapshot = parse(text).expect("good");
        assert_eq!(page(&snapshot, None).tenants[0].id.as_str(), "acme");
        assert!(!String::from_utf8_lossy(&snapshot.state().page(None).expect("json")).contains("cus_1"));
        assert_eq!(snapshot.customers()["acme"], "cus_1");
    }

    #[test]
    fn a_name_of_digits_in_quotes_is_a_name() {
        let snapshot = parse("tenants: [{id: '12345', plan: \"1\"}]").expect("good");
        assert!(snapshot.knows("12345"));
    }

    #[test]
    fn a_key_that_everybody_knows_is_refused() {
        let hash = KeyHash::of(b"test");
        let error =
            parse(&format!("tenants: [{{id: a, plan: p, keys: [{{id: k, sha256: {hash}}}]}}]")).expect_err("known");
        assert!(
            error.to_string().contains("key k of tenant a") && error.to_string().contains("everybody knows"),
            "{error}"
        );
    }

    #[test]
    fn the_version_changes_with_what_gateways_learn_only() {
        let version = |text| parse(text).expect("good").version().to_owned();
        let base = version("tenants: [{id: acme, plan: starter}]");
        assert_eq!(base, version("tenants: [{id: acme, plan: starter, stripe_customer: cus_1}]"));
        assert_ne!(base, version("tenants: [{id: acme, plan: enterprise}]"));
    }

    #[test]
    fn what_is_revoked_stands_on_the_first_page_and_makes_a_new_version() {
        let before = parse("tenants: [{id: acme, plan: p}]").expect("good");
        let after = parse("{tenants: [{id: acme, plan: p}], revoked: {tokens: [t-1], keys: [old]}}").expect("good");
        assert_ne!(before.version(), after.version());
        assert_eq!(page(&after, None).revoked, Revoked { tokens: vec!["t-1".into()], keys: vec!["old".into()] });
        assert!(parse("{tenants: [], revoked: {tokens: ['']}}").is_err());
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_the_tenants_name() {
        let cases = [
            ("tenants: [{id: a, plan: p}, {id: a, plan: p}]".to_owned(), "twice"),
            (
                format!("tenants: [{{id: a, plan: p, keys: [{{id: k, sha256: {HASH}}}, {{id: k2, sha256: {HASH}}}]}}]"),
                "key k2",
            ),
            ("tenants: [{id: a, plan: p, stripe_customer: acct_1}]".to_owned(), "cus_"),
            ("tenants: [{id: a, plan: ''}]".to_owned(), "tenant a"),
            ("tenants: [{id: 12345, plan: p}]".to_owned(), "written in quotes"),
            ("tenants: [{id: a, plan: 1}]".to_owned(), "written in quotes"),
            ("tenants: [{id: true, plan: p}]".to_owned(), "written in quotes"),
            ("tenants: [{id: a, plan: p, color: red}]".to_owned(), "color"),
        ];
        for (text, needle) in cases {
            let error = parse(&text).expect_err(&text).to_string();
            assert!(error.contains(needle) && error.contains("tenants.yaml"), "{error}");
        }
    }

    #[test]
    fn a_tenant_that_fits_on_no_page_is_refused() {
        let key = |at: usize| format!("{{id: k{at}, sha256: {}}}", KeyHash::of(&at.to_be_bytes()));
        let keys: Vec<String> = (0..3_000).map(key).collect();
        let error = parse(&format!("tenants: [{{id: huge, plan: p, keys: [{}]}}]", keys.join(", "))).expect_err("huge");
        assert!(error.to_string().contains("tenant huge"), "{error}");
    }

    #[test]
    fn many_tenants_come_in_pages_that_hold_together() {
        let lines: String = (0..6_000).map(|i| format!("- {{id: tenant-{i:06}, plan: an-ordinary-plan}}\n")).collect();
        let snapshot = parse(&format!("tenants:\n{lines}")).expect("good");
        let (mut cursor, mut seen) = (None::<String>, 0);
        loop {
            let bytes = snapshot.state().page(cursor.as_deref()).expect("json");
            assert!(bytes.len() <= PAGE_MAX_BYTES);
            let page: Page = serde_json::from_slice(&bytes).expect("a page");
            assert_eq!(page.version, snapshot.version());
            seen += page.tenants.len();
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, 6_000);
    }
}
