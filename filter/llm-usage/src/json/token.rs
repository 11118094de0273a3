//! The one token that may straddle two pieces.

/// The longest key, string or number that is read, in bytes as written. The longest one that matters, an identifier
/// with every character escaped, is shorter; longer ones are skipped.
pub(crate) const TOKEN_MAX_BYTES: usize = 256;

/// A token's bytes as written, kept until it is known whether the current piece holds all of it.
#[derive(Clone)]
pub(super) struct Token {
    bytes: [u8; TOKEN_MAX_BYTES],
    len: usize,
    /// It is too long: the token is useless.
    too_long: bool,
}

impl Token {
    pub(super) const fn new() -> Self {
        Token { bytes: [0; TOKEN_MAX_BYTES], len: 0, too_long: false }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.too_long = false;
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        let end = self.len.saturating_add(piece.len());
        match self.bytes.get_mut(self.len..end) {
            Some(room) => {
                room.copy_from_slice(piece);
                self.len = end;
            }
            None => self.too_long = true,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0 && !self.too_long
    }

    /// The bytes, unless there were too many.
    pub(super) fn get(&self) -> Option<&[u8]> {
        if self.too_long { None } else { self.bytes.get(..self.len) }
    }
}
