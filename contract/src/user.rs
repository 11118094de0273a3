//! How events name an end user: by an HMAC, so that only who has the key can tell whether an event is a person's.
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::TenantId;
use crate::signed::{KEY_MIN_BYTES, KeyTooShort};

/// The first characters of a user's name in events.
pub const PREFIX: &str = "hmac:";
/// How many bytes of the HMAC a name has: 128 bits, so that two users do not collide.
const NAME_BYTES: usize = 16;

/// The key under which users are named. Its bytes are never shown.
#[derive(Clone)]
pub struct UserKey(Hmac<Sha256>);

impl std::fmt::Debug for UserKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UserKey(…)")
    }
}

impl UserKey {
    /// Takes a key of at least [`KEY_MIN_BYTES`].
    ///
    /// # Errors
    /// If it is shorter.
    pub fn new(key: &[u8]) -> Result<Self, KeyTooShort> {
        if key.len() < KEY_MIN_BYTES {
            return Err(KeyTooShort);
        }
        Hmac::new_from_slice(key).map(UserKey).map_err(|_| KeyTooShort)
    }

    /// The user's name in events of the tenant: `hmac:` and 32 hex digits, different for the same user of two tenants.
    pub fn name(&self, tenant: &TenantId, user: &str) -> String {
        let mac = self.0.clone().chain_update(tenant.as_str()).chain_update([0]).chain_update(user);
        let digest = mac.finalize().into_bytes();
        format!("{PREFIX}{}", hex::encode(digest.get(..NAME_BYTES).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_hmac_of_tenant_and_user() {
        let key = UserKey::new(b"a key of more than thirty-two bytes").expect("long enough");
        let tenant = TenantId::new("acme").expect("an id");
        // printf 'acme\0ann@example.com' | openssl dgst -sha256 -hmac 'a key of more than thirty-two bytes'
        assert_eq!(key.name(&tenant, "ann@example.com"), "hmac:ff50294f7f4fe525ba2391138009880e");
        assert!(UserKey::new(b"short").is_err());
    }
}
