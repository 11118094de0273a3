//! Moves a log aside, so that a backup can take its place.
use super::errors::failed;
use super::place::{Keys, RedisPlace};
use super::scripts::{ASIDE, call};
use crate::{LogError, RedisProblem};

/// What follows the name of a log that was moved aside.
const ASIDE_SUFFIX: &str = ".replaced";

/// Renames the keys of the log at `place`, over those of an earlier log that was moved aside. Refused while a weir writes to it.
pub fn move_aside(place: &RedisPlace) -> Result<(), LogError> {
    let (from, to) = (place.keys(), Keys::of(&format!("{}{ASIDE_SUFFIX}", place.name)));
    let mut session = place.connect()?;
    let keys = [from.kept().as_slice(), to.kept().as_slice(), &[&from.lease]].concat();
    let holder: Result<Option<String>, _> = session.run_script(&ASIDE, &call(&ASIDE, &keys));
    match holder.map_err(|error| place.failed(failed(&error)))? {
        None => Ok(()),
        Some(holder) => Err(place.failed(RedisProblem::InUse(holder))),
    }
}
