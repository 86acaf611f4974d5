//! The arena: all that a bout needs, from the stack under its budget to the verdict.
//!
//! Each command of the `arena` binary is a module with its arguments (`Args`) and a `run` function.

pub mod analyze;
pub mod base_url;
pub mod bench;
pub mod check;
pub mod cli;
pub mod compare;
pub mod costs;
pub mod exit;
pub mod experiment;
pub mod fight;
pub mod gatling;
pub mod histogram;
pub mod history;
pub mod machine;
pub mod metric;
pub mod observe;
pub mod payloads;
pub mod prerequisites;
pub mod random;
pub mod report;
pub mod run;
pub mod stack;
pub mod stress;
pub mod terminal;
pub mod trial;
pub mod vocabulary;
pub mod workspace;
