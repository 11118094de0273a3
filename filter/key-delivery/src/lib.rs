//! Hands providers' keys of tenants to one gateway worker.
//!
//! A worker makes an X25519 key pair ([`Recipient`]) and names its public key with each call for the directory, together with a
//! number that it never uses again. The server makes a key pair for the answer ([`Sender`]), and both derive the same secret
//! (RFC 7748); HKDF-SHA256 (RFC 5869) makes of it, of both public keys and of the call's number the key under which AES-SIV
//! (RFC 5297) seals. Tenant, provider and version are authenticated with each key.
//!
//! So a delivery opens for this worker only, in the answer to this call only (a repeated one does not open), and for this tenant,
//! provider and version only. AES-SIV and not AES-GCM, because the filter has it already: sealed ids use it.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

use aes_siv::KeyInit;
use aes_siv::siv::Aes128Siv;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hkdf::Hkdf;
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

/// Separates these keys from those of every other use of the same mathematics.
const USE: &[u8] = b"weir key delivery 1";
/// Keys are filled up to a multiple of this before they are sealed, so that the length tells little of a key.
const STEP_BYTES: usize = 32;
/// How many bytes the tag of AES-SIV has.
const TAG_BYTES: usize = 16;
/// Fills a key up. No key has it: keys are printable ASCII.
const FILLER: u8 = 0;

/// Separates key pairs that a seed gives from every other use of it.
const SEED_USE: &[u8] = b"weir key delivery seed 1";

/// 32 bytes for [`Recipient::new`] where a gateway has no randomness that nobody can guess: from an operator's secret, and from
/// what differs by worker and start, which may be known. HKDF-SHA256: the seed is the secret, `differs` is the information, each
/// part behind its length.
///
/// Should two workers get the same bytes all the same, each delivery is still sealed under a key of its own, because the server
/// makes a key pair for each answer; one of them could then read an answer to the other.
pub fn from_seed(seed: &[u8], differs: &[&[u8]]) -> [u8; 32] {
    let mut info = Vec::new();
    for part in differs {
        info.extend_from_slice(&(part.len() as u64).to_be_bytes());
        info.extend_from_slice(part);
    }
    let mut bytes = [0; 32];
    // 32 bytes are never too many for HKDF.
    let _fits = Hkdf::<Sha256>::new(Some(SEED_USE), seed).expand(&info, &mut bytes);
    bytes
}

/// Names the key that is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The provider.
    pub provider: &'a str,
    /// The version.
    pub version: u64,
}

/// The characters of a sealed key, from the bytes of the key.
pub fn sealed_bytes(secret_bytes: usize) -> usize {
    secret_bytes.next_multiple_of(STEP_BYTES).saturating_add(TAG_BYTES).saturating_mul(4).div_ceil(3)
}

/// A worker's key pair.
pub struct Recipient {
    secret: StaticSecret,
    public: PublicKey,
    call: u64,
}

impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recipient").field("call", &self.call).finish_non_exhaustive()
    }
}

impl Recipient {
    /// A key pair of random bytes.
    pub fn new(mut random: [u8; 32]) -> Self {
        let secret = StaticSecret::from(random);
        random.zeroize();
        Recipient { public: PublicKey::from(&secret), secret, call: 0 }
    }

    /// Begins a call: what to send with it. Deliveries in answers to the calls before do not open any more.
    pub fn ask(&mut self) -> String {
        self.call = self.call.wrapping_add(1);
        format!("{}.{}", hex::encode(self.public.as_bytes()), self.call)
    }

    /// Opens the delivery of a sender whose public key is `sealed_by`, in hex. None if that is no key.
    pub fn opener(&self, sealed_by: &str) -> Option<Opener> {
        let sender = public_key(sealed_by)?;
        let shared = self.secret.diffie_hellman(&sender);
        derive(shared.as_bytes(), shared.was_contributory(), (&self.public, &sender, self.call)).map(Opener)
    }
}

/// Opens the keys of one delivery.
pub struct Opener(Aes128Siv);

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opener")
    }
}

impl Opener {
    /// Opens one key. None if it was sealed for another worker, call, tenant, provider or version, or was changed.
    pub fn open(&mut self, label: Label<'_>, sealed: &str) -> Option<Zeroizing<String>> {
        let sealed = STANDARD_NO_PAD.decode(sealed).ok()?;
        let version = label.version.to_be_bytes();
        let context: [&[u8]; 3] = [label.tenant.as_bytes(), label.provider.as_bytes(), &version];
        let mut opened = Zeroizing::new(self.0.decrypt(context, &sealed).ok()?);
        let end = opened.iter().position(|byte| *byte == FILLER).unwrap_or(opened.len());
        opened.truncate(end);
        std::str::from_utf8(&opened).ok().map(|text| Zeroizing::new(text.to_owned()))
    }
}

/// The server's key pair for one answer.
pub struct Sender {
    public: PublicKey,
    cipher: Aes128Siv,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

impl Sender {
    /// A key pair of random bytes, for the worker and the call that `asked` names. None if `asked` does not have the form of
    /// [`Recipient::ask`].
    pub fn new(mut random: [u8; 32], asked: &str) -> Option<Self> {
        let (recipient, call) = asked.split_once('.')?;
        let (recipient, call) = (public_key(recipient)?, call.parse().ok()?);
        let secret = StaticSecret::from(random);
        random.zeroize();
        let (public, shared) = (PublicKey::from(&secret), secret.diffie_hellman(&recipient));
        let cipher = derive(shared.as_bytes(), shared.was_contributory(), (&recipient, &public, call))?;
        Some(Sender { public, cipher })
    }

    /// The public key, in hex.
    pub fn public(&self) -> String {
        hex::encode(self.public.as_bytes())
    }

    /// Seals one key. None for one that no cipher takes.
    pub fn seal(&mut self, label: Label<'_>, secret: &str) -> Option<String> {
        let mut filled = Zeroizing::new(Vec::with_capacity(secret.len().next_multiple_of(STEP_BYTES)));
        filled.extend_from_slice(secret.as_bytes());
        filled.resize(secret.len().next_multiple_of(STEP_BYTES), FILLER);
        let version = label.version.to_be_bytes();
        let context: [&[u8]; 3] = [label.tenant.as_bytes(), label.provider.as_bytes(), &version];
        self.cipher.encrypt(context, &filled).ok().map(|sealed| STANDARD_NO_PAD.encode(sealed))
    }
}

fn public_key(text: &str) -> Option<PublicKey> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(PublicKey::from(bytes))
}

/// The cipher of a delivery. None where the other side's key is one of the few that give everybody the same secret.
fn derive(
    shared: &[u8; 32],
    is_contributory: bool,
    (recipient, sender, call): (&PublicKey, &PublicKey, u64),
) -> Option<Aes128Siv> {
    if !is_contributory {
        return None;
    }
    let mut key = Zeroizing::new([0; 32]);
    let info: [&[u8]; 4] = [USE, recipient.as_bytes(), sender.as_bytes(), &call.to_be_bytes()];
    Hkdf::<Sha256>::new(None, shared).expand_multi_info(&info, &mut *key).ok()?;
    Aes128Siv::new_from_slice(&*key).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const LABEL: Label<'_> = Label { tenant: "acme", provider: "openai", version: 3 };
    const KEY: &str = "sk-proj-0123456789abcdefghijklmnopqrstuvwxyz";

    fn delivery() -> (Recipient, String, String) {
        let mut recipient = Recipient::new([7; 32]);
        let mut sender = Sender::new([9; 32], &recipient.ask()).expect("a call");
        let sealed = sender.seal(LABEL, KEY).expect("sealed");
        (recipient, sender.public(), sealed)
    }

    fn opened(recipient: &Recipient, by: &str, label: Label<'_>, sealed: &str) -> Option<String> {
        recipient.opener(by)?.open(label, sealed).map(|key| key.to_string())
    }

    #[test]
    fn a_delivery_opens_for_the_worker_that_asked() {
        let (recipient, by, sealed) = delivery();
        assert_eq!(opened(&recipient, &by, LABEL, &sealed).as_deref(), Some(KEY));
        assert!(!sealed.contains("sk-"));
    }

    #[test]
    fn a_seed_gives_each_worker_and_start_its_own_key_pair() {
        let public = |seed: &[u8], differs: &[&[u8]]| Recipient::new(from_seed(seed, differs)).ask();
        let seed = [5; 32];
        let one = public(&seed, &[b"worker 1", b"start 1"]);
        assert_eq!(one, public(&seed, &[b"worker 1", b"start 1"]), "nothing else goes in");
        let others: [(&[u8], [&[u8]; 2]); 4] = [
            (&seed, [b"worker 2", b"start 1"]),
            (&seed, [b"worker 1", b"start 2"]),
            (&seed, [b"worker 1s", b"tart 1"]),
            (&[6; 32], [b"worker 1", b"start 1"]),
        ];
        for (seed, differs) in others {
            assert_ne!(one, public(seed, &differs), "{differs:?}");
        }
    }

    #[test]
    fn a_delivery_opens_for_no_other_tenant_provider_or_version() {
        let (recipient, by, sealed) = delivery();
        for label in
            [Label { tenant: "globex", ..LABEL }, Label { provider: "groq", ..LABEL }, Label { version: 4, ..LABEL }]
        {
            assert_eq!(opened(&recipient, &by, label, &sealed), None, "{label:?}");
        }
    }

    #[test]
    fn a_delivery_opens_for_no_other_worker_and_in_no_later_call() {
        let (mut recipient, by, sealed) = delivery();
        let mut other = Recipient::new([8; 32]);
        other.ask();
        assert_eq!(opened(&other, &by, LABEL, &sealed), None);
        recipient.ask();
        assert_eq!(opened(&recipient, &by, LABEL, &sealed), None, "it was replayed");
    }

    #[test]
    fn a_changed_or_truncated_delivery_does_not_open() {
        let (recipient, by, sealed) = delivery();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(opened(&recipient, &by, LABEL, &changed).is_none_or(|key| key == KEY), "{at}");
            assert_eq!(opened(&recipient, &by, LABEL, &sealed[..at]), None, "{at}");
        }
    }

    #[test]
    fn a_public_key_that_gives_everybody_the_same_secret_is_refused() {
        let (recipient, ..) = delivery();
        for point in [[0; 32], std::array::from_fn(|at| u8::from(at == 0))] {
            assert!(recipient.opener(&hex::encode(point)).is_none());
            assert!(Sender::new([9; 32], &format!("{}.1", hex::encode(point))).is_none());
        }
    }

    #[test]
    fn what_no_worker_asks_is_refused() {
        let asked = Recipient::new([7; 32]).ask();
        for text in ["", ".", "ab.1", &asked.replace('.', ""), &format!("{asked}x"), &asked[1..]] {
            assert!(Sender::new([9; 32], text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn the_room_that_is_reserved_is_the_room_that_is_taken() {
        let mut sender = Sender::new([9; 32], &Recipient::new([7; 32]).ask()).expect("a call");
        for length in [16, 31, 32, 33, 164, 1_024] {
            let sealed = sender.seal(LABEL, &"k".repeat(length)).expect("sealed");
            assert_eq!(sealed.len(), sealed_bytes(length), "{length}");
        }
    }

    /// RFC 7748, section 5.2: the first iteration.
    #[test]
    fn both_sides_agree_as_rfc_7748_says() {
        let nine: [u8; 32] = std::array::from_fn(|at| if at == 0 { 9 } else { 0 });
        let shared = StaticSecret::from(nine).diffie_hellman(&PublicKey::from(nine));
        assert_eq!(hex::encode(shared.as_bytes()), "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    }
}
