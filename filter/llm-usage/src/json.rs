//! Reading JSON as it arrives: a push scanner that builds no tree and copies no more than one short token.
//!
//! [`Scanner`] is fed whatever pieces the network brings and tells a [`Visitor`] what it meets. The visitor says of
//! every member whether it wants it; what it does not want is passed over at the speed of a byte search. Memory is
//! constant: one token of at most [`TOKEN_MAX_BYTES`] and a depth of at most [`DEPTH_MAX`].
//!
//! The grammar is [RFC 8259](https://www.rfc-editor.org/rfc/rfc8259). Where the visitor looks, the grammar is held;
//! in what is passed over only strings and brackets are followed, which is enough to find its end. However a
//! document is cut into pieces, the visitor sees the same.
mod number;
mod scan;
mod skip;
mod string;
mod token;
mod varying;

pub use number::count;
pub use scan::{Container, DEPTH_MAX, Scalar, Scanner, Visitor, Want};
pub use string::{Unescaped, special};
pub use token::TOKEN_MAX_BYTES;
pub use varying::Varying;
