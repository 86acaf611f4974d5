//! Gatling, the event's load generator: builds a simulation, runs it, and shows how it goes. What it leaves behind is read
//! in [`crate::record::gatling_log`].
//!
//! How Gatling is built and with which options Java runs stands in `gatling/run.sh` alone, which people can also use
//! without the arena.

mod child;
mod prepare;
mod progress;
mod schedule;
mod simulate;

pub use prepare::{Prepared, check, is_ours, prepare};
pub use schedule::{Punctuality, fetches_each, punctuality};
pub use simulate::{Fought, Settings, run};
