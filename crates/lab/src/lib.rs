//! The lab: small servers in which the questions of a back end can be seen while they happen.
//!
//! Each experiment is a process of its own, so that its memory, threads and context switches are its own too.

pub mod cli;
pub mod connection;
pub mod database;
pub mod forms;
pub mod guess;
pub mod live;
pub mod page;
pub mod resource;
pub mod server;
pub mod users;
pub mod visitor;

mod all;
mod check;
mod class;
mod switches;
mod tool;
