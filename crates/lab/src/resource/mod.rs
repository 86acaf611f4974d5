//! A scarce resource: what it is to share something that holds only so many.

mod page;
mod place;
mod routes;
mod stage;
mod trend;

pub use routes::{Args, run};
