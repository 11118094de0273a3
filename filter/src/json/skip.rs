//! Passing over a container that nobody looks into.
use super::string::next_special;

/// How many bytes are searched at once: wide enough for the compiler to use vector instructions, where there are any.
const BLOCK_BYTES: usize = 32;

/// The way to the end of a container: only strings and brackets matter, and not which bracket it is.
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

    /// Stands behind the container's first bracket.
    pub(super) const fn begin() -> Self {
        Skip { depth: 1, within: Within::Structure }
    }

    /// What is left of `bytes` once the container has ended, and whether it has.
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
        let dull = dull_prefix(bytes);
        let Some((byte, rest)) = bytes.get(dull..).and_then(<[u8]>::split_first) else { return &[] };
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

const fn is_structure(byte: u8) -> bool {
    matches!(byte, b'"' | b'{' | b'}' | b'[' | b']')
}

/// How many bytes stand before the next one that matters; all of them, when none does.
fn dull_prefix(bytes: &[u8]) -> usize {
    let dull_block = |block: &&[u8]| !block.iter().fold(false, |any, byte| any | is_structure(*byte));
    let blocks = bytes.chunks_exact(BLOCK_BYTES).take_while(dull_block).count();
    let passed = blocks.saturating_mul(BLOCK_BYTES);
    let rest = bytes.get(passed..).unwrap_or_default();
    rest.iter().position(|byte| is_structure(*byte)).unwrap_or(rest.len()).saturating_add(passed)
}
