//! Seals one id for one tenant, and opens it again.
//!
//! A sealed id is the id's prefix, a digit for the key's version, and the rest of the id under AES-SIV (RFC 5297) in base
//! 32: `file-abc` becomes `file-b2kq…`. Tenant, prefix, version and use are authenticated with it, so it opens for
//! nobody else, as no other kind of id, and in no other use. The same id of the same tenant always seals to the same text, so
//! clients may compare ids and use them as keys.
use std::cell::RefCell;

use aes_siv::KeyInit;
use aes_siv::siv::Aes128Siv;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::base32;
use crate::uuid::UuidKey;

/// The longest id that is sealed, in bytes. Providers' ids have 20 to 80.
pub const ID_MAX_BYTES: usize = 200;

/// The longest text that may be a sealed id, in bytes: [`ID_MAX_BYTES`] and the tag in base 32, prefix and version.
pub(crate) const SEALED_MAX_BYTES: usize = 400;

/// The shortest secret that a key is made of, in bytes.
pub const SECRET_MIN_BYTES: usize = 32;

/// Versions differ in one digit of base 32.
pub const VERSIONS: u8 = 32;

/// How many bytes the tag of AES-SIV has.
const TAG_BYTES: usize = 16;

/// What a sealed text is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It names an object of the tenant's own.
    Id,
    /// It says where a list goes on, behind an object that may be another tenant's. It names nothing.
    Cursor,
}

/// The key that seals, and perhaps the one before it, which still opens.
#[derive(Debug)]
pub struct Keys {
    current: Key,
    previous: Option<Key>,
}

struct Key {
    version: u8,
    /// Its state is the same between calls; only within one it changes.
    cipher: RefCell<Box<Aes128Siv>>,
    uuids: UuidKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Keys {
    /// Keys by their versions and secrets.
    pub fn new(current: (u8, &[u8]), previous: Option<(u8, &[u8])>) -> Option<Self> {
        let previous = match previous {
            Some(previous) => Some(Key::new(previous)?),
            None => None,
        };
        Some(Keys { current: Key::new(current)?, previous })
    }

    /// Seals an id, of which the first `prefix` bytes stay; None for one that is too long.
    pub fn seal(&self, purpose: Use, tenant: &str, id: &str, prefix: usize) -> Option<String> {
        let (prefix, rest) = id.split_at_checked(prefix)?;
        if rest.is_empty() || id.len() > ID_MAX_BYTES {
            return None;
        }
        let key = &self.current;
        let sealed =
            key.cipher.try_borrow_mut().ok()?.encrypt([key.context(purpose, tenant, prefix)], rest.as_bytes()).ok()?;
        let mut text = String::with_capacity(prefix.len().saturating_add(sealed.len().saturating_mul(2)));
        text.push_str(prefix);
        text.push(base32::digit(key.version));
        base32::encode(&sealed, &mut text);
        Some(text)
    }

    /// Opens a sealed id; None if it is none of this tenant's in this use.
    pub fn open(&self, purpose: Use, tenant: &str, sealed: &str) -> Option<String> {
        if sealed.len() > SEALED_MAX_BYTES {
            return None;
        }
        let (prefix, rest) = sealed.split_at_checked(prefix_of_sealed(sealed))?;
        let (version, rest) = rest.as_bytes().split_first()?;
        let version = base32::value(*version)?;
        let key =
            [Some(&self.current), self.previous.as_ref()].into_iter().flatten().find(|key| key.version == version)?;
        let sealed = base32::decode(rest).filter(|sealed| sealed.len() > TAG_BYTES)?;
        let opened = key.cipher.try_borrow_mut().ok()?.decrypt([key.context(purpose, tenant, prefix)], &sealed).ok()?;
        Some(format!("{prefix}{}", String::from_utf8(opened).ok()?))
    }

    /// Seals a random UUID; None for anything else.
    pub fn seal_uuid(&self, tenant: &str, uuid: &str) -> Option<String> {
        self.current.uuids.seal(tenant, uuid)
    }

    /// Opens a sealed UUID. One that was sealed for another tenant opens to a UUID that nobody can choose.
    pub fn open_uuid(&self, tenant: &str, sealed: &str) -> Option<String> {
        let keys = [Some(&self.current), self.previous.as_ref()].into_iter().flatten();
        keys.filter_map(|key| key.uuids.open(tenant, sealed)).next()
    }

    /// Whether a sealed UUID tells which key sealed it: with two keys, one version must be odd and the other even.
    pub fn tell_uuids_apart(&self) -> bool {
        self.previous.as_ref().is_none_or(|previous| self.current.uuids.is_told_from(&previous.uuids))
    }
}

impl Key {
    fn new((version, secret): (u8, &[u8])) -> Option<Self> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(b"weir sealed ids").ok()?;
        mac.update(secret);
        let key = mac.finalize().into_bytes();
        let cipher = RefCell::new(Box::new(Aes128Siv::new_from_slice(&key).ok()?));
        let uuids = UuidKey::new(version, secret)?;
        (version < VERSIONS && secret.len() >= SECRET_MIN_BYTES).then_some(Key { version, cipher, uuids })
    }

    /// What is authenticated with an id. Two different contexts never have the same bytes: a prefix has fewer than 256.
    fn context(&self, purpose: Use, tenant: &str, prefix: &str) -> Vec<u8> {
        let purpose = match purpose {
            Use::Id => 0,
            Use::Cursor => 1,
        };
        let head = [self.version, purpose, u8::try_from(prefix.len()).unwrap_or(u8::MAX)];
        [&head[..], prefix.as_bytes(), tenant.as_bytes()].concat()
    }
}

/// The length of a sealed text's prefix: what is sealed holds neither of these.
fn prefix_of_sealed(sealed: &str) -> usize {
    let marks = |byte: &u8| matches!(byte, b'_' | b'-' | b':' | b'/');
    sealed.bytes().rposition(|byte| marks(&byte)).map_or(0, |at| at.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const OLD: (u8, &[u8]) = (1, b"a secret of more than thirty-two bytes");
    const NEW: (u8, &[u8]) = (2, b"another secret that is as long as the first");
    const ID: &str = "file-AbC123dEf456GhI789";

    fn seal(keys: &Keys, tenant: &str) -> String {
        keys.seal(Use::Id, tenant, ID, 5).unwrap()
    }

    /// RFC 5297, appendix A.1.
    #[test]
    fn the_cipher_is_that_of_the_standard() {
        let key = hex::decode("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff").unwrap();
        let context = hex::decode("101112131415161718191a1b1c1d1e1f2021222324252627").unwrap();
        let plain = hex::decode("112233445566778899aabbccddee").unwrap();
        let sealed = Aes128Siv::new_from_slice(&key).unwrap().encrypt([context], &plain).unwrap();
        assert_eq!(hex::encode(sealed), "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c");
    }

    /// Ids that clients keep must open after an update: this text never changes.
    #[test]
    fn a_sealed_id_stays_what_it_is() {
        let keys = Keys::new(OLD, None).unwrap();
        let sealed = seal(&keys, "acme");
        assert_eq!(sealed, "file-bsdtu4fbmbqgojnpbfqdvmfzuoqv263afwvq3vnhghelg3wu22egbpna");
        assert_eq!(keys.open(Use::Id, "acme", &sealed).as_deref(), Some(ID));
    }

    #[test]
    fn it_opens_for_nobody_else_and_in_no_other_use() {
        let keys = Keys::new(OLD, None).unwrap();
        let sealed = seal(&keys, "acme");
        let swapped = sealed.replacen("file-", "file_", 1);
        for (tenant, text) in [("globex", &sealed), ("", &sealed), ("acme", &swapped), ("acme", &ID.to_owned())] {
            assert_eq!(keys.open(Use::Id, tenant, text), None, "{tenant} {text}");
        }
        assert_eq!(keys.open(Use::Cursor, "acme", &sealed), None);
        for end in 0..sealed.len() {
            assert_eq!(keys.open(Use::Id, "acme", &sealed[..end]), None);
        }
        assert_eq!(keys.open(Use::Id, "acme", &(sealed + "a")), None);
    }

    #[test]
    fn an_old_id_opens_after_a_rotation_and_not_after_the_next() {
        let old = seal(&Keys::new(OLD, None).unwrap(), "acme");
        let both = Keys::new(NEW, Some(OLD)).unwrap();
        assert_eq!(both.open(Use::Id, "acme", &old).as_deref(), Some(ID));
        assert_ne!(seal(&both, "acme"), old);
        assert_eq!(Keys::new(NEW, None).unwrap().open(Use::Id, "acme", &old), None);
        let same_version = Keys::new((1, NEW.1), None).unwrap();
        assert_eq!(same_version.open(Use::Id, "acme", &old), None);
    }

    #[test]
    fn an_old_uuid_opens_after_a_rotation_too() {
        const UUID: &str = "870f7e48-32fb-4f96-9826-5e0685a1b170";
        let old = Keys::new(OLD, None).unwrap().seal_uuid("acme", UUID).unwrap();
        let both = Keys::new(NEW, Some(OLD)).unwrap();
        let new = both.seal_uuid("acme", UUID).unwrap();
        assert!(both.tell_uuids_apart() && new != old);
        assert_eq!(both.open_uuid("acme", &old).as_deref(), Some(UUID));
        assert_eq!(both.open_uuid("acme", &new).as_deref(), Some(UUID));
        assert!(!Keys::new((3, NEW.1), Some(OLD)).unwrap().tell_uuids_apart());
    }

    #[test]
    fn an_id_that_is_too_long_and_a_secret_that_is_too_short_are_refused() {
        let keys = Keys::new(OLD, None).unwrap();
        assert_eq!(keys.seal(Use::Id, "acme", &"x".repeat(ID_MAX_BYTES + 1), 0), None);
        let longest = "x".repeat(ID_MAX_BYTES);
        let sealed = keys.seal(Use::Id, "acme", &longest, 0).unwrap();
        assert!(sealed.len() <= SEALED_MAX_BYTES);
        assert_eq!(keys.open(Use::Id, "acme", &sealed), Some(longest));
        assert!(Keys::new((1, b"short"), None).is_none() && Keys::new((VERSIONS, OLD.1), None).is_none());
    }
}
