//! The environment variables that the gateway hands to the module (WASI `environ_get`). Envoy hands over those that the VM's
//! settings name, Kong all of its worker's.
use std::collections::BTreeMap;

use weir_filter::config::Environment;

use super::{OK, environ_get, environ_sizes_get};

/// The most variables that are read. A process has some dozens.
const VARIABLES_MAX: usize = 4_096;

/// The most bytes of names and values that are read.
const TEXTS_MAX_BYTES: usize = 1024 * 1024;

/// The gateway's variables. None of them if it refuses, or has more than is read: a secret that the configuration names is
/// then missing, and the configuration is refused.
pub(crate) fn environment() -> Environment {
    Environment::Of(read().unwrap_or_default())
}

fn read() -> Option<BTreeMap<String, String>> {
    let (mut count, mut size) = (0, 0);
    // SAFETY: both pointers are valid for the write of a usize.
    let status = unsafe { environ_sizes_get(&raw mut count, &raw mut size) };
    if status != OK || count > VARIABLES_MAX || size > TEXTS_MAX_BYTES {
        return None;
    }
    let mut variables = vec![std::ptr::null_mut(); count];
    let mut texts = vec![0; size];
    // SAFETY: there is room for `count` pointers and `size` bytes, which the gateway has just asked for.
    let status = unsafe { environ_get(variables.as_mut_ptr(), texts.as_mut_ptr()) };
    (status == OK).then(|| parse(&texts))
}

/// `NAME=VALUE` texts, each ended by a zero byte. The pointers into them are not needed.
fn parse(texts: &[u8]) -> BTreeMap<String, String> {
    let texts = texts.split(|byte| *byte == 0).filter_map(|text| std::str::from_utf8(text).ok()?.split_once('='));
    texts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
