//! What Kong does, quirk by quirk.

mod messages;
mod misuse;
