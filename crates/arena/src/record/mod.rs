//! What is kept of a run, and how it is found again.

pub mod gatling_log;
pub mod histogram;
pub mod history;
mod keep;
pub mod league;
pub mod metric;
pub mod run;
pub mod search;
pub mod threshold;
pub mod torment;
