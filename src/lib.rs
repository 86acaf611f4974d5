//! The contender: a small API over people, honest about what it stored.
//!
//! A request enters in [`server`], finds its handler in [`routes`], is judged by [`person`] and answered out of
//! [`memory`] or [`store`]. `docs/ARCHITECTURE.md` walks a create and a search through all of it.

pub mod app;
pub mod config;
pub mod error;
pub mod health;
pub mod json;
pub mod memory;
pub mod metrics;
pub mod person;
pub mod routes;
pub mod server;
pub mod socket;
pub mod store;
pub mod vocabulary;
