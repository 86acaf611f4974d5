//! The contender from outside: over HTTP, through a real nginx, into a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say so and end")]

mod create;
mod description;
mod faults;
mod hard;
mod hostile;
mod http;
mod others;
mod overload;
mod paths;
mod privileges;
mod search;
mod sizes;
mod stack;
mod standby;
