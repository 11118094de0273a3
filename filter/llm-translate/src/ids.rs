//! Ids of tool calls, which every provider forms differently and checks.
use std::borrow::Cow;

use crate::target::Server;

/// OpenAI refuses longer ones.
const LENGTH_MAX: usize = 40;
/// Mistral's ids have exactly this length.
const MISTRAL_LENGTH: usize = 9;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The id under which `server` knows a call: the same for the same id, so that calls and results still meet.
pub(crate) fn for_server(server: Server, id: &str) -> Cow<'_, str> {
    let is_alphanumeric = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if server == Server::Mistral {
        let fits = is_alphanumeric && id.len() == MISTRAL_LENGTH;
        return if fits { Cow::Borrowed(id) } else { Cow::Owned(digest(id, MISTRAL_LENGTH)) };
    }
    let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    let fits = is_plain && !id.is_empty() && id.len() <= LENGTH_MAX;
    if fits { Cow::Borrowed(id) } else { Cow::Owned(format!("call_{}", digest(id, 11))) }
}

/// Letters and digits that stand for an id. Two ids of one conversation meet by chance once in 10^16; a client that
/// makes them meet confuses its own calls.
fn digest(id: &str, length: usize) -> String {
    // FNV-1a, 64 bits.
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let mut hash = id.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    let mut letter = || {
        let at = usize::try_from(hash % 62).unwrap_or_default();
        hash /= 62;
        char::from(ALPHABET.get(at).copied().unwrap_or(b'0'))
    };
    (0..length).map(|_| letter()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn an_id_that_a_server_takes_stays() {
        assert_eq!(for_server(Server::Anthropic, "call_Ab-1"), "call_Ab-1");
        assert_eq!(for_server(Server::OpenAi, "toolu_01D7FLrfh4GYq7yT1ULFeyMV"), "toolu_01D7FLrfh4GYq7yT1ULFeyMV");
        assert_eq!(for_server(Server::Mistral, "D681PevKs"), "D681PevKs");
    }

    #[test]
    fn any_other_becomes_one_that_it_takes_and_stays_distinct() {
        let first = for_server(Server::Mistral, "call_1");
        assert_eq!((first.len(), first.bytes().all(|byte| byte.is_ascii_alphanumeric())), (9, true));
        assert_eq!(first, for_server(Server::Mistral, "call_1"));
        assert_ne!(first, for_server(Server::Mistral, "call_2"));
        assert!(for_server(Server::Anthropic, "a b").starts_with("call_"));
        assert!(for_server(Server::OpenAi, &"x".repeat(90)).len() <= LENGTH_MAX);
    }
}
