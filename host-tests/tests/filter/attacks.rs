//! Attacks on identity, each by its name: what is sent, and what it is answered. Every one is tried with a good request
//! beside it, so that a filter which refuses everything would fail as well.
use crate::common::{ACME, GLOBEX, config};
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_host_tests::host::Profile;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, GatewayBuilder, Request, get, ok, post, request};

/// Tokens of acme that OpenSSL has signed, one of every algorithm, and their keys.
fn golden() -> Value {
    serde_json::from_str(include_str!("../../../filter/golden/tokens.json")).expect("json")
}

/// acme's token of an algorithm.
fn token(algorithm: &str) -> String {
    let golden = golden();
    let tokens = golden["tokens"].as_array().expect("tokens");
    let entry = tokens.iter().find(|entry| entry["algorithm"] == algorithm).expect("an algorithm");
    entry["token"].as_str().expect("text").to_owned()
}

/// Keys and tokens of one issuer, a suspended tenant, a trusted hop, a domain.
fn guarded() -> Value {
    let mut config = config();
    config["plans"]["starter"] = json!({});
    config["identity"] = json!({
        "sources": [
            {"api_key": {"header": "authorization", "prefix": "sk_weir_"}},
            {"jwt": {"issuer": "https://vectors.example.com", "audiences": ["api"], "tenant_claim": "org.id",
                     "user_claim": "sub", "jwks": {"keys": golden()["keys"]}}},
            {"header": {"header": "x-edge-tenant", "networks": ["10.0.0.0/8"]}},
        ],
        "subdomain": {"domain": "api.example.com"},
    });
    let tenants = config["tenants"].as_array_mut().expect("tenants");
    let key = json!({"id": "key_s", "sha256": KeyHash::of(b"sk_weir_suspended")});
    tenants.push(json!({"id": "initech", "plan": "starter", "state": "suspended", "keys": [key]}));
    let key = json!({"id": "key_e", "sha256": KeyHash::of(b"sk_weir_expired"), "expires": "2026-01-01T00:00:00Z"});
    tenants.push(json!({"id": "hooli", "plan": "starter", "keys": [key]}));
    config["routes"] = json!([
        {"match": {"path": "/healthz"}, "bypass": true},
        {"match": {"path": "/public"}, "anonymous": true},
        {"match": {"path": "/socket"}, "upgrade": true},
        {"match": {"path_prefix": "/v1/files"}, "permit": ["files"], "class": "other"},
    ]);
    config
}

fn start(gateway: GatewayBuilder) -> Gateway {
    gateway.config(guarded()).start()
}

fn chat() -> Request {
    post("/v1/chat/completions").json(&json!({"model": "gpt-4o", "messages": []}))
}

/// Refused with this status, and nothing reaches the upstream.
fn refused(gateway: &Gateway, name: &str, request: Request, status: u16) {
    let reply = gateway.send(request).reply();
    assert_eq!(reply.status(), status, "{name}: {}", reply.text());
}

/// The same token with another header or payload: its signature is of the old one.
fn with_header(header: &Value, token: &str) -> String {
    let (_, rest) = token.split_once('.').expect("a token");
    format!("{}.{rest}", base64(header.to_string().as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = |chunk: &[u8]| {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(move |at| DIGITS[(bits >> (18 - 6 * at)) as usize & 63] as char).collect::<String>()
    };
    bytes.chunks(3).map(digits).collect()
}

on_both_gateways! {
    fn a_token_of_every_algorithm_is_good_and_a_spoilt_one_is_not(gateway) {
        let gateway = start(gateway);
        for algorithm in ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "ES256", "EdDSA"] {
            let good = gateway.send(chat().bearer(&token(algorithm))).upstream(ok());
            assert_eq!(good.upstream_request().header("x-tenant-id"), Some("acme"), "{algorithm}");
            let mut spoilt = token(algorithm);
            let last = spoilt.split_off(spoilt.len() - 6);
            spoilt.push_str(if last == "AAAAAA" { "BBBBBA" } else { "AAAAAA" });
            refused(&gateway, algorithm, chat().bearer(&spoilt), 401);
            gateway.advance(weir_host_tests::scenario::secs(1));
        }
    }

    fn tokens_with_another_header_are_refused(gateway) {
        let gateway = start(gateway);
        let rs = token("RS256");
        let cases = [
            ("none", json!({"alg": "none"})),
            ("none with a key", json!({"alg": "none", "kid": "rs256"})),
            ("algorithm confusion", json!({"alg": "HS256", "kid": "rs256"})),
            ("another algorithm of the key", json!({"alg": "RS512", "kid": "rs256"})),
            ("key id injection", json!({"alg": "RS256", "kid": "../../etc/passwd"})),
            ("key id of SQL", json!({"alg": "RS256", "kid": "' OR 1=1 --"})),
            ("a key brought along", json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}})),
            ("a key elsewhere", json!({"alg": "RS256", "jku": "https://evil.example.com"})),
            ("critical extension", json!({"alg": "RS256", "kid": "rs256", "crit": ["b64"], "b64": false})),
            ("no algorithm", json!({"kid": "rs256"})),
            ("a number for an algorithm", json!({"alg": 256})),
        ];
        for (name, header) in cases {
            refused(&gateway, name, chat().bearer(&with_header(&header, &rs)), 401);
        }
        let (signed, _) = rs.rsplit_once('.').expect("a token");
        refused(&gateway, "no signature", chat().bearer(&format!("{signed}.")), 401);
        gateway.send(chat().bearer(&rs)).upstream(ok()).assert_status(200);
    }

    fn an_expired_token_and_one_for_others_are_refused(gateway) {
        let mut other = guarded();
        other["identity"]["sources"][1]["jwt"]["audiences"] = json!(["somebody else"]);
        let elsewhere = gateway.clone().config(&other).start();
        refused(&elsewhere, "wrong audience", chat().bearer(&token("HS256")), 401);
        other["identity"]["sources"][1]["jwt"]["issuer"] = json!("https://other.example.com");
        let foreign = gateway.clone().config(&other).start();
        refused(&foreign, "foreign issuer", chat().bearer(&token("HS256")), 401);
        let late = gateway.config(guarded()).at("2100-01-01T00:00:30Z").start();
        let reply = late.send(chat().bearer(&token("HS256"))).reply();
        assert_eq!((reply.status(), &reply.json()["error"]["message"]), (401, &json!("The token has expired. Get a new one and try again.")));
    }

    fn a_token_or_its_key_is_revoked(gateway) {
        let mut config = guarded();
        config["revoked"] = json!({"tokens": ["token-hs256"], "keys": ["es256"]});
        let gateway = gateway.config(&config).start();
        refused(&gateway, "revoked token", chat().bearer(&token("HS256")), 401);
        refused(&gateway, "revoked key", chat().bearer(&token("ES256")), 401);
        gateway.send(chat().bearer(&token("HS384"))).upstream(ok()).assert_status(200);
    }

    fn keys_that_are_not_good_are_refused(gateway) {
        let gateway = start(gateway);
        let cases = [
            ("unknown key", "sk_weir_nobody", 401),
            ("its prefix alone", "sk_weir_", 401),
            ("the hash of a key", &KeyHash::of(ACME.as_bytes()).to_string(), 401),
            ("a key in another case", "SK_WEIR_ACME", 401),
            ("expired key", "sk_weir_expired", 401),
            ("suspended tenant", "sk_weir_suspended", 403),
        ];
        for (name, key, status) in cases {
            refused(&gateway, name, chat().bearer(key), status);
        }
        gateway.send(chat().bearer(ACME)).upstream(ok()).assert_status(200);
    }

    fn two_credentials_of_two_tenants_are_refused_and_two_of_one_are_not(gateway) {
        let gateway = start(gateway);
        refused(&gateway, "key and token", chat().bearer(GLOBEX).bearer(&token("HS256")), 401);
        refused(&gateway, "good and bad", chat().bearer(ACME).bearer("sk_weir_nobody"), 401);
        refused(&gateway, "too many", (0..5).fold(chat(), |request, _| request.bearer(ACME)), 401);
        let two = gateway.send(chat().bearer(ACME).bearer(&token("HS256"))).upstream(ok());
        // Kong can take neither of two copies out, and the second would reach the upstream.
        two.assert_status(if gateway.profile() == Profile::Kong { 400 } else { 200 });
        assert_eq!(two.reached_upstream(), gateway.profile() == Profile::Envoy);
    }

    fn odd_spellings_of_authorization_are_defined(gateway) {
        let gateway = start(gateway);
        let with = |value: &[u8]| chat().header("authorization", value);
        for (name, value) in [
            ("tab", format!("Bearer\t{ACME}")), ("empty", "Bearer ".into()), ("scheme alone", "Bearer".into()),
            ("nothing", String::new()), ("another scheme", "Basic YTpi".into()), ("two in one", format!("Bearer {ACME}, Bearer {ACME}")),
            ("oversize", format!("Bearer {}", "x".repeat(20_000))), ("quoted", format!("Bearer \"{ACME}\"")),
        ] {
            refused(&gateway, name, with(value.as_bytes()), 401);
        }
        refused(&gateway, "no text", with(b"Bearer sk_weir_\xff\xfe"), 401);
        gateway.send(with(format!("bEaReR   {ACME}").as_bytes())).upstream(ok()).assert_status(200);
    }

    fn a_subdomain_confirms_and_never_grants(gateway) {
        let gateway = start(gateway);
        refused(&gateway, "another tenant's host", chat().authority("globex.api.example.com").bearer(ACME), 401);
        refused(&gateway, "a host and no credential", chat().authority("acme.api.example.com"), 401);
        gateway.send(chat().authority("ACME.api.example.com").bearer(ACME)).upstream(ok()).assert_status(200);
        let public = gateway.send(get("/public").authority("acme.api.example.com")).upstream(ok());
        assert_eq!(public.upstream_request().header("x-tenant-id"), Some("acme"));
        refused(&gateway, "nobody's host", get("/public").authority("nobody.api.example.com"), 403);
        refused(&gateway, "a bad key on an anonymous route", get("/public").authority("acme.api.example.com").bearer("sk_weir_x"), 401);
    }

    fn a_trusted_hops_header_is_believed_from_its_network_only(gateway) {
        let gateway = start(gateway);
        let with = |address: &str| chat().header("x-edge-tenant", "acme").from_address(address);
        refused(&gateway, "from elsewhere", with("203.0.113.7:4000"), 401);
        refused(&gateway, "forged forwarding", with("203.0.113.7:4000").header("x-forwarded-for", "10.0.0.1"), 401);
        refused(&gateway, "twice", with("10.0.0.1:4000").header("x-edge-tenant", "globex"), 401);
        refused(&gateway, "against a key", with("10.0.0.1:4000").bearer(GLOBEX), 401);
        refused(&gateway, "no tenant's name", chat().header("x-edge-tenant", "a b").from_address("10.0.0.1:4000"), 403);
        let good = gateway.send(with("10.0.0.1:4000")).upstream(ok());
        assert_eq!(good.upstream_request().header("x-tenant-id"), Some("acme"));
        assert!(good.upstream_request().header("x-edge-tenant").unwrap_or_default().is_empty(), "it ends here");
    }

    fn path_tricks_open_nothing(gateway) {
        let gateway = start(gateway);
        for path in ["/healthz/", "//healthz", "/HEALTHZ", "/healthz%20", "/healthz;x", "/healthz/../v1/files", "/%68ealthz"] {
            refused(&gateway, path, get(path), 401);
        }
        for path in ["/v1/x/../files", "/v1/./files", "/v1/%2e%2e/files", "/v1%2ffiles", "/v1\\files", "/v1/files/%2e%2e/batches"] {
            refused(&gateway, path, get(path).bearer(ACME), 400);
        }
        gateway.send(get("/healthz?full")).upstream(ok()).assert_status(200);
    }

    fn what_tenants_share_at_the_provider_is_out_of_reach(gateway) {
        let gateway = start(gateway);
        for path in ["/v1/assistants", "/v1//batches", "/V1/Threads/t/messages", "/v1/fine_tuning/jobs", "/v1/responses/resp_1",
                     "/v1/%76ector_stores", "/v1/organization/users", "/v1/anything", "/v1/chat/completions/chatcmpl-1"] {
            refused(&gateway, path, get(path).bearer(ACME), 403);
        }
        gateway.send(get("/v1/files/file-1").bearer(ACME)).upstream(ok()).assert_status(200);
        gateway.send(get("/v1/models").bearer(ACME)).upstream(ok()).assert_status(200);
    }

    fn refusals_are_told_to_browsers(gateway) {
        let gateway = start(gateway);
        let reply = gateway.send(chat().header("origin", "https://app.example.com")).reply();
        reply.assert_status(401).assert_header("access-control-allow-origin", "*");
        assert!(gateway.send(chat()).reply().header("access-control-allow-origin").is_none());
        let preflight = request("OPTIONS", "/v1/chat/completions").header("origin", "https://app.example.com");
        gateway.send(preflight.header("access-control-request-method", "POST")).upstream(ok()).assert_status(200);
    }

    fn an_unknown_tenant_is_a_403_or_a_404_as_configured(gateway) {
        let mut config = guarded();
        config["tenants"] = json!([]);
        let closed = gateway.clone().config(&config).start();
        refused(&closed, "unknown tenant", chat().bearer(&token("HS256")), 403);
        config["identity"]["unknown_tenant"] = json!("not_found");
        refused(&gateway.config(&config).start(), "unknown tenant", chat().bearer(&token("HS256")), 404);
    }
}
