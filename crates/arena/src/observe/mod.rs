//! What services cost while a load runs: CPU, throttling, memory and disk writes, from the kernel's own accounts.
//!
//! These are the figures that stay true on a noisy machine: a neighbour makes a request slower, but hardly makes it
//! cost more CPU.

mod account;
mod cgroup;
mod process;
mod target;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use crate::run::{Cost, Limit, ServiceSeries};
use account::Account;
use target::Source;
pub use target::{Roots, Target, parse_named};

/// Time between two samples.
const INTERVAL: Duration = Duration::from_secs(1);

/// Samples services once a second on a thread of its own, from [`Observer::start`] until [`Observer::stop`].
pub struct Observer {
    limits: Vec<Limit>,
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

    /// Takes a last sample and gives what each service cost since the start, as a sum and second by second.
    ///
    /// Services keep the order in which they were given. A service that ended meanwhile keeps its last figures.
    pub fn stop(self) -> (Vec<Cost>, BTreeMap<String, ServiceSeries>) {
        drop(self.stop);
        let accounts = self.sampler.join().unwrap_or_default();
        accounts.into_iter().map(Account::close).map(|(cost, series)| (cost.clone(), (cost.service, series))).unzip()
    }

    fn start_at(roots: &Roots, targets: Vec<(String, Target)>) -> anyhow::Result<Self> {
        let mut observed = Vec::with_capacity(targets.len());
        let mut limits = Vec::with_capacity(targets.len());
        for (name, target) in targets {
            let mut source = target.resolve(roots).with_context(|| format!("cannot observe {name}"))?;
            let first =
                source.read(roots).ok_or_else(|| anyhow!("cannot observe {name}: {target} gives no figures"))?;
            limits.push(source.limit(&name));
            observed.push(Observed { source, account: Account::open(name, first) });
        }
        let (stop, stopped) = channel();
        let roots = roots.clone();
        let sampler = std::thread::Builder::new()
            .name("observer".into())
            .spawn(move || sample(&roots, observed, &stopped))
            .context("cannot start the observer's thread")?;
        Ok(Self { limits, stop, sampler })
    }
}

struct Observed {
    source: Source,
    account: Account,
}

fn sample(roots: &Roots, mut observed: Vec<Observed>, stopped: &Receiver<()>) -> Vec<Account> {
    let mut last = Instant::now();
    let mut due = last + INTERVAL;
    loop {
        let wait = due.saturating_duration_since(Instant::now());
        let running = stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout);
        let now = Instant::now();
        for Observed { source, account } in &mut observed {
            if let Some(reading) = source.read(roots) {
                account.add(reading, now - last);
            }
        }
        if !running {
            return observed.into_iter().map(|service| service.account).collect();
        }
        last = now;
        while due <= now {
            due += INTERVAL;
        }
    }
}

#[cfg(test)]
mod tests;
