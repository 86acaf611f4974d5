//! What the contender spends on one request without sockets and without the database.
//!
//! Every row and term comes from the arena's generator, so that the figures are of what a bout sends. A benchmark over
//! several rows takes them in turn: its figure is their mean.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use criterion::Criterion;
use mimalloc::MiMalloc;

mod answer;
mod memory;
mod people;
mod request;
mod rows;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    let short = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    let mut criterion = short.configure_from_args();
    request::benchmarks(&mut criterion);
    answer::benchmarks(&mut criterion);
    memory::benchmarks(&mut criterion);
    criterion.final_summary();
}
