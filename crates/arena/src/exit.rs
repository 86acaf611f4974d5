//! The exit statuses that every command shares.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

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

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// What becomes true at Ctrl-C, SIGTERM and SIGHUP, which end this process no more: whoever calls this does so himself,
/// and takes along what he started.
///
/// # Errors
///
/// If the operating system refuses.
pub fn interruption() -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, interrupted.clone()).context("handling signals")?;
    }
    Ok(interrupted.clone())
}

/// Whether one of these signals came; false for ever where nobody called [`interruption`].
pub fn is_interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|interrupted| interrupted.load(Ordering::Relaxed))
}

/// # Errors
///
/// If one of these signals came.
pub fn fail_if_interrupted() -> anyhow::Result<()> {
    ensure!(!is_interrupted(), "interrupted");
    Ok(())
}
