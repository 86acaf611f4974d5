//! What `arena history` shows.

pub mod list;
pub mod plot;
