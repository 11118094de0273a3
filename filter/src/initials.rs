//! A look at a name's length and first letter, before it is compared with every name of a table.
//!
//! In WebAssembly a comparison goes byte by byte, and most names of a request stand in no table: two loads tell so. The
//! test below compares the look with the tables themselves.

/// The longest name of a table, in bytes.
const LENGTH_MAX: usize = 31;

/// The first letters of a table's names, by the names' lengths: a bit each, the same for a letter's two cases.
#[derive(Debug)]
pub(crate) struct Initials([u32; LENGTH_MAX + 1]);

impl Initials {
    /// Those of a table, made when this is compiled: a name that is empty or too long stops the compiler.
    #[allow(clippy::indexing_slicing, reason = "it runs in the compiler")]
    pub(crate) const fn of<T>(table: &[(&str, T)]) -> Self {
        let (mut initials, mut rest) = ([0; LENGTH_MAX + 1], table);
        while let [(name, _), tail @ ..] = rest {
            initials[name.len()] |= bit(name.as_bytes()[0]);
            rest = tail;
        }
        Initials(initials)
    }

    /// Whether a name of the table may be `name`, in any case of ASCII. False: none is.
    pub(crate) fn may_have(&self, name: &[u8]) -> bool {
        let of_length = self.0.get(name.len()).copied().unwrap_or(0);
        name.first().is_some_and(|first| of_length & bit(*first) != 0)
    }
}

const fn bit(letter: u8) -> u32 {
    1 << (letter & 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_name_of_the_table_is_never_missed_and_most_others_are_told() {
        let table = [("files", 1), ("n", 2), ("maxTokens", 3), ("fine-tunes", 4)];
        let initials = Initials::of(&table);
        for (name, _) in table {
            for name in [name.to_owned(), name.to_uppercase(), name.to_lowercase()] {
                assert!(initials.may_have(name.as_bytes()), "{name}");
            }
        }
        for name in ["", "file", "tiles", "m", "fine-tuning", "a name that is longer than any of those in a table"] {
            assert!(!initials.may_have(name.as_bytes()), "{name}");
        }
    }
}
