//! Seals UUIDs. They have no room for a tag, and clients take nothing else in their place, so a sealed UUID is a UUID, too.
//!
//! Each tenant has a permutation of its own: one block of AES-128, whose key HMAC-SHA256 derives from the secret and the tenant.
//! A UUID that was sealed for somebody else, or never, opens to 122 bits that nobody can choose, and so to an object that does
//! not exist.
//!
//! Six bits of a random UUID (RFC 9562, version 4) are always the same. In the block they count up until the last bit of the
//! sealed UUID equals that of the key's version: so it tells which of two keys sealed it.
use aes::Aes128;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The bits of a random UUID that are always the same, and what they are.
const FIXED: u128 = 0xf << 76 | 0b11 << 62;
const FIXED_VALUE: u128 = 0x4 << 76 | 0b10 << 62;

/// How often the fixed bits can count up. That none of them fits has a probability of 2^-64.
const COUNTS: u128 = 64;

/// Where the hyphens of a UUID stand.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
const TEXT_BYTES: usize = 36;

/// What the keys of all tenants are derived from.
pub(crate) struct UuidKey {
    mac: Hmac<Sha256>,
    parity: u8,
}

impl UuidKey {
    pub(crate) fn new(version: u8, secret: &[u8]) -> Option<Self> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(b"weir sealed uuids").ok()?;
        mac.update(secret);
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(&mac.finalize().into_bytes()).ok()?;
        Some(UuidKey { mac, parity: parity(version) })
    }

    /// Whether sealed UUIDs tell this key from the other.
    pub(crate) fn is_told_from(&self, other: &UuidKey) -> bool {
        self.parity != other.parity
    }

    /// Seals a random UUID; None for anything else.
    pub(crate) fn seal(&self, tenant: &str, text: &str) -> Option<String> {
        let uuid = read(text).filter(|uuid| uuid & FIXED == FIXED_VALUE)?;
        let cipher = self.cipher(tenant)?;
        (0..COUNTS).find_map(|count| {
            let counted = uuid & !FIXED | (count >> 2) << 76 | (count & 0b11) << 62;
            let mut block = counted.to_be_bytes().into();
            cipher.encrypt_block(&mut block);
            let sealed = u128::from_be_bytes(block.into());
            (parity_of(sealed) == self.parity).then(|| write(sealed))
        })
    }

    /// Opens a sealed UUID; None for what this key has not sealed, as far as that can be told.
    pub(crate) fn open(&self, tenant: &str, text: &str) -> Option<String> {
        let sealed = read(text).filter(|sealed| parity_of(*sealed) == self.parity)?;
        let mut block = sealed.to_be_bytes().into();
        self.cipher(tenant)?.decrypt_block(&mut block);
        let counted = u128::from_be_bytes(block.into());
        Some(write(counted & !FIXED | FIXED_VALUE))
    }

    fn cipher(&self, tenant: &str) -> Option<Aes128> {
        let mut mac = self.mac.clone();
        mac.update(tenant.as_bytes());
        let key = mac.finalize().into_bytes();
        Aes128::new_from_slice(key.get(..16)?).ok()
    }
}

const fn parity(version: u8) -> u8 {
    version & 1
}

fn parity_of(sealed: u128) -> u8 {
    u8::from(sealed & 1 == 1)
}

fn read(text: &str) -> Option<u128> {
    let is_one = |(at, byte): (usize, u8)| match HYPHENS.contains(&at) {
        true => byte == b'-',
        false => byte.is_ascii_hexdigit(),
    };
    if text.len() != TEXT_BYTES || !text.bytes().enumerate().all(is_one) {
        return None;
    }
    u128::from_str_radix(&text.replace('-', ""), 16).ok()
}

fn write(uuid: u128) -> String {
    let mut text = format!("{uuid:032x}");
    for at in HYPHENS {
        text.insert(at, '-');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;
    use weir_seeded::SplitMix64;

    const SECRET: &[u8] = b"a secret of more than thirty-two bytes";
    const UUID: &str = "870f7e48-32fb-4f96-9826-5e0685a1b170";

    fn key(version: u8) -> UuidKey {
        UuidKey::new(version, SECRET).unwrap()
    }

    /// Clients keep UUIDs: this text never changes.
    #[test]
    fn a_sealed_uuid_stays_what_it_is() {
        let sealed = key(1).seal("acme", UUID).unwrap();
        assert_eq!(sealed, "9658da43-28d7-47d1-5bb3-d6b80b06a789");
        assert_eq!(key(1).open("acme", &sealed).as_deref(), Some(UUID));
        assert_eq!(key(1).open("acme", &sealed.to_uppercase()).as_deref(), Some(UUID));
    }

    #[test]
    fn it_opens_to_nothing_known_for_anybody_else() {
        let mut random = SplitMix64::new(1);
        for version in 0..200 {
            let uuid = u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
            let uuid = write(uuid & !FIXED | FIXED_VALUE);
            let key = key(version % 4);
            let sealed = key.seal("acme", &uuid).unwrap();
            assert_eq!(key.open("acme", &sealed).as_deref(), Some(&*uuid));
            assert_ne!(key.open("globex", &sealed).unwrap(), uuid);
            assert_ne!(key.open("acme", &uuid), Some(uuid.clone()), "its own raw one");
            assert_eq!(UuidKey::new(version % 4 + 1, SECRET).unwrap().open("acme", &sealed), None, "another parity");
        }
    }

    #[test]
    fn only_a_random_uuid_in_its_usual_form_is_sealed() {
        for text in [
            "",
            "870f7e4832fb4f9698265e0685a1b170",
            "870f7e48-32fb-4f96-9826-5e0685a1b17g",
            "870f7e48-32fb-4f96-98265-e0685a1b170",
            "+70f7e48-32fb-4f96-9826-5e0685a1b170",
            "870f7e48-32fb-1f96-9826-5e0685a1b170",
            "870f7e48-32fb-4f96-1826-5e0685a1b170",
        ] {
            assert_eq!(key(1).seal("acme", text), None, "{text}");
        }
        assert!(key(1).is_told_from(&key(2)) && !key(1).is_told_from(&key(3)));
    }
}
