//! The exit statuses that every command shares.

use std::process::ExitCode;

/// How a command ended, as its exit status tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// 0: all went well.
    Good = 0,
    /// 1: the command did its work and the outcome is bad, or it could not do its work.
    Failed = 1,
    /// 2: the command was called in a way it does not understand; nothing was started.
    Usage = 2,
    /// 98: the run says nothing about the server, because the load generator was the bottleneck.
    Invalid = 98,
    /// 99: a threshold that the caller set was missed.
    ThresholdMissed = 99,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// The value of an argument; where it is none, one line on standard error says why, and the caller ends with
/// [`Exit::Usage`].
pub fn accept<T>(argument: anyhow::Result<T>) -> Option<T> {
    argument.inspect_err(|error| eprintln!("arena: {error:#}")).ok()
}
