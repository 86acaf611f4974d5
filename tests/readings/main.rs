//! Bodies, queries and paths as the contender reads them, against a plain and slow reading that was written from the rules
//! and shares no code with it. `fuzz/` makes the same comparisons over bytes that nobody thought of.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say so and end")]

mod compare;
mod corpus;
mod properties;
mod reference;
