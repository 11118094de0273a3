//! The script, put together from its parts.
use redis::Script;

/// The parts before the one that reads the time.
const ARITHMETIC: [&str; 5] = [
    include_str!("lua/number.lua"),
    include_str!("lua/tiers.lua"),
    include_str!("lua/time.lua"),
    include_str!("lua/limit.lua"),
    include_str!("lua/store.lua"),
];
const MAIN: &str = include_str!("lua/main.lua");

/// A script and the hash that the server keeps it under.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) text: String,
    pub(crate) hash: String,
}

impl Program {
    /// The script with the part that reads the time.
    pub(crate) fn with(clock: &str) -> Self {
        let parts = ARITHMETIC.iter().copied().chain([clock, MAIN]);
        let text = parts.collect::<Vec<&str>>().join("\n");
        let hash = Script::new(&text).get_hash().to_owned();
        Program { text, hash }
    }

    /// The script of every release: its time is the server's.
    pub(crate) fn released() -> Self {
        Self::with(include_str!("lua/clock.lua"))
    }
}

/// Sets a partition's memory, unless it has a newer one.
pub(crate) const RAISE: &str = "
local found = tonumber(string.match(redis.call('GET', KEYS[1]) or '0:', '^(%d+):'))
if not found or found < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[2])
end
return redis.status_reply('OK')
";
