//! AES-256-GCM (NIST SP 800-38D). The row that a text belongs to is the associated data.
//!
//! A sealed text is a random nonce of 12 bytes, the ciphertext, and the tag of 16 bytes.
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use weir_contract::TenantId;
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 12;

/// A key of 256 bits.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The row that a sealed text belongs to.
#[derive(Clone, Copy, Debug)]
pub enum Belongs<'a> {
    /// A data key, to its tenant and number.
    DataKey(&'a TenantId, u64),
    /// A provider's key, to its tenant, provider and version.
    Secret(&'a TenantId, &'a str, u64),
}

impl Belongs<'_> {
    /// The parts, each behind its length, so that no two of them are the same bytes.
    fn bytes(self) -> Vec<u8> {
        let (number, parts) = match self {
            Belongs::DataKey(tenant, number) => (number, vec!["weir vault data key 1", tenant.as_str()]),
            Belongs::Secret(tenant, provider, version) => {
                (version, vec!["weir vault secret 1", tenant.as_str(), provider])
            }
        };
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes
    }
}

/// The operating system gives no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes: {0}")]
pub struct NoRandomness(getrandom::Error);

fn random<const BYTES: usize>() -> Result<Zeroizing<[u8; BYTES]>, NoRandomness> {
    let mut bytes = Zeroizing::new([0; BYTES]);
    getrandom::fill(&mut *bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

impl Key {
    /// A new key.
    pub fn random() -> Result<Self, NoRandomness> {
        random().map(Key)
    }

    /// The key of these bytes; None if they are not 32.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Key(key))
    }

    /// The bytes, to be wrapped.
    pub(crate) fn bytes(&self) -> &[u8] {
        &*self.0
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new((&*self.0).into())
    }

    /// Seals a text.
    pub fn seal(&self, belongs: Belongs<'_>, text: &[u8]) -> Result<Vec<u8>, NoRandomness> {
        let nonce = random::<NONCE_BYTES>()?;
        let aad = belongs.bytes();
        let payload = Payload { msg: text, aad: &aad };
        // Fails for texts of 64 GB only.
        let sealed = self.cipher().encrypt(Nonce::from_slice(&*nonce), payload).unwrap_or_default();
        Ok([&nonce[..], &sealed].concat())
    }

    /// Opens a sealed text; None if it was sealed under another key, belongs elsewhere, or was changed.
    pub fn open(&self, belongs: Belongs<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
        let aad = belongs.bytes();
        let payload = Payload { msg: sealed, aad: &aad };
        self.cipher().decrypt(Nonce::from_slice(nonce), payload).ok().map(Zeroizing::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(id: &str) -> TenantId {
        TenantId::new(id).expect("an id")
    }

    #[test]
    fn a_text_opens_where_it_belongs_and_nowhere_else() {
        let (key, other) = (Key::random().expect("random"), Key::random().expect("random"));
        let (acme, globex) = (tenant("acme"), tenant("globex"));
        let belongs = Belongs::Secret(&acme, "openai", 3);
        let sealed = key.seal(belongs, b"sk-1").expect("sealed");
        assert_eq!(key.open(belongs, &sealed).as_deref().map(Vec::as_slice), Some(&b"sk-1"[..]));
        assert!(other.open(belongs, &sealed).is_none());
        for elsewhere in [
            Belongs::Secret(&globex, "openai", 3),
            Belongs::Secret(&acme, "anthropic", 3),
            Belongs::Secret(&acme, "openai", 4),
            Belongs::DataKey(&acme, 3),
        ] {
            assert!(key.open(elsewhere, &sealed).is_none(), "{elsewhere:?}");
        }
    }

    #[test]
    fn a_text_that_was_cut_or_changed_does_not_open() {
        let (key, acme) = (Key::random().expect("random"), tenant("acme"));
        let belongs = Belongs::DataKey(&acme, 1);
        let sealed = key.seal(belongs, &[7; 32]).expect("sealed");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(belongs, &changed).is_none() && key.open(belongs, &sealed[..at]).is_none(), "{at}");
        }
    }

    #[test]
    fn the_same_text_is_never_sealed_the_same_way() {
        let (key, acme) = (Key::random().expect("random"), tenant("acme"));
        let belongs = Belongs::Secret(&acme, "openai", 1);
        assert_ne!(key.seal(belongs, b"sk-1").expect("sealed"), key.seal(belongs, b"sk-1").expect("sealed"));
        assert_eq!(format!("{key:?}"), "Key(…)");
    }
}
