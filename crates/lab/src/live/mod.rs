//! What happens right now: counted always, sampled only while somebody looks.

pub mod hub;
pub mod metrics;
pub mod own_process;
pub mod recorder;
pub mod run;
pub mod sampler;
pub mod station;
