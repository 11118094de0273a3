/// What a column holds, besides NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A signed number of 64 bits.
    Integer,
    /// A text.
    Text,
    /// Bytes.
    Blob,
}
