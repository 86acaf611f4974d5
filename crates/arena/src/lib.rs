//! The arena: all that a bout needs, from the stack under its budget to the verdict.
//!
//! Dependencies run one way: `cli` and `commands`; then `model`; then `load` and `stack`; then `read` and `observe`; then
//! `record`; and `exit`, `terminal` and `workspace` below all of them.

pub mod cli;
pub mod commands;
pub mod exit;
pub mod load;
pub mod model;
pub mod observe;
pub mod read;
pub mod record;
pub mod stack;
pub mod terminal;
pub mod workspace;
