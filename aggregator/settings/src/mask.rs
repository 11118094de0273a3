//! Keys in texts of others: peers repeat what they were sent, and people write a key where a file's name belongs.

/// What the keys and secrets of Stripe begin with.
const PREFIXES: [&str; 5] = ["sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"];
/// What takes the place of a key's own part.
const MASKED: &str = "***";

/// The same text, with every key of Stripe cut to what all such keys begin with.
pub fn keys(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(end) = next_key(rest) {
        let (before, after) = rest.split_at(end);
        masked.push_str(before);
        masked.push_str(MASKED);
        rest = after.trim_start_matches(is_of_a_key);
    }
    masked.push_str(rest);
    masked
}

/// Where the prefix of the first key ends.
fn next_key(text: &str) -> Option<usize> {
    // Letters of ASCII only change: places stay the same.
    let lower = text.to_ascii_lowercase();
    PREFIXES.iter().filter_map(|prefix| Some(lower.find(prefix)? + prefix.len())).min()
}

fn is_of_a_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '*' | '+' | '/' | '=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_cut_to_their_prefix_and_the_rest_stays() {
        for (text, masked) in [
            ("nothing to hide", "nothing to hide"),
            ("sk_live_51AbC", "sk_live_***"),
            ("key: \"rk_test_9\", hook: whsec_x+y/z=.", "key: \"rk_test_***\", hook: whsec_***."),
            ("Sk_Live_1 sk_test_2 é", "Sk_Live_*** sk_test_*** é"),
            ("sk_test_*****rong", "sk_test_***"),
            ("sk_live_", "sk_live_***"),
        ] {
            assert_eq!(keys(text), masked);
        }
    }
}
