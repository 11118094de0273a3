//! What Envoy does, quirk by quirk.

mod calls;
mod messages;
mod vms;
