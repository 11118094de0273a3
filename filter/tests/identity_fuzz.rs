//! The assertions of the fuzz targets of identity, on seeded inputs: good ones, mutated at random.
#[path = "../../fuzz/src/identity.rs"]
mod identity;

/// Inputs made from each seed.
const MUTATIONS: u64 = 400;

/// SplitMix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((value ^ (value >> 31)) % bound.max(1) as u64) as usize
    }
}

/// Runs `target` on a seed, and on it with a few bytes changed, doubled or lost.
fn run(target: fn(&[u8]), seed: &[u8], mutations: u64) {
    target(seed);
    let mut random = Random(seed.len() as u64);
    for _ in 0..mutations {
        let mut input = seed.to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(input.len());
            match random.below(4) {
                0 => input[at] = b"{}[]\",:.\n\r0A"[random.below(12)],
                1 => input[at] ^= 1 << random.below(8),
                2 => input.truncate(at.max(1)),
                _ => input.extend_from_within(at..),
            }
        }
        target(&input);
    }
}

fn golden() -> serde_json::Value {
    serde_json::from_str(include_str!("../golden/tokens.json")).expect("json")
}

#[test]
fn no_configuration_makes_it_panic() {
    let config = serde_json::json!({
        "version": 1, "identity": {"sources": [
            {"jwt": {"issuer": "https://a.example.com", "tenant_claim": "org.id", "keys": [{"jwk": golden()["keys"][7]}],
                     "jwks": {"url": "https://a.example.com/keys", "cluster": "a"}}},
            {"header": {"header": "x-edge", "networks": ["10.0.0.0/8", "fd00::/8"]}}, {"api_key": {"prefix": "sk_"}}]},
        "plans": {"p": {"requests": {"rate": "10/s"}}}, "directory": {"cluster": "weir", "token": "t"},
        "routes": [{"match": {"path_prefix": "/v1"}, "permit": ["files"]}],
    });
    run(identity::config, config.to_string().as_bytes(), MUTATIONS);
}

#[test]
fn no_mutation_of_a_token_is_good() {
    for entry in golden()["tokens"].as_array().expect("tokens") {
        run(identity::jwt, entry["token"].as_str().expect("text").as_bytes(), MUTATIONS / 10);
    }
}

#[test]
fn no_key_set_makes_it_panic() {
    run(identity::jwks, serde_json::json!({"keys": golden()["keys"]}).to_string().as_bytes(), MUTATIONS);
}

#[test]
fn no_head_makes_it_panic() {
    let head =
        b":method:POST\n:path:/v1/%66iles/../x?y\nHost:acme.example.com\nX-Tenant-Id:a\nx_model:b\nupgrade:websocket\n\
                authorization:Bearer sk_\xff\ncontent-length:2";
    run(identity::head, head, MUTATIONS);
}
