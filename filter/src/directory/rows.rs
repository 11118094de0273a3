//! A list that grows without moving its rows.

/// Rows of one block: at most some hundred kilobytes, so that allocating one is a short step.
const BLOCK_ROWS: usize = 4_096;

/// Rows by number.
#[derive(Debug)]
pub struct Rows<T> {
    blocks: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Rows { blocks: Vec::new(), len: 0 }
    }
}

impl<T> Rows<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds one at the end.
    pub fn push(&mut self, row: T) {
        if self.len.is_multiple_of(BLOCK_ROWS) {
            self.blocks.push(Vec::with_capacity(BLOCK_ROWS));
        }
        if let Some(block) = self.blocks.last_mut() {
            block.push(row);
            self.len += 1;
        }
    }

    /// The row of that number.
    pub fn get(&self, at: u32) -> Option<&T> {
        let at = usize::try_from(at).ok()?;
        self.blocks.get(at / BLOCK_ROWS)?.get(at % BLOCK_ROWS)
    }
}
