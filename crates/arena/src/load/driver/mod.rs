//! The arena's own open-loop driver, light enough to share two cores with the stack it loads.
//!
//! Users arrive when the schedule says, whatever became of those before them, and every time is measured from the moment
//! that the schedule intended as well as from the moment of sending. The driver checks what it is answered, and judges
//! itself.

pub mod checks;
pub mod connection;
pub mod document;
pub mod drive;
pub mod entry;
pub mod feed;
pub mod http;
pub mod ledger;
pub mod monitor;
pub mod plan;
pub mod probe;
pub mod progress;
pub mod roll;
pub mod rules;
pub mod schedule;
pub mod slot;
pub mod strain;
pub mod survey;
pub mod worker;
