//! The vault: providers' keys of tenants, which nobody can read again.
//!
//! Envelope encryption. Each tenant has a data key of 256 random bits, under which its keys at providers are sealed
//! ([`envelope`]); the data key is wrapped by the key-encryption key ([`kek`]), which is never in the database. The rows are
//! `vault_tenant` and `vault_secret` in `tenants.sqlite` ([`crate::store::vault`]).
//!
//! # Constraints
//!
//! - A sealed key is bound to its tenant, provider and version, a wrapped data key to its tenant and number. A row that was swapped,
//!   cut or changed does not open: its tenant is refused at gateways, and nobody else's key is used instead.
//! - Lists show a stored key by its fingerprint and its last four characters. The key itself leaves the vault only sealed to a
//!   gateway's worker (`weir-key-delivery`).
//! - Rotation goes tenant by tenant, one transaction each. Where it ends half-way, every tenant has either its old data key or its
//!   new one, and both open: the key-encryption key of before stays known until no row needs it, and the next one is known before
//!   a row needs it. A change whose ring has a key that was dropped meanwhile is refused.
//!
//! # Recovery
//!
//! Rows whose key-encryption key is not configured are counted at the start, which is refused: with the right one they open again.
pub mod envelope;
pub mod kek;
pub mod secret;

pub use kek::{KeyRing, KeyRingError, KeySource};
pub use secret::ProviderSecret;
