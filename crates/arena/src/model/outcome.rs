//! What a simulation came to.

use hdrhistogram::Histogram;

use crate::load::driver::schedule::Kind;

/// Response times and costs of one load.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Response times in microseconds, in the order of [`Kind::ALL`].
    pub times: [Histogram<u64>; 4],
    /// What the services used, the same on all machines together.
    pub services: Vec<Service>,
    /// How long users arrived, in seconds.
    pub seconds: f64,
    /// Groups of creates, and people in them.
    pub groups: (u64, u64),
    /// Looks at the table.
    pub looks: u64,
}

/// What one service used.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// `nginx`, `api1` and so on, or `db`.
    pub name: String,
    /// CPU time in seconds.
    pub cpu_seconds: f64,
    /// Share of the periods in which it had work and no quota left, 0 to 1.
    pub throttled: f64,
}

impl Outcome {
    /// Requests of all kinds.
    pub fn requests(&self) -> u64 {
        self.times.iter().map(Histogram::len).sum()
    }

    /// The 99th percentile of a kind, in milliseconds; 0 where there was none of it.
    pub fn p99(&self, kind: Kind) -> f64 {
        self.times[kind as usize].value_at_quantile(0.99) as f64 / 1e3
    }

    /// The slowest kind's.
    pub fn worst_p99(&self) -> f64 {
        Kind::ALL.map(|kind| self.p99(kind)).into_iter().fold(0.0, f64::max)
    }

    /// CPU time of all services for each request, in milliseconds per thousand.
    pub fn cpu_ms_per_thousand(&self) -> f64 {
        let seconds: f64 = self.services.iter().map(|service| service.cpu_seconds).sum();
        seconds * 1e6 / self.requests().max(1) as f64
    }
}
