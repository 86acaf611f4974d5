//! Gatling, the event's load generator: builds a simulation, runs it, and reads what it leaves behind.
//!
//! How Gatling is built and with which options Java runs stands in `gatling/run.sh` alone, which people can also use
//! without the arena.

mod child;
mod prepare;
mod progress;
mod simulate;
#[cfg(test)]
mod tests;

pub use crate::record::gatling_log::results::{Outcome, read_results};
pub use prepare::{Prepared, check, is_ours, prepare};
pub use simulate::{Settings, run};
