//! Gatling's `simulation.log`, read while it grows or when it is whole.

pub mod import;
pub(crate) mod line;
pub mod results;
#[cfg(test)]
mod tests;

/// Written by Gatling 3.9.5 under the event's request names, against a server that fails now and then.
#[cfg(test)]
pub(crate) const SAMPLE: &str = include_str!("testdata/simulation.log");
