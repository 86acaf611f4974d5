//! What services cost while a load runs: CPU, throttling, memory and disk writes, from the kernel's own accounts.
//!
//! These are the figures that stay true on a noisy machine: a neighbour makes a request slower, but hardly makes it
//! cost more CPU.

mod account;
mod cgroup_usage;
pub mod engine;
mod process_table;
mod process_usage;
mod roots;
mod target;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use jiff::Timestamp;

use crate::record::run::{Cost, Limit, ServiceSeries};
use account::Account;
pub use roots::Roots;
use target::Source;
pub use target::{Target, parse_named};

/// Time between two samples: what a service did between the last one and its end is not seen.
const INTERVAL: Duration = Duration::from_millis(100);

/// Every so many of them is a thorough one, which looks for whom it does not know yet.
const THOROUGH: u32 = 10;

/// Samples services ten times a second on a thread of its own, from [`Observer::start`] until [`Observer::stop`].
pub struct Observer {
    limits: Vec<Limit>,
    began: Timestamp,
    stop: Sender<()>,
    sampler: JoinHandle<Vec<Account>>,
}

impl Observer {
    /// Starts to observe the services, each under its name.
    ///
    /// # Errors
    ///
    /// A target that does not exist or cannot be read, or no thread to be had.
    pub fn start(targets: Vec<(String, Target)>) -> anyhow::Result<Self> {
        Self::start_at(&Roots::default(), targets)
    }

    /// What the control group of each service allows it, as far as the kernel tells.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// Takes a last sample, and gives what was seen since the start.
    ///
    /// Services keep the order in which they were given. A service that ended meanwhile keeps its last figures.
    pub fn stop(self) -> Observation {
        drop(self.stop);
        Observation { began: self.began, accounts: self.sampler.join().unwrap_or_default() }
    }

    fn start_at(roots: &Roots, targets: Vec<(String, Target)>) -> anyhow::Result<Self> {
        let mut observed = Vec::with_capacity(targets.len());
        let mut limits = Vec::with_capacity(targets.len());
        for (name, target) in targets {
            let mut source = target.resolve(roots).with_context(|| format!("cannot observe {name}"))?;
            let first =
                source.read(roots, true).ok_or_else(|| anyhow!("cannot observe {name}: {target} gives no figures"))?;
            limits.push(source.limit(&name));
            observed.push(Observed { source, account: Account::open(name, first) });
        }
        let (stop, stopped) = channel();
        let (began, start) = (Timestamp::now(), Instant::now());
        let roots = roots.clone();
        let sampler = std::thread::Builder::new()
            .name("observer".into())
            .spawn(move || sample(&roots, observed, start, &stopped))
            .context("cannot start the observer's thread")?;
        Ok(Self { limits, began, stop, sampler })
    }
}

/// What an [`Observer`] saw.
pub struct Observation {
    began: Timestamp,
    accounts: Vec<Account>,
}

/// What each service cost, as a sum and second by second.
pub type Costs = (Vec<Cost>, BTreeMap<String, ServiceSeries>);

impl Observation {
    /// What each service cost from the first sample to the last.
    pub fn whole(&self) -> Costs {
        self.costs(|account| account.between(Duration::ZERO, account.end()))
    }

    /// What each service cost in the `seconds` after a moment, of which the series has that many entries and one for a
    /// last second that is not whole, as a run's other series have.
    pub fn during(&self, start: Timestamp, seconds: f64) -> Costs {
        let from = Duration::try_from(start.duration_since(self.began)).unwrap_or_default();
        let to = from + Duration::from_secs_f64(seconds);
        let (costs, series) = self.costs(|account| account.between(from, to));
        (costs, in_step(series, seconds as usize + 1))
    }

    fn costs(&self, of: impl Fn(&Account) -> (Cost, ServiceSeries)) -> Costs {
        self.accounts.iter().map(of).map(|(cost, series)| (cost.clone(), (cost.service, series))).unzip()
    }
}

/// Brings the series of services to the length of a run's others. A service keeps its memory in seconds without a sample.
pub fn in_step(mut services: BTreeMap<String, ServiceSeries>, seconds: usize) -> BTreeMap<String, ServiceSeries> {
    for series in services.values_mut() {
        series.cpus.resize(seconds, 0.0);
        series.throttled_periods.resize(seconds, 0);
        series.memory_bytes.resize(seconds, series.memory_bytes.last().copied().unwrap_or_default());
    }
    services
}

struct Observed {
    source: Source,
    account: Account,
}

fn sample(roots: &Roots, mut observed: Vec<Observed>, start: Instant, stopped: &Receiver<()>) -> Vec<Account> {
    let mut due = start + INTERVAL;
    for sample in 1_u32.. {
        let wait = due.saturating_duration_since(Instant::now());
        let running = stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout);
        let thorough = !running || sample.is_multiple_of(THOROUGH);
        for Observed { source, account } in observed.iter_mut().filter(|service| thorough || service.source.is_quick())
        {
            match source.read(roots, thorough) {
                Some(reading) => account.add(start.elapsed(), reading),
                None => account.miss(),
            }
        }
        if !running {
            break;
        }
        let now = Instant::now();
        while due <= now {
            due += INTERVAL;
        }
    }
    observed.into_iter().map(|service| service.account).collect()
}

#[cfg(test)]
mod tests;
