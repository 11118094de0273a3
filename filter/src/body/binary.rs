//! Telling binary data from text.
//!
//! Pictures, signatures and encrypted thoughts travel as base64, under any name and in the midst of text. They are no words,
//! so they weigh nothing; a picture costs its fixed price.
use weir_llm_usage::TextWeight;
use weir_llm_usage::lanes::{LANES, Lanes};

/// Runs of base64 of this length and more are binary, in bytes: shorter ones may as well be words.
pub(super) const RUN_MIN_BYTES: usize = 256;

/// Of a run of base64, at most this share are small letters, in percent: of words without spaces nearly all are.
const SMALL_LETTERS_MAX_PERCENT: usize = 60;

/// Adds what a text weighs, without the binary data in it. `raw` may hold JSON's escapes.
#[inline]
pub(super) fn weigh(raw: &[u8], text: &mut TextWeight) {
    if raw.len() < RUN_MIN_BYTES { text.add(raw) } else { weigh_long(raw, text) }
}

fn weigh_long(raw: &[u8], text: &mut TextWeight) {
    let mut rest = raw;
    while let Some((before, run)) = next_run(rest) {
        text.add(before);
        rest = run;
    }
    text.add(rest);
}

/// The next run of base64: what stands before it, and what stands behind it.
///
/// A run is longer than the stride at which it is looked for, so none is missed and most bytes are not looked at. The test
/// `no_run_is_missed` compares this with a look at every byte.
fn next_run(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = RUN_MIN_BYTES.checked_sub(1)?;
    while at < text.len() {
        let (head, tail) = text.split_at_checked(at)?;
        // A run from behind such a space on is still there after this shorter stride, and most texts have one everywhere.
        if head.last_chunk().is_some_and(|block| Lanes::load(block).equals(b' ').bits() != 0) {
            at = at.saturating_add(RUN_MIN_BYTES.saturating_sub(LANES));
            continue;
        }
        let begin = head.len().saturating_sub(head.iter().rev().take_while(|byte| is_digit(**byte)).count());
        let end = at.saturating_add(tail.iter().take_while(|byte| is_digit(**byte)).count());
        let run = text.get(begin..end).unwrap_or_default();
        if run.len() >= RUN_MIN_BYTES && is_data(run) {
            return Some((text.get(..begin)?, text.get(end..)?));
        }
        at = at.max(end).saturating_add(RUN_MIN_BYTES);
    }
    None
}

/// The digits of base64 and base64url; and what JSON writes between its lines or before a slash.
pub(super) const fn is_digit(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'-' | b'_' | b'=' | b'\\' | b'\n' | b'\r')
}

fn is_data(run: &[u8]) -> bool {
    let small = run.iter().filter(|byte| byte.is_ascii_lowercase()).count();
    let marks = run.iter().filter(|byte| !byte.is_ascii_alphanumeric()).count();
    small.saturating_mul(100) < run.len().saturating_mul(SMALL_LETTERS_MAX_PERCENT)
        && marks.saturating_mul(8) <= run.len()
}

/// Whether a `type` is that of a picture.
pub(super) fn is_image(kind: &[u8]) -> bool {
    matches!(kind, b"image" | b"image_url" | b"input_image" | b"image_file" | b"image_generation_call")
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn tokens(text: &str) -> u64 {
        let mut weight = TextWeight::default();
        weigh(text.as_bytes(), &mut weight);
        weight.tokens()
    }

    fn base64(bytes: usize) -> String {
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut state = 7_u64;
        let digit = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(digits[(state >> 58) as usize])
        };
        (0..bytes).map(digit).collect()
    }

    #[test]
    fn base64_weighs_nothing_wherever_it_stands() {
        let data = base64(100_000);
        let words = "the tide comes in twice a day and goes out again";
        let weight = tokens(words);
        for text in [
            data.clone(),
            data.replace('/', "\\/"),
            data.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned() + "\\n").collect(),
            data.replace('+', "-").replace('/', "_"),
            "A".repeat(50_000),
        ] {
            assert_eq!(tokens(&text), 0, "{}", &text[..60]);
            let within = format!("{words} {text} {words}");
            assert!((2 * weight..=2 * weight + 2).contains(&tokens(&within)), "{}", &text[..60]);
        }
    }

    #[test]
    fn no_run_is_missed() {
        for length in [RUN_MIN_BYTES - 1, RUN_MIN_BYTES, RUN_MIN_BYTES + 1, 300] {
            for before in 0..2 * RUN_MIN_BYTES {
                let words = "so it is ".repeat(60);
                let text = format!("{} {} {words}", &words[..before], base64(length));
                let begins_at = before + 1;
                let expected = (length >= RUN_MIN_BYTES).then_some((begins_at, begins_at + length));
                let found = next_run(text.as_bytes()).map(|(head, tail)| (head.len(), text.len() - tail.len()));
                assert_eq!(found, expected, "{length} bytes behind {before}");
            }
        }
    }

    #[test]
    fn words_are_text_however_long_and_without_spaces() {
        for text in [
            "the tide comes in twice a day and goes out again, ".repeat(100),
            "thetidecomesintwiceadayandgoesoutagain".repeat(100),
            "TheTideComesInTwiceADay".repeat(100),
            "the-tide-comes-in-twice-a-day".repeat(100),
            "潮は一日に二度満ちて".repeat(100),
            base64(200),
        ] {
            let mut plain = TextWeight::default();
            plain.add(text.as_bytes());
            assert_eq!(tokens(&text), plain.tokens(), "{}", &text[..30]);
        }
    }
}
