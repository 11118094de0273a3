//! What Kong does, quirk by quirk.

mod heads;
mod messages;
mod misuse;
mod reloads;
