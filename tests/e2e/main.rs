//! The contender from outside: over HTTP, through a real nginx, into a real PostgreSQL.

mod create;
mod faults;
mod hard;
mod http;
mod paths;
mod search;
mod stack;
