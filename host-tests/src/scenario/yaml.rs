//! The words of YAML 1.1 that YAML 1.2 takes for text.

/// Words that YAML 1.1 takes for a truth value where they stand without quotes, in lower case.
const WORDS: [(&str, &str); 4] = [("on", "true"), ("yes", "true"), ("off", "false"), ("no", "false")];

/// Writes each of those words as the truth value that a reader of YAML 1.1 makes of it, as a key, too. Block texts
/// (`|`, `>`) are not told from structure: test files have none that hold such a word alone.
pub(super) fn in_words_of_1_2(text: &str) -> String {
    text.split_inclusive('\n').map(line).collect()
}

fn line(text: &str) -> String {
    let (mut out, mut scalar, mut quote) = (String::new(), String::new(), None);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let next_is_space = letters.peek().is_none_or(|next| next.is_whitespace());
        let separates = "{}[],\n".contains(letter) || (letter == ':' && next_is_space);
        let begins_comment = letter == '#' && scalar.chars().next_back().is_none_or(char::is_whitespace);
        if quote.is_none() && begins_comment {
            return out + &spelt(&scalar) + "#" + &letters.collect::<String>();
        }
        if quote.is_none() && separates {
            out.push_str(&spelt(&scalar));
            scalar.clear();
            out.push(letter);
            continue;
        }
        quote = match quote {
            None if matches!(letter, '"' | '\'') => Some(letter),
            Some(open) if open == letter => None,
            quote => quote,
        };
        scalar.push(letter);
    }
    out + &spelt(&scalar)
}

/// A scalar with the space around it, and with the marks of list items before it.
fn spelt(scalar: &str) -> String {
    let word = scalar.trim().trim_start_matches("- ").trim_start();
    let found = WORDS.iter().find(|(known, _)| word.eq_ignore_ascii_case(known));
    found.map_or_else(|| scalar.to_owned(), |(_, truth)| scalar.replacen(word, truth, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_without_quotes_become_truth_values_as_keys_too() {
        let text = "a: on\nlist: [no, 'no', \"off\", none] # on\non: {yes: Off, x: it is on}\n- no\n";
        let read = "a: true\nlist: [false, 'no', \"off\", none] # on\ntrue: {true: false, x: it is on}\n- false\n";
        assert_eq!(in_words_of_1_2(text), read);
    }
}
