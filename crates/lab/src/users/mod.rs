//! Blocking and non-blocking: the same route over two kinds of waiting.

mod blocking;
mod non_blocking;
mod page;
mod ping;
mod routes;
mod store;

pub use routes::{BlockingArgs, NonBlockingArgs, run_blocking, run_non_blocking};
