//! Skips a container.
use super::string::next_special;
use crate::lanes::{self, Lanes};

/// Finds the end of a container: only strings and brackets matter, and not which kind of bracket.
#[derive(Clone)]
pub(super) struct Skip {
    /// Containers begun and not ended.
    depth: u32,
    within: Within,
}

#[derive(Clone, Copy)]
enum Within {
    Structure,
    String,
    Escape,
}

impl Skip {
    pub(super) const fn new() -> Self {
        Skip { depth: 0, within: Within::Structure }
    }

    /// Starts behind the container's first bracket.
    pub(super) const fn begin() -> Self {
        Skip { depth: 1, within: Within::Structure }
    }

    /// The rest of `bytes` once the container has ended, and whether it has.
    pub(super) fn feed<'b>(&mut self, bytes: &'b [u8]) -> (&'b [u8], bool) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.within {
                Within::Structure => self.structure(rest),
                Within::String => self.string(rest),
                Within::Escape => {
                    self.within = Within::String;
                    rest.get(1..).unwrap_or_default()
                }
            };
            if self.depth == 0 {
                return (rest, true);
            }
        }
        (rest, false)
    }

    fn structure<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let found = lanes::find(bytes, structure).and_then(|at| bytes.get(at..)).and_then(<[u8]>::split_first);
        let Some((byte, rest)) = found else { return &[] };
        match byte {
            b'"' => self.within = Within::String,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            _ => self.depth = self.depth.saturating_sub(1),
        }
        rest
    }

    fn string<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let found = next_special(bytes).and_then(|at| bytes.get(at..)).and_then(<[u8]>::split_first);
        let Some((special, rest)) = found else { return &[] };
        self.within = if *special == b'"' { Within::Structure } else { Within::Escape };
        rest
    }
}

/// Quotes and brackets, of either kind: one bit tells these apart.
fn structure(bytes: Lanes) -> Lanes {
    let either = bytes.or(Lanes::splat(0x20));
    bytes.equals(b'"').or(either.equals(b'{')).or(either.equals(b'}'))
}

#[cfg(test)]
mod tests {
    use super::structure;
    use crate::lanes::Lanes;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn quotes_and_brackets_matter_and_nothing_else() {
        for byte in 0..=u8::MAX {
            let found = structure(Lanes::splat(byte)).bits();
            assert_eq!(found != 0, br#""{}[]"#.contains(&byte), "{byte:#04x}");
        }
    }
}
