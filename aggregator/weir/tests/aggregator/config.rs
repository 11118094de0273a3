//! The configuration: valid files, invalid files, and their errors.
use std::path::Path;

use weir::config::{Config, DEFAULT_GRACE, DEFAULT_LISTEN};

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("weir.yaml"), text).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_is_a_configuration() {
    let config = parse("").expect("good");
    assert_eq!((config.listen, config.grace_ms), (DEFAULT_LISTEN, DEFAULT_GRACE.0));
    assert_eq!(config.meters.names().len(), 5);
    assert!(config.listen.ip().is_loopback() && config.stripe.is_none());
}

#[test]
fn the_example_is_a_good_configuration_and_shows_every_field() {
    let text = include_str!("../../weir.example.yaml");
    let config = parse(text).expect("good");
    assert!(config.stripe.is_some() && config.signing_key.is_some() && config.tenants.file().is_some());
    let file: serde_json::Value = weir_settings::yaml::parse(Path::new("weir.example.yaml"), text).expect("YAML");
    for field in [
        "listen",
        "tls",
        "allow_plaintext",
        "data",
        "tenants",
        "tokens",
        "meters",
        "test_environments",
        "grace",
        "log_retention",
        "log_max_mb",
        "finding_retention",
        "search_retention",
        "signing_key",
        "user_keys",
        "stripe",
        "price_plans",
        "planned",
        "export",
    ] {
        assert!(file.get(field).is_some(), "the example lacks {field}");
    }
}

#[test]
fn other_machines_may_connect_by_tls_or_where_it_is_said() {
    let tls = parse("listen: 0.0.0.0:8090\ntls: {certificate: a.pem, key: b.pem}").expect("good");
    assert!(tls.tls.is_some_and(|files| files.certificate.ends_with("a.pem") && files.client_ca.is_none()));
    assert!(!parse("listen: 0.0.0.0:8090\nallow_plaintext: true").expect("good").listen.ip().is_loopback());
}

#[test]
fn whatever_is_wrong_is_named_with_its_place_and_a_remedy() {
    let key = "stripe: {secret_key: {env: K}, meters:";
    let cases = [
        ("lisen: 1", "weir.yaml:1:1: unknown field"),
        ("grace: soon", "weir.yaml:1:8: \"soon\" is no duration such as 60s"),
        ("listen: here", "weir.yaml:1:9: \"here\" is no address and port such as 127.0.0.1:8090"),
        ("listen: weir.internal:8090", "names other than localhost are not looked up"),
        ("grace: 100d", "grace: must be at most 7d"),
        ("listen: 127.0.0.1:1\n---\nlisten: 127.0.0.1:2", "several documents"),
        ("listen: 0.0.0.0:8090", "say `allow_plaintext: true`"),
        ("listen: '[::]:8090'", "give `tls` a certificate and a key"),
        ("log_max_mb: 1", "log_max_mb: 1 is too few"),
        ("tls: {certificate: a.pem}", "key"),
        ("meters: [{name: Requests, sum: requests}]", "a name is 1 to 64 of a-z 0-9 _"),
        ("meters: [{name: a, sum: requests}, {name: a, sum: requests}]", "twice"),
        ("meters: [{name: a, sum: requests, effective_from: '2026-11-21T03:14:00Z'}]", "full hour"),
        ("meters: [{name: a, sum: clicks}]", "clicks"),
        ("meters: [{name: a, sum: {reading: Storage}}]", "a reading's name is 1 to 64 of a-z 0-9 _"),
        ("meters: [{name: a, sum: {reading: gb}, where: {plan: [x]}}]", "`where` and `weights` cannot choose"),
        ("meters: [{name: a, sum: {reading: gb}, weights: {response_model: {a: 1}}}]", "`where` and `weights` cannot"),
        ("meters: [{name: a, sum: {reading: gb}, weight: 0.0001}]", "at most three decimals"),
        ("meters: [{name: a, sum: requests, where: {user: [x]}}]", "user"),
        (&format!("{key} {{clicks: weir_clicks}}}}"), "there is no meter \"clicks\""),
        (&format!("{key} {{}}, url: 'ftp://x'}}"), "stripe.url"),
        (&format!("{key} {{}}, calls_per_second: 0}}"), "stripe.calls_per_second: must be 1 to 1000"),
        (&format!("{key} {{}}, concurrency: 1000}}"), "stripe.concurrency"),
    ];
    for (text, needle) in cases {
        let error = parse(text).expect_err(text);
        assert!(error.contains(needle) && error.contains("weir.yaml"), "{text}\n{error}");
    }
}

#[test]
fn a_token_says_once_what_it_is_and_what_it_opens() {
    let hash = "0".repeat(64);
    let cases = [
        ("{name: t, scopes: [ingest]}".to_owned(), "exactly one of sha256, env and file"),
        (format!("{{name: t, scopes: [ingest], sha256: {hash}, env: X}}"), "exactly one"),
        (format!("{{name: t, scopes: [], sha256: {hash}}}"), "give it scopes"),
        (format!("{{name: t, scopes: [ingest], gateway: 'a b', sha256: {hash}}}"), "gateway"),
        ("{name: t, scopes: [ingest], env: WEIR_TEST_NOT_SET}".to_owned(), "WEIR_TEST_NOT_SET is not set"),
    ];
    for (token, needle) in cases {
        let error = parse(&format!("tokens: [{token}]")).and_then(|c| c.tokens().map_err(|e| e.to_string()));
        let error = error.expect_err(&token);
        assert!(error.contains(needle), "{token}\n{error}");
    }
    let good = parse(&format!("tokens: [{{name: t, scopes: [ingest], sha256: {hash}}}]")).expect("good");
    assert!(good.tokens().is_ok());
}

#[test]
fn localhost_is_the_loopback_address_and_nothing_else_is_looked_up() {
    assert_eq!(parse("listen: localhost:8090").expect("good").listen, DEFAULT_LISTEN);
    assert!(parse("listen: localhost").is_err());
}

#[test]
fn what_is_read_at_the_start_only_is_named_when_it_changes() {
    let before = parse("grace: 10m\ntokens: []").expect("good");
    let after = parse("grace: 20m\nlog_max_mb: 64\ndata: elsewhere").expect("good");
    assert_eq!(before.differs(&after), ["data", "grace", "log_max_mb"]);
    assert!(before.differs(&parse("grace: 600s").expect("good")).is_empty());
}

/// The blocks of YAML on a page of the documentation.
fn blocks(page: &str) -> Vec<&str> {
    page.split("```yaml weir\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_documented_provisioning_is_good_and_what_it_must_not_say_is_refused() {
    let blocks = blocks(include_str!("../../../../docs/provisioning.md"));
    let [block] = blocks.as_slice() else { panic!("{} blocks", blocks.len()) };
    parse(block).expect("good");
    for (from, to, problem) in [
        ("tenants_database: true", "tenants: t.yaml", "tenants_database"),
        ("price_starter_fee", "starter_fee", "price_…"),
        ("name: docs ", "name: Docs ", "1 to 40 of a-z"),
        ("dimension: 1536", "dimension: 0", "1 to 65535"),
        ("store: qdrant", "store: pinecone", "aws/us-east-1"),
        ("wait: 5m", "wait: 2h", "at most 1h"),
        ("https://crm.example.com/weir", "crm", "http or https"),
        ("https://qdrant.example.com:6333", "qdrant", "http or https"),
    ] {
        let changed = block.replace(from, to);
        assert_ne!(changed, *block, "{from}");
        let error = parse(&changed).expect_err(to);
        assert!(error.contains("provisioning") && error.contains(problem), "{to}: {error}");
    }
    let without = "tenants_database: true\nprovisioning: {stripe: {}}\n";
    assert!(parse(without).expect_err("no stripe").contains("no `stripe`"));
    parse("tenants_database: true\nprovisioning: {}\n").expect("nothing but the record");
}
