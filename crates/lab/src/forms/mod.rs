//! Opinion forms: stored at once, or queued and stored by a worker.

mod job;
mod opinion;
mod page;
pub(crate) mod queue;
mod routes;
mod store;
mod submission;
mod worker;

pub use routes::{Args, run};
pub use worker::{WorkerArgs, run as run_worker};
