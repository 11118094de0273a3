//! Signs fresh tokens with keys made for the benchmark.

use anyhow::anyhow;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use p256::ecdsa::signature::Signer;
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::rand_core::{CryptoRng, Error, RngCore, impls};
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPrivateKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use weir_seeded::SplitMix64;

/// Two keys: one for ES256, one for RS256.
pub struct Signers {
    p256: p256::ecdsa::SigningKey,
    rsa: RsaPrivateKey,
}

/// Numbers for test keys: the same ones in every run.
struct Fixed(SplitMix64);

impl CryptoRng for Fixed {}

impl RngCore for Fixed {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        impls::fill_bytes_via_next(self, dest);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl std::fmt::Debug for Signers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Signers")
    }
}

impl Signers {
    /// Makes the keys; the RSA key takes some seconds.
    ///
    /// # Errors
    /// If the RSA key cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        let p256 = p256::ecdsa::SigningKey::from_slice(&[7; 32]).map_err(|error| anyhow!("{error}"))?;
        Ok(Signers {
            p256,
            rsa: RsaPrivateKey::new(&mut Fixed(SplitMix64::new(1)), 2048).map_err(|error| anyhow!("{error}"))?,
        })
    }

    /// Their public halves as a JSON web key set.
    #[must_use]
    pub fn keys(&self) -> Value {
        let point = self.p256.verifying_key().to_encoded_point(false);
        let coordinate =
            |bytes: Option<&p256::FieldBytes>| BASE64.encode(bytes.map(|bytes| &bytes[..]).unwrap_or_default());
        let number = |number: &BigUint| BASE64.encode(number.to_bytes_be());
        json!([
            {"kid": "es256", "alg": "ES256", "use": "sig", "kty": "EC", "crv": "P-256",
             "x": coordinate(point.x()), "y": coordinate(point.y())},
            {"kid": "rs256", "alg": "RS256", "use": "sig", "kty": "RSA", "n": number(self.rsa.n()), "e": number(self.rsa.e())},
        ])
    }

    /// acme's token number `number`, of some 600 to 900 bytes, as issuers make them; valid until 2100.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token(&self, algorithm: &str, number: usize) -> anyhow::Result<String> {
        let kid = algorithm.to_ascii_lowercase();
        let header = json!({"alg": algorithm, "typ": "JWT", "kid": kid});
        let claims = json!({"iss": "https://vectors.example.com", "aud": "api", "exp": 4_102_444_800_u64, "org": {"id": "acme"},
                            "sub": format!("user-{number}"), "jti": format!("token-{number}"),
                            "scope": "chat:read chat:write files:read files:write models:read", "email": "someone@acme.example.com",
                            "name": "Someone With A Name", "roles": ["admin", "billing", "developer"]});
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = match algorithm {
            "ES256" => {
                let signature: p256::ecdsa::Signature = self.p256.sign(signed.as_bytes());
                signature.to_bytes().to_vec()
            }
            _ => self
                .rsa
                .sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(signed.as_bytes()))
                .map_err(|error| anyhow!("{error}"))?,
        };
        Ok(format!("{signed}.{}", BASE64.encode(signature)))
    }
}
