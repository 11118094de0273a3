//! How a tenant comes and goes: the steps of a saga, what follows each outcome, and what is taken back when a step fails.
//!
//! A [`Saga`] is a value without clock and I/O. Its owner repeats three things until [`Saga::next`] says that it has ended:
//!
//! 1. [`Saga::begin`] records the next [`Call`], and the owner writes the saga to disk;
//! 2. the owner makes the call;
//! 3. [`Saga::settle`] takes in the [`Answer`], and the owner writes the saga to disk again.
//!
//! So after a crash the saga on disk knows every call that may have been made, and the owner goes on with `next`.
//!
//! # Constraints
//!
//! - Nothing is made twice. What a step makes is looked for first ([`Act::Find`]). A call without a clear answer is repeated under the
//!   same idempotency key ([`Answer::Unsure`]). A failure that uses the key up ([`Answer::Broken`]) is followed by a list of what there
//!   is ([`Act::List`]), and only if that has nothing by another key. A key that is 23 hours old counts as used up: Stripe keeps them for 24.
//! - A provisioning that fails is taken back from its last step to its first. A call without a clear answer is cleared up before its
//!   step counts as taken back. What was found and not made stays.
//! - What is there after a call that makes it is this saga's only if such a call had no clear answer. After calls that surely did nothing
//!   ([`Answer::Refused`], [`Answer::TurnedAway`], [`Answer::Unconfigured`]) it is a stranger's, and left alone.
//! - What nobody can do any more ends, too: it is skipped with its reason ([`Answer::Skipped`], [`Saga::skip`]).
//! - A provisioning publishes the tenant last, and that step is settled in the transaction that does it.
//! - A deprovisioning only goes forward. It stops if the tenant is let in again before it is archived.
#![forbid(unsafe_code)]

mod call;
mod progress;
mod saga;
mod step;

pub use call::{Act, Answer, Call};
pub use progress::{Mark, Progress};
pub use saga::{CannotSkip, Next, Phase, Saga};
pub use step::{Kind, Planned, Step};

#[cfg(test)]
mod tests;
