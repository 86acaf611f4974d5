//! A stack in figures: how fast how many are answered, told from measured costs and without running anything.
//!
//! A discrete-event simulation: requests go from station to station (nginx, an instance, the database), wait there for a
//! processor and for their service's quota, and take the CPU time that such a piece of work was measured to take. What
//! it says of one stack is held against runs of that stack; what it says of many machines rests on that.

pub mod costs;
mod events;
mod instance;
pub mod layout;
pub mod outcome;
pub mod simulation;
mod stations;

/// How users arrive: as the driver has them arrive.
pub use crate::load::driver::schedule::{Kind, Mix, Profile};
