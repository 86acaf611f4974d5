//! What a person types, and what drives a run.
//!
//! Each command is a module with its arguments (`Args`) and a `run` function; those that read runs are in [`crate::read`].

pub mod analyze;
pub mod bench;
mod census;
pub mod check;
pub mod class;
mod database;
pub mod doctor;
pub mod experiment;
pub mod fight;
pub mod fill;
mod flushes;
mod guest;
pub mod league;
pub mod payloads;
pub mod stack;
pub mod stress;
mod thorough;
pub mod torment;
pub mod trial;
mod verdict;
