//! What an event means for its stream.
use super::error::Failure;
use super::shape::OneText;

/// What an event means for the stream.
#[derive(Debug)]
pub(super) enum Step {
    /// It goes on. With one text, the next event may say another one in the same way.
    On(Option<OneText>),
    /// The answer is complete.
    Complete,
    /// The provider failed.
    Failed(Failure),
}
