//! The rules once more, plain and slow.

pub mod address;
pub mod json;
pub mod rules;
