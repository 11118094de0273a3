//! How the provider behaves towards a request, and how a request asks for it.

use std::num::ParseIntError;
use std::str::FromStr;

/// A request with this header is treated as it says: `x-rig-behaviour: pieces=5, chunk_delay_ms=10, cut_after=3`.
/// Flags stand alone: `no_usage`, `reset`.
pub const BEHAVIOUR_HEADER: &str = "x-rig-behaviour";

/// How a request is answered. The default is a prompt, well-behaved provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// Answer with this error status, in the provider's error shape.
    pub status: Option<u16>,
    /// Wait this long before the first byte of the answer, in milliseconds.
    pub delay_ms: u64,
    /// Wait this long before each further write of the body, in milliseconds.
    pub chunk_delay_ms: u64,
    /// How many pieces the text is streamed in.
    pub pieces: usize,
    /// Write the body this many bytes at a time, wherever that falls.
    pub split_bytes: Option<usize>,
    /// Reset the connection after this many writes of the body.
    pub cut_after: Option<usize>,
    /// Report no usage, as some compatible servers do.
    pub no_usage: bool,
    /// Reset the connection instead of answering.
    pub reset: bool,
    /// Produce exactly this many output tokens.
    pub output_tokens: Option<u64>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            status: None,
            delay_ms: 0,
            chunk_delay_ms: 0,
            pieces: 4,
            split_bytes: None,
            cut_after: None,
            no_usage: false,
            reset: false,
            output_tokens: None,
        }
    }
}

/// Why a behaviour could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BehaviourError {
    /// No such setting.
    #[error("there is no behaviour `{0}`")]
    Unknown(String),
    /// The setting's value is not a number.
    #[error("`{name}` needs a number: {error}")]
    Number {
        /// The setting.
        name: String,
        /// The problem with its value.
        error: ParseIntError,
    },
}

impl FromStr for Behaviour {
    type Err = BehaviourError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut behaviour = Self::default();
        for setting in text.split(',').map(str::trim).filter(|setting| !setting.is_empty()) {
            let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
            behaviour.set(name, value)?;
        }
        Ok(behaviour)
    }
}

impl Behaviour {
    fn set(&mut self, name: &str, value: &str) -> Result<(), BehaviourError> {
        match name {
            "status" => self.status = Some(number(name, value)?),
            "delay_ms" => self.delay_ms = number(name, value)?,
            "chunk_delay_ms" => self.chunk_delay_ms = number(name, value)?,
            "pieces" => self.pieces = number(name, value)?,
            "split_bytes" => self.split_bytes = Some(number(name, value)?),
            "cut_after" => self.cut_after = Some(number(name, value)?),
            "output_tokens" => self.output_tokens = Some(number(name, value)?),
            "no_usage" => self.no_usage = true,
            "reset" => self.reset = true,
            other => return Err(BehaviourError::Unknown(other.to_owned())),
        }
        Ok(())
    }
}

fn number<T: FromStr<Err = ParseIntError>>(name: &str, value: &str) -> Result<T, BehaviourError> {
    value.parse().map_err(|error| BehaviourError::Number { name: name.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_flags_are_read_from_one_line() {
        let behaviour: Behaviour = "status=429, split_bytes=3,no_usage".parse().unwrap();
        let expected = Behaviour { status: Some(429), split_bytes: Some(3), no_usage: true, ..Behaviour::default() };
        assert_eq!(behaviour, expected);
    }

    #[test]
    fn an_unknown_setting_is_named() {
        let error = "colour=red".parse::<Behaviour>().unwrap_err();
        assert_eq!(error.to_string(), "there is no behaviour `colour`");
    }
}
