//! Gatling's `simulation.log`, read while it grows or when it is whole.

pub mod import;
pub(crate) mod line;
pub mod results;
