//! The server's configuration: one YAML file, and the checked settings made from it.
//!
//! `weir.example.yaml` shows every field.
pub mod alerts;
mod budgets;
pub mod catalogue;
pub mod export;
pub mod finances;
mod flags;
pub mod home;
pub mod leases;
pub mod ledger;
mod log;
pub mod node;
pub mod prices;
pub mod provisioning;
mod redis;
pub(crate) mod shared;
mod stripe;
pub mod tls;
pub mod tokens;
pub mod ui;
pub mod vault;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use alerts::Alerts;
use catalogue::Catalogue;
use export::{Export, ExportFile};
use finances::{Finances, FinancesError, Planned};
use home::TenantsHome;
use leases::{LeaseSettings, LeasesFile};
use ledger::LedgerPlace;
use log::LogFile;
use node::{NodeFile, NodeSettings};
use prices::PriceSources;
use provisioning::{Provisioning, ProvisioningFile};
use shared::Shared;
use stripe::StripeFile;
pub use stripe::{StripeApi, StripeConfig};
use tls::TlsFiles;
use tokens::{TokenConfig, TokenError, Tokens};
use ui::{Ui, UiFile};
use vault::{VaultConfig, VaultFile};
use weir_contract::flags::Flags;
use weir_contract::signed::KeyTooShort;
use weir_contract::user::UserKey;
use weir_event_log::place::LogPlace;
use weir_filter::config::routing;
use weir_ledger::cost::Rules;
use weir_ledger::meters::{self, Meter, MeterError, Meters};
use weir_money::other::{self, OtherCost};
use weir_money::plans::file::PricePlanFile;
use weir_money::prices::file::{PricesError, PricesFile};
use weir_settings::duration::Millis;
use weir_settings::postgres::PostgresServer;
use weir_settings::secret::{SecretError, SecretSource};
use weir_settings::yaml::located::Node;
use weir_settings::yaml::{self, YamlError};
use weir_steer::budget::{Budget, BudgetError};
use weir_steer::file::BudgetFile;
use weir_steer::receiver::AlertsFile;

/// The default address: loopback, so that no port is open by accident.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8090);
/// The default grace of a window after its end: longer than a worker retries its last batch.
pub const DEFAULT_GRACE: Millis = Millis(10 * 60 * 1000);
/// The longest `grace`: a week covers a gateway that was cut off over a long weekend, and leaves Stripe its 35 days.
const GRACE_MAX: Millis = Millis(7 * 24 * 60 * 60 * 1000);
/// The most keys of users: one for each gateway that has its own, and one before each.
const USER_KEYS_MAX: usize = 8;
/// The default retention of bodies in the event log: longer than ids are remembered.
pub(crate) const DEFAULT_LOG_RETENTION: Millis = Millis(45 * 24 * 3_600 * 1000);
/// The default retention of findings about the borders between tenants: auditors ask about the last year.
pub(crate) const DEFAULT_FINDING_RETENTION: Millis = Millis(400 * 24 * 3_600 * 1000);
/// The default retention of searches of vector stores.
pub(crate) const DEFAULT_SEARCH_RETENTION: Millis = Millis(90 * 24 * 3_600 * 1000);

/// The smallest bound of the event log, in megabytes.
const LOG_MAX_MB_MIN: u32 = 16;

/// The configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigFile {
    /// Where to listen: address and port; `localhost:8090` is `127.0.0.1:8090`. Absent: `127.0.0.1:8090`, so that nothing is open by
    /// accident.
    #[serde(default, deserialize_with = "read_listen")]
    pub listen: Option<SocketAddr>,
    /// TLS for `listen`. Absent: plain HTTP, for this machine only.
    pub tls: Option<TlsFiles>,
    /// Allows other machines to reach `listen` without TLS. Use it only behind a proxy that terminates TLS, or on a
    /// closed network. Absent: `false`.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// The directory of event log, ledger, outbox and tenants, relative to this file. Absent: `weir-data`.
    pub data: Option<PathBuf>,
    /// Where the event log is. Absent: in `data`.
    pub log: Option<LogFile>,
    /// The PostgreSQL that holds the ledger and the outbox, tenants and leases. Absent: they are in `data`.
    pub ledger: Option<PostgresServer>,
    /// This server's name and address, where several `weir serve` share one event log and one ledger: one of them owns both, and the others
    /// pass requests on to it. Needs `log` and `ledger` elsewhere. Absent: this server is the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeFile>,
    /// The center of limits with `scope: fleet`. Absent: this server alone, in `data`.
    pub leases: Option<LeasesFile>,
    /// The tenants file, relative to this file; watched for changes. Absent: gateways receive no tenants, and nobody is
    /// billed.
    pub tenants: Option<PathBuf>,
    /// Keeps tenants and keys in a database instead of a file: `weir tenants`, `weir keys` and the API change them. Not
    /// together with `tenants`; `weir tenants import` moves a file's tenants there. Absent: `false`.
    #[serde(default)]
    pub tenants_database: bool,
    /// Tokens and their scopes, at most 64. Without any, only commands on this machine have access.
    #[serde(default)]
    pub tokens: Vec<TokenConfig>,
    /// The meters. Absent: requests, input, output, cached input and reasoning tokens.
    pub meters: Option<Vec<Meter>>,
    /// Environments whose usage is never billed. Absent: `test`.
    pub test_environments: Option<Vec<String>>,
    /// How long a window (a UTC hour) stays open for late events after its end. Absent: `10m`.
    pub grace: Option<Millis>,
    /// How long bodies of events stay in the event log; sums stay for ever. Absent: `45d`.
    pub log_retention: Option<Millis>,
    /// The largest size of the event log on disk, in megabytes, at least 16. When it is full, batches are answered 503
    /// until the oldest bodies are past `log_retention`. Absent: no bound.
    pub log_max_mb: Option<u32>,
    /// How long findings about the borders between tenants are kept, for `weir audit security`. Absent: `400d`.
    pub finding_retention: Option<Millis>,
    /// How long single searches of vector stores are kept, for `weir audit searches`. Absent: `90d`.
    pub search_retention: Option<Millis>,
    /// The key with which gateways sign spilled events; for `weir replay`.
    pub signing_key: Option<SecretSource>,
    /// The gateways' `events.user_key`, current and earlier ones, at most 8; for `weir user forget`.
    #[serde(default)]
    pub user_keys: Vec<SecretSource>,
    /// Reporting to Stripe. Absent: nothing is reported.
    pub stripe: Option<StripeFile>,
    /// What providers charge. Absent: the shipped list of public prices.
    pub prices: Option<PricesFile>,
    /// Costs that no request causes, such as GPU hours: each is a reading with a price. Absent: none.
    #[serde(default)]
    pub other_costs: Vec<OtherCost>,
    /// What tenants pay: for margins, comparisons and replays. Nothing is billed from it. Changes apply without a restart.
    #[serde(default)]
    pub price_plans: Vec<PricePlanFile>,
    /// Receivers of every accepted event, at most 4: over HTTP, in a stream of a Redis, or in a topic of a Kafka. Absent: none.
    #[serde(default)]
    pub export: Vec<ExportFile>,
    /// Planned cost and revenue of tenants, by month, for the weekly review.
    #[serde(default)]
    pub planned: Vec<Planned>,
    /// How much tenants may use, at most 100 budgets. Gateways learn of their stages, and plans say what a stage does. Changes apply
    /// without a restart.
    #[serde(default)]
    pub budgets: Vec<BudgetFile>,
    /// Who is told when a budget changes its stage. Changes apply without a restart.
    #[serde(default)]
    pub alerts: AlertsFile,
    /// The vault of tenants' own keys at providers; needs `tenants_database`. Changes apply without a restart. Absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultFile>,
    /// The feature flags, by name, at most 32: their types, defaults and first rules. `weir flags` sets other rules at run time.
    /// Changes apply without a restart.
    #[serde(default, skip_serializing_if = "Flags::is_empty")]
    pub flags: Flags,
    /// The dashboard under `/ui`. Absent: there is one, and it shows nothing before a person has signed in with a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ui: Option<UiFile>,
    /// The providers of models, at most 32, for gateways whose filter says `routing: {from: directory}`. Each of these gateways has
    /// providers of the same names, dialects and regions. Changes apply without a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<routing::Provider>,
    /// Their models, at most 256. `weir models` shows them with live figures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<routing::Model>,
    /// How these gateways choose among the models. Absent: each gateway by its own configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<routing::Routing>,
    /// What happens beside the tenant's record when a tenant comes or goes by `weir tenants provision` and `deprovision`; needs
    /// `tenants_database`. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning: Option<ProvisioningFile>,
}

/// The settings, after validation.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address and port.
    pub listen: SocketAddr,
    /// Certificate and key; None means plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The data directory.
    pub data: PathBuf,
    /// The event log; None means in the data directory.
    pub log: Option<LogPlace>,
    /// The ledger; None means in the data directory.
    pub ledger: Option<LedgerPlace>,
    /// This server among several; None means that it is the only one.
    pub node: Option<NodeSettings>,
    /// The center of fleet-wide limits.
    pub leases: LeaseSettings,
    /// Where tenants are kept.
    pub tenants: TenantsHome,
    /// The tokens; [`Config::tokens`] reads their secrets.
    pub tokens: Vec<TokenConfig>,
    /// The meters.
    pub meters: Meters,
    /// How long a window stays open after its end, in milliseconds.
    pub grace_ms: u64,
    /// How long bodies stay in the event log, in milliseconds.
    pub log_retention_ms: u64,
    /// How long findings about the borders between tenants are kept.
    pub finding_retention_ms: u64,
    /// How long searches of vector stores are kept.
    pub search_retention_ms: u64,
    /// The largest size of the event log's file, in bytes.
    pub log_max_bytes: Option<u64>,
    /// Reporting to Stripe.
    pub stripe: Option<StripeConfig>,
    /// What providers charge.
    pub prices: PriceSources,
    /// Costs that no request causes.
    pub other_costs: Vec<OtherCost>,
    /// The place of the key for `weir replay`.
    pub signing_key: Option<SecretSource>,
    /// What tenants pay, and what is planned.
    pub finances: Finances,
    /// How much tenants may use.
    pub budgets: Vec<Budget>,
    /// Who is told of their stages.
    pub alerts: Alerts,
    /// The vault of tenants' own keys at providers.
    pub vault: Option<VaultConfig>,
    /// The feature flags.
    pub flags: Flags,
    /// The catalogue of models that gateways fetch.
    pub catalogue: Option<Catalogue>,
    /// What happens when a tenant comes or goes.
    pub provisioning: Provisioning,
    /// The places of the keys under which gateways name users.
    pub user_keys: Vec<SecretSource>,
    /// Receivers of every accepted event.
    pub export: Vec<Export>,
    /// The dashboard.
    pub ui: Ui,
    /// Digests of what other nodes must have alike.
    pub(crate) shared: Shared,
    /// The file's directory, where relative paths start.
    pub base: PathBuf,
    /// The file.
    pub path: PathBuf,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read as YAML.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// A meter is not valid.
    #[error("{}: meters: {source}", path.display())]
    Meter {
        /// The file.
        path: PathBuf,
        /// The problem.
        source: MeterError,
    },
    /// Price plans or planned numbers are not valid.
    #[error("{}:{line}:{column}: {source}", path.display())]
    Finances {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// Counted from 1.
        column: u64,
        /// The field, the problem and its remedy.
        source: Box<FinancesError>,
    },
    /// A budget is not valid.
    #[error("{}:{line}:{column}: {source}", path.display())]
    Budgets {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// Counted from 1.
        column: u64,
        /// The budget, the field, the problem and its remedy.
        source: Box<BudgetError>,
    },
    /// A token is not valid.
    #[error("{}: tokens: {source}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// The problem.
        source: TokenError,
    },
    /// Another field is not valid.
    #[error("{}: {field}: {problem}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// The problem and its remedy.
        problem: String,
    },
    /// The catalogue of models is not valid.
    #[error("{}: {source}", path.display())]
    Catalogue {
        /// The file.
        path: PathBuf,
        /// The field, the problem and its remedy.
        source: weir_filter::config::ConfigError,
    },
    /// Prices cannot be used.
    #[error(transparent)]
    Prices(#[from] PricesError),
    /// A secret cannot be read.
    #[error("{field}: {source}")]
    Secret {
        /// The field.
        field: &'static str,
        /// The problem.
        source: SecretError,
    },
}

impl ConfigFile {
    /// Whether a mapping with these fields is meant as the server's configuration: most of them are its own.
    pub(crate) fn is_meant_by<'a>(fields: impl Iterator<Item = &'a str>) -> bool {
        let schema = schemars::schema_for!(ConfigFile);
        let own = |name: &str| schema.get("properties").is_some_and(|properties| properties.get(name).is_some());
        let (known, others): (Vec<&str>, Vec<&str>) = fields.partition(|name| own(name));
        !known.is_empty() && known.len() >= others.len()
    }
}

impl Config {
    /// Reads and validates the file at `path`, and what it says together with its files of prices.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = yaml::read_text(path)?;
        let config = Self::parse(path, &text)?;
        if !config.prices.files().is_empty() {
            budgets::check_currencies((path, &text), &config.budgets, &config.prices)?;
        }
        Ok(config)
    }

    /// What is good of the file at `path`, field by field, beside the defaults; of a file that is no YAML only `data`. For commands that
    /// a running server answers: they need to know where it is.
    pub(crate) fn good_part(path: &Path) -> Option<Self> {
        let text = yaml::read_text(path).unwrap_or_default();
        let fields = match Node::parse(path, &text).map(|node| node.value()) {
            Ok(Value::Object(fields)) => fields,
            _ => data_line(&text).map(|data| ("data".to_owned(), data)).into_iter().collect(),
        };
        let parse = |fields: &Map<String, Value>| Self::parse(path, &Value::Object(fields.clone()).to_string());
        let mut good = Map::new();
        // Some fields need others: those that come later in the file are there in the second round.
        for (name, value) in fields.iter().chain(&fields) {
            let mut with = good.clone();
            with.insert(name.clone(), value.clone());
            if parse(&with).is_ok() {
                good = with;
            }
        }
        parse(&good).ok()
    }

    /// Validates `text`, the content of the file at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        // An empty file is valid: every field has a default.
        let file = if text.trim().is_empty() { ConfigFile::default() } else { yaml::parse(path, text)? };
        let (listen, shared) = (check_listen(path, &file)?, Shared::of(&file));
        let base = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        let test = file.test_environments.unwrap_or_else(|| vec!["test".to_owned()]);
        let meters = Meters::new(file.meters.unwrap_or_else(meters::defaults), test)
            .map_err(|source| ConfigError::Meter { path: path.to_owned(), source })?
            .with_costs(check_other_costs(path, &file.other_costs)?);
        let stripe = file.stripe.map(|stripe| stripe::check(path, stripe, &meters)).transpose()?;
        let finances = finances::check(path, text, file.price_plans, file.planned, meters.names())?;
        let tenants = check_tenants(path, &base, file.tenants, file.tenants_database)?;
        let vault = file.vault.map(|file| vault::check(path, &tenants, file)).transpose()?;
        let provisioning = provisioning::check(path, &tenants, stripe.is_some(), file.provisioning)?;
        let log_max_bytes = check_log_max(path, file.log_max_mb, file.log.is_some())?;
        let log_retention_ms = file.log_retention.unwrap_or(DEFAULT_LOG_RETENTION).0;
        let needed = (file.log.is_some(), file.ledger.is_some());
        let node = file.node.map(|node| node.check(path, &base, needed, file.allow_plaintext)).transpose()?;
        let log = file.log.map(|log| log.check(path, &base, Duration::from_millis(log_retention_ms))).transpose()?;
        let flags = flags::check(path, file.flags)?;
        let catalogue = catalogue::check(path, (file.providers, file.models, file.routing), &flags)?;
        let prices = PriceSources::new(path, &base, text, file.prices.unwrap_or_default())?;
        let budgets = budgets::check((path, text), &file.budgets, &finances)?;
        if prices.files().is_empty() {
            budgets::check_currencies((path, text), &budgets, &prices)?;
        }
        Ok(Config {
            listen,
            ui: ui::check(path, file.ui, listen, file.tls.is_some())?,
            tls: file.tls.map(|tls| tls.within(&base)),
            node,
            leases: file.leases.unwrap_or_default().check(path, &base)?,
            data: base.join(file.data.unwrap_or_else(|| "weir-data".into())),
            tenants,
            vault,
            flags,
            catalogue,
            provisioning,
            tokens: file.tokens,
            meters,
            grace_ms: check_grace(path, file.grace)?,
            log_retention_ms,
            log_max_bytes,
            finding_retention_ms: file.finding_retention.unwrap_or(DEFAULT_FINDING_RETENTION).0,
            search_retention_ms: file.search_retention.unwrap_or(DEFAULT_SEARCH_RETENTION).0,
            stripe,
            other_costs: file.other_costs,
            prices,
            signing_key: file.signing_key,
            finances,
            alerts: alerts::check(path, &file.alerts, &budgets)?,
            budgets,
            user_keys: check_user_keys(path, file.user_keys)?,
            export: export::check(path, &base, file.export, log.as_ref())?,
            log,
            ledger: file.ledger.map(|server| LedgerPlace::new(server, &base)),
            shared,
            base,
            path: path.to_owned(),
        })
    }

    /// The settings, but for tokens, that differ from those of `other`: they are read at the start only.
    pub fn differs(&self, other: &Config) -> Vec<&'static str> {
        let listed = |config: &Config| {
            [
                ("listen", format!("{:?}", config.listen)),
                ("tls", format!("{:?}", config.tls)),
                ("data", format!("{:?}", config.data)),
                ("log", format!("{:?}", config.log)),
                ("ledger", format!("{:?}", config.ledger)),
                ("node", format!("{:?}", config.node)),
                ("leases", format!("{:?}", config.leases)),
                ("tenants", format!("{:?}", config.tenants)),
                ("meters", format!("{:?}", config.meters)),
                ("grace", config.grace_ms.to_string()),
                ("log_retention", config.log_retention_ms.to_string()),
                ("log_max_mb", format!("{:?}", config.log_max_bytes)),
                ("finding_retention", config.finding_retention_ms.to_string()),
                ("search_retention", config.search_retention_ms.to_string()),
                ("signing_key", format!("{:?}", config.signing_key)),
                ("user_keys", format!("{:?}", config.user_keys)),
                ("stripe", format!("{:?}", config.stripe)),
                ("other_costs", format!("{:?}", config.other_costs)),
                ("export", format!("{:?}", config.export)),
                ("provisioning", format!("{:?}", config.provisioning)),
                ("ui", format!("{:?}", config.ui)),
            ]
        };
        let pairs = listed(self).into_iter().zip(listed(other));
        pairs.filter(|(ours, theirs)| ours != theirs).map(|((name, _), _)| name).collect()
    }

    /// What the ledger counts by. Reads the files of prices.
    pub fn rules(&self) -> Result<Rules, ConfigError> {
        Ok(Rules { meters: self.meters.clone(), prices: Some(self.prices.read()?) })
    }

    /// Reads the tokens.
    pub fn tokens(&self) -> Result<Tokens, ConfigError> {
        Tokens::read(&self.tokens, &self.base).map_err(|source| ConfigError::Token { path: self.path.clone(), source })
    }

    /// Reads the keys under which gateways name users.
    pub fn user_keys(&self) -> Result<Vec<UserKey>, ConfigError> {
        let field = "user_keys";
        let read = |source: &SecretSource| {
            let secret = source.read(&self.base).map_err(|source| ConfigError::Secret { field, source })?;
            let wrong =
                |error: KeyTooShort| ConfigError::Field { path: self.path.clone(), field, problem: error.to_string() };
            UserKey::new(secret.expose().as_bytes()).map_err(wrong)
        };
        self.user_keys.iter().map(read).collect()
    }
}

/// Reads an address. Accepts no names but `localhost`, because other names may have several addresses.
fn read_listen<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let numbers = text.strip_prefix("localhost:").map_or_else(|| text.clone(), |port| format!("127.0.0.1:{port}"));
    let wrong = |_| {
        serde::de::Error::custom(format!(
            "{text:?} is no address and port such as 127.0.0.1:8090 or [::1]:8090; names other than localhost are not looked up"
        ))
    };
    numbers.parse().map(Some).map_err(wrong)
}

/// The value of `data` in a file that is no YAML as a whole.
fn data_line(text: &str) -> Option<Value> {
    let line = text.lines().find(|line| line.starts_with("data:"))?;
    Node::parse(Path::new("data"), line).ok()?.value().get("data").cloned()
}

/// Tenants have one home: two would say different things of one tenant.
fn check_tenants(path: &Path, base: &Path, file: Option<PathBuf>, database: bool) -> Result<TenantsHome, ConfigError> {
    match (file, database) {
        (Some(_), true) => {
            let problem =
                "give `tenants` or `tenants_database`, not both; `weir tenants import` moves a file's tenants \
                           into the database"
                    .to_owned();
            Err(ConfigError::Field { path: path.to_owned(), field: "tenants_database", problem })
        }
        (Some(file), false) => Ok(TenantsHome::File(base.join(file))),
        (None, true) => Ok(TenantsHome::Database),
        (None, false) => Ok(TenantsHome::Nowhere),
    }
}

/// Refuses a longer grace as a mistake: weir would report nothing for that time.
fn check_grace(path: &Path, grace: Option<Millis>) -> Result<u64, ConfigError> {
    match grace.unwrap_or(DEFAULT_GRACE) {
        Millis(grace) if grace <= GRACE_MAX.0 => Ok(grace),
        _ => {
            let problem = "must be at most 7d: an hour is not reported before its grace is over".to_owned();
            Err(ConfigError::Field { path: path.to_owned(), field: "grace", problem })
        }
    }
}

/// Checks the rules, and returns the names of their readings.
fn check_other_costs(path: &Path, rules: &[OtherCost]) -> Result<Vec<String>, ConfigError> {
    other::check(rules).map_err(|(number, field, problem)| {
        let problem = format!("[{number}].{field}: {problem}");
        ConfigError::Field { path: path.to_owned(), field: "other_costs", problem }
    })?;
    Ok(rules.iter().map(|rule| rule.reading.clone()).collect())
}

fn check_user_keys(path: &Path, keys: Vec<SecretSource>) -> Result<Vec<SecretSource>, ConfigError> {
    if keys.len() > USER_KEYS_MAX {
        let problem = format!("at most {USER_KEYS_MAX}");
        return Err(ConfigError::Field { path: path.to_owned(), field: "user_keys", problem });
    }
    Ok(keys)
}

fn check_log_max(path: &Path, megabytes: Option<u32>, elsewhere: bool) -> Result<Option<u64>, ConfigError> {
    match megabytes {
        Some(_) if elsewhere => {
            let problem = "bounds the log in `data`; elsewhere set it there: `maxmemory` of a Redis".to_owned();
            Err(ConfigError::Field { path: path.to_owned(), field: "log_max_mb", problem })
        }
        Some(too_few) if too_few < LOG_MAX_MB_MIN => {
            let problem = format!("{too_few} is too few: a few large batches fill it; at least {LOG_MAX_MB_MIN}");
            Err(ConfigError::Field { path: path.to_owned(), field: "log_max_mb", problem })
        }
        megabytes => Ok(megabytes.map(|megabytes| u64::from(megabytes) * 1024 * 1024)),
    }
}

/// Refuses plaintext on a network unless explicitly allowed, because it would expose tokens.
fn check_listen(path: &Path, file: &ConfigFile) -> Result<SocketAddr, ConfigError> {
    let listen = file.listen.unwrap_or(DEFAULT_LISTEN);
    if listen.ip().is_loopback() || file.tls.is_some() || file.allow_plaintext {
        return Ok(listen);
    }
    let problem = format!(
        "{listen} can be reached by other machines, and tokens would cross the network in the clear: give `tls` a \
         certificate and a key, or say `allow_plaintext: true` where something in front ends TLS"
    );
    Err(ConfigError::Field { path: path.to_owned(), field: "listen", problem })
}
