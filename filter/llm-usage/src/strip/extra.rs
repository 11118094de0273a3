//! Recognises the event that weir's request for usage caused.
use crate::json::{Container, Scalar, Visitor, Want};

/// The location of the next value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueLocation {
    Root,
    Choices,
    Usage,
    /// A member whose value does not matter.
    Other,
}

/// What an event's document has shown so far.
#[derive(Debug)]
pub(super) struct Extra {
    location: ValueLocation,
    in_choices: bool,
    /// `choices` was there, as an empty array.
    no_choices: bool,
    /// `usage` was there, as an object.
    usage: bool,
    ruled_out: bool,
}

impl Extra {
    pub(super) fn new() -> Self {
        Extra { location: ValueLocation::Root, in_choices: false, no_choices: false, usage: false, ruled_out: false }
    }

    /// Whether it cannot be that event any more.
    pub(super) fn is_ruled_out(&self) -> bool {
        self.ruled_out
    }

    /// Whether the whole document is that event: no choices, and usage.
    pub(super) fn is_it(&self) -> bool {
        self.no_choices && self.usage && !self.ruled_out
    }
}

impl Visitor for Extra {
    fn key(&mut self, key: &[u8]) -> Want {
        self.location = match key {
            b"choices" => ValueLocation::Choices,
            b"usage" => ValueLocation::Usage,
            _ => ValueLocation::Other,
        };
        if self.location == ValueLocation::Other { Want::Skip } else { Want::Read }
    }

    /// The scanner asks about elements of `choices` only.
    fn element(&mut self) -> Want {
        self.ruled_out = true;
        Want::Skip
    }

    fn begin(&mut self, container: Container) -> bool {
        match (self.location, container) {
            (ValueLocation::Root, Container::Object) => true,
            (ValueLocation::Choices, Container::Array) => {
                self.in_choices = true;
                true
            }
            (ValueLocation::Usage, Container::Object) => {
                self.usage = true;
                false
            }
            _ => {
                self.ruled_out = true;
                false
            }
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.in_choices) {
            self.no_choices = true;
        }
    }

    /// `choices` or `usage` is neither array nor object: an event with `"usage":null` and no choices stays.
    fn scalar(&mut self, _: Scalar<'_>) {
        self.ruled_out = true;
    }

    fn piece(&mut self, _: &[u8]) {}
}
