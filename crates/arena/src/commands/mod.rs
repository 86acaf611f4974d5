//! What a person types, and what drives a run.
//!
//! Each command is a module with its arguments (`Args`) and a `run` function; those that read runs are in [`crate::read`].

mod again;
pub mod analyze;
pub mod bench;
mod census;
pub mod check;
pub mod class;
pub mod cluster;
mod contestant;
mod database;
pub mod doctor;
pub mod experiment;
pub mod fight;
pub mod fill;
pub mod floor;
mod flushes;
mod guest;
pub mod league;
pub mod payloads;
pub mod simulate;
pub mod stack;
pub mod stress;
mod thorough;
pub mod torment;
pub mod trial;
pub mod tune;
mod tuning;
mod verdict;
