//! What the log asks of the machine besides the time: waiting, and random bytes.
use std::time::Duration;

/// Waits.
pub(crate) fn pause(time: Duration) {
    #[cfg(feature = "simulated")]
    if let Some(servers) = crate::simulated::installed() {
        return servers.pause(time);
    }
    std::thread::sleep(time);
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    #[cfg(feature = "simulated")]
    if let Some(servers) = crate::simulated::installed() {
        servers.draw(&mut bytes);
        return Ok(bytes);
    }
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
