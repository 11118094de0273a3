//! Reads JSON as it arrives: a push scanner that builds no tree and copies at most one short token.
//!
//! [`Scanner`] is fed the pieces that the network brings and calls a [`Visitor`]. The visitor says for every member
//! whether it wants the value; unwanted values are skipped at the speed of a byte search. Memory is constant: one
//! token of at most [`token::TOKEN_MAX_BYTES`] and a depth of at most [`DEPTH_MAX`].
//!
//! The grammar is [RFC 8259](https://www.rfc-editor.org/rfc/rfc8259). It is enforced in wanted values; in skipped
//! ones only strings and brackets are tracked, which is enough to find the end. The visitor sees the same however a
//! document is cut into pieces.
//!
//! [`tree`] lists the values of a complete document, for those who edit or rewrite one.
pub mod cursor;
mod number;
mod scan;
mod skip;
mod string;
mod token;
pub mod tree;
mod varying;

pub use number::count;
pub use scan::{Container, DEPTH_MAX, Scalar, Scanner, Visitor, Want};
pub use string::{Unescaped, next_special, special};
pub use varying::Varying;
