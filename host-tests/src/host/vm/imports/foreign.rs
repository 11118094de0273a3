//! Foreign functions, which a host offers by name beyond the ABI. This host has Envoy's `verify_signature`.

use rsa::pkcs1v15;
use rsa::pkcs8::{DecodePublicKey as _, ObjectIdentifier, SubjectPublicKeyInfoRef};
use rsa::signature::Verifier;
use sha2::{Sha256, Sha384, Sha512};

use super::{Guest, Hostcall, Refusal, Status};
use crate::host::quirks::Quirk;

/// Wire type 2 of protobuf: a length, then that many bytes.
const BYTES: u8 = 2;

pub(super) fn call(
    guest: &mut Guest<'_, '_>,
    name: u32,
    name_len: u32,
    at: u32,
    len: u32,
    out: u32,
    out_len: u32,
) -> Hostcall {
    if guest.state().has(Quirk::ForeignFunctionsTrap) {
        return Err(Refusal::Trap("this host does not implement it".into()));
    }
    let name = guest.read_text(name, name_len)?;
    if name != "verify_signature" || !guest.state().has(Quirk::SignaturesAreVerified) {
        return Err(Status::NotFound.into());
    }
    let argument = guest.read(at, len)?;
    let question = Question::decode(&argument).ok_or(Status::BadArgument)?;
    // Field 1 of the answer is true; if missing, it means false.
    let answer: &[u8] = if question.holds() { &[1 << 3, 1] } else { &[] };
    guest.give(answer, out, out_len)
}

/// `id-ecPublicKey` with `secp256r1` (RFC 5480, section 2.1.1).
const P256: (ObjectIdentifier, ObjectIdentifier) =
    (ObjectIdentifier::new_unwrap("1.2.840.10045.2.1"), ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"));

/// Envoy's `VerifySignatureArguments`: fields 1 to 4, all of them bytes.
#[derive(Default)]
struct Question<'a> {
    hash: &'a [u8],
    /// DER, a `SubjectPublicKeyInfo`.
    key: &'a [u8],
    /// Of ECDSA in DER.
    signature: &'a [u8],
    text: &'a [u8],
}

impl<'a> Question<'a> {
    /// None if the bytes are not such a message.
    fn decode(mut message: &'a [u8]) -> Option<Self> {
        let mut question = Question::default();
        while let Some((tag, rest)) = message.split_first() {
            let (length, rest) = varint(rest)?;
            let (value, rest) = rest.split_at_checked(length)?;
            let field = match (tag >> 3, tag & 7) {
                (1, BYTES) => &mut question.hash,
                (2, BYTES) => &mut question.key,
                (3, BYTES) => &mut question.signature,
                (4, BYTES) => &mut question.text,
                _ => return None,
            };
            *field = value;
            message = rest;
        }
        Some(question)
    }

    /// Verifies RSA PKCS#1 v1.5 and ECDSA P-256. Envoy was observed to answer false to all others, including PSS and
    /// Ed25519.
    fn holds(&self) -> bool {
        match self.hash {
            b"sha256" => self.of_rsa(pkcs1v15::VerifyingKey::<Sha256>::new) || self.of_p256(),
            b"sha384" => self.of_rsa(pkcs1v15::VerifyingKey::<Sha384>::new),
            b"sha512" => self.of_rsa(pkcs1v15::VerifyingKey::<Sha512>::new),
            _ => false,
        }
    }

    fn of_rsa<V: Verifier<pkcs1v15::Signature>>(&self, verifier: impl FnOnce(rsa::RsaPublicKey) -> V) -> bool {
        let key = rsa::RsaPublicKey::from_public_key_der(self.key);
        let signature = pkcs1v15::Signature::try_from(self.signature);
        key.is_ok_and(|key| signature.is_ok_and(|signature| verifier(key).verify(self.text, &signature).is_ok()))
    }

    fn of_p256(&self) -> bool {
        let signature = p256::ecdsa::Signature::from_der(self.signature);
        p256_key(self.key).is_some_and(|key| signature.is_ok_and(|signature| key.verify(self.text, &signature).is_ok()))
    }
}

fn p256_key(der: &[u8]) -> Option<p256::ecdsa::VerifyingKey> {
    let info = SubjectPublicKeyInfoRef::try_from(der).ok()?;
    let oids = (info.algorithm.oid, info.algorithm.parameters_oid().ok()?);
    (oids == P256).then(|| p256::ecdsa::VerifyingKey::from_sec1_bytes(info.subject_public_key.as_bytes()?).ok())?
}

/// Reads a base-128 number; returns it with the bytes that follow.
fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}
