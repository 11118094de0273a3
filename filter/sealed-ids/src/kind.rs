//! The kinds of ids, told by the prefixes that providers give them.
use weir_config::shared::Shared;

/// Whose API a route speaks, as far as ids are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI, and Azure OpenAI.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Google Gemini.
    Gemini,
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// None.
    pub const NONE: Kinds = Kinds(0);

    /// One kind.
    pub const fn only(kind: Shared) -> Self {
        Kinds(1 << kind as u8)
    }

    /// These and one more.
    #[must_use]
    pub const fn with(self, kind: Shared) -> Self {
        Kinds(self.0 | 1 << kind as u8)
    }

    /// Whether a kind is among them.
    pub const fn has(self, kind: Shared) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// Whether some kind is in both sets.
    pub const fn meet(self, other: Kinds) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

const FILES: Kinds = Kinds::only(Shared::Files);
const ASSISTANTS: Kinds = Kinds::only(Shared::Assistants);
const BATCHES: Kinds = Kinds::only(Shared::Batches);
const TUNING: Kinds = Kinds::only(Shared::FineTuning);
const RESPONSES: Kinds = Kinds::only(Shared::StoredResponses);
const VECTORS: Kinds = Kinds::only(Shared::VectorStores);

/// Kinds of which ids can be sealed.
pub const SEALABLE: [Shared; 6] = [
    Shared::Files,
    Shared::Assistants,
    Shared::Batches,
    Shared::FineTuning,
    Shared::StoredResponses,
    Shared::VectorStores,
];

/// OpenAI's prefixes. Where one begins with another, it stands first.
const OPENAI: [(&str, Kinds); 47] = [
    ("file-", FILES),
    ("file_", FILES),
    // Azure's files for assistants.
    ("assistant-", FILES),
    ("upload_", FILES),
    ("cntr_", FILES),
    ("cfile_", FILES),
    ("container_", FILES),
    ("skill_", FILES),
    ("asst_", ASSISTANTS),
    ("thread_", ASSISTANTS),
    ("run_", ASSISTANTS),
    ("step_", ASSISTANTS),
    ("conv_", ASSISTANTS),
    ("cthr_", ASSISTANTS),
    ("wf_", ASSISTANTS),
    ("batch_req_", BATCHES),
    ("batch_", BATCHES),
    ("ftjob-", TUNING),
    ("ftevent-", TUNING),
    ("ftckpt_", TUNING),
    ("ft:", TUNING),
    ("eval_", TUNING),
    ("evalrun_", TUNING),
    ("resp_", RESPONSES),
    ("chatcmpl-tool-", Kinds::NONE),
    ("chatcmpl-", RESPONSES),
    ("audio_", RESPONSES),
    ("video_", RESPONSES),
    // Messages of threads and of conversations, and items of answers.
    ("msg_", RESPONSES.with(Shared::Assistants)),
    ("rs_", RESPONSES.with(Shared::Assistants)),
    ("fc_", RESPONSES.with(Shared::Assistants)),
    ("fco_", RESPONSES.with(Shared::Assistants)),
    ("fs_", RESPONSES.with(Shared::Assistants)),
    ("ws_", RESPONSES.with(Shared::Assistants)),
    ("ci_", RESPONSES.with(Shared::Assistants)),
    ("ig_", RESPONSES.with(Shared::Assistants)),
    ("cu_", RESPONSES.with(Shared::Assistants)),
    ("mcp_", RESPONSES.with(Shared::Assistants)),
    ("mcpl_", RESPONSES.with(Shared::Assistants)),
    ("mcpr_", RESPONSES.with(Shared::Assistants)),
    ("ctc_", RESPONSES.with(Shared::Assistants)),
    ("cmp_", RESPONSES.with(Shared::Assistants)),
    ("vs_", VECTORS),
    ("vsfb_", VECTORS),
    // These name nothing that an account keeps, or what its operator has made for all.
    ("call_", Kinds::NONE),
    ("pmpt_", Kinds::NONE),
    ("req_", Kinds::NONE),
];

const ANTHROPIC: [(&str, Kinds); 4] =
    [("file_", FILES), ("container_", FILES), ("skill_", FILES), ("msgbatch_", BATCHES)];

const GEMINI: [(&str, Kinds); 4] =
    [("files/", FILES), ("cachedContents/", VECTORS), ("batches/", BATCHES), ("fileSearchStores/", VECTORS)];

impl Dialect {
    const fn prefixes(self) -> &'static [(&'static str, Kinds)] {
        match self {
            Dialect::OpenAi => &OPENAI,
            Dialect::Anthropic => &ANTHROPIC,
            Dialect::Gemini => &GEMINI,
        }
    }

    /// Whether ids of a kind can be sealed: the tables know its operations.
    pub fn seals(self, kind: Shared) -> bool {
        match self {
            Dialect::OpenAi => SEALABLE.contains(&kind),
            Dialect::Anthropic => matches!(kind, Shared::Files | Shared::Batches),
            Dialect::Gemini => matches!(kind, Shared::Files | Shared::VectorStores),
        }
    }

    /// The length of an id's known prefix, and the kinds that have it.
    pub fn kinds_of(self, id: &str) -> Option<(usize, Kinds)> {
        let first = id.bytes().next()?;
        let known = self.prefixes().iter().find(|(prefix, _)| begins_with(prefix, first) && id.starts_with(prefix));
        known.map(|(prefix, kinds)| (prefix.len(), *kinds))
    }
}

/// Whether a prefix begins with that letter: in WebAssembly comparing whole prefixes takes longer.
fn begins_with(prefix: &str, letter: u8) -> bool {
    prefix.as_bytes().first() == Some(&letter)
}

/// The longest prefix that is taken for one although no table knows it.
const UNKNOWN_PREFIX_MAX_BYTES: usize = 16;

/// The length of the prefix of an id that no table knows: up to its first `_` or `-`.
pub(crate) fn unknown_prefix(id: &str) -> usize {
    let mark = id.bytes().take(UNKNOWN_PREFIX_MAX_BYTES).position(|byte| matches!(byte, b'_' | b'-'));
    mark.map_or(0, |at| at.saturating_add(1))
}

/// The fewest bytes behind a prefix for which a text is taken for an id where no table expects one.
const LIKELY_MIN_BYTES: usize = 10;

/// From so many letters on without a mark between them, nobody takes a text for a word.
const WORD_MAX_BYTES: usize = 20;

/// Whether a text in a place that no table knows is an id of one of these kinds: a known prefix in any case, and behind it
/// nothing but letters, digits and marks, with a digit among them or without an end of a word. Words that people write are not.
pub(crate) fn is_likely_id(dialect: Dialect, kinds: Kinds, text: &str) -> bool {
    let text = text.trim();
    let letter = text.bytes().next().unwrap_or_default().to_ascii_lowercase();
    let rest = dialect.prefixes().iter().find_map(|(prefix, known)| {
        if !begins_with(prefix, letter) {
            return None;
        }
        let (start, rest) = text.split_at_checked(prefix.len())?;
        (known.meet(kinds) && start.eq_ignore_ascii_case(prefix)).then_some(rest)
    });
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':' | b'.');
    rest.is_some_and(|rest| {
        let is_no_word = rest.len() >= WORD_MAX_BYTES && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let has_digit = rest.bytes().any(|byte| byte.is_ascii_digit());
        rest.len() >= LIKELY_MIN_BYTES && rest.bytes().all(is_part) && (has_digit || is_no_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_longest_prefix_is_found() {
        for dialect in [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini] {
            for (prefix, kinds) in dialect.prefixes() {
                let id = format!("{prefix}68af1c2d3e4f");
                assert_eq!(dialect.kinds_of(&id), Some((prefix.len(), *kinds)), "{id}");
            }
        }
        assert_eq!(Dialect::OpenAi.kinds_of("gpt-4o"), None);
        assert_eq!((unknown_prefix("xyz_abc-d"), unknown_prefix("abc")), (4, 0));
    }

    #[test]
    fn ids_are_told_from_words() {
        for id in [
            "file-AbC123dEf456GhI",
            "vs_68af1c2d3e4f",
            " FILE-abc123def456 ",
            "file-AbCdEfGhIjKlMnOpQrStUvWx",
            "ft:gpt-4o:acme::9abcdef",
        ] {
            assert!(
                is_likely_id(Dialect::OpenAi, FILES.with(Shared::VectorStores).with(Shared::FineTuning), id),
                "{id}"
            );
        }
        for text in
            ["file-manager", "run_all_the_tests", "file-abc 123456789012", "https://x/file-abc123def456", "file-1"]
        {
            assert!(!is_likely_id(Dialect::OpenAi, FILES.with(Shared::Assistants), text), "{text}");
        }
        assert!(!is_likely_id(Dialect::OpenAi, BATCHES, "file-AbC123dEf456GhI"), "a kind that is not sealed");
    }
}
