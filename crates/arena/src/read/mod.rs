//! What is shown of runs that are over.

pub mod compare;
pub mod costs;
pub mod history;
pub mod report;
pub mod standings;
