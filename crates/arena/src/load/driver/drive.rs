//! A plan, carried out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::document;
use super::monitor::Monitor;
use super::plan::{Plan, Ramp};
use super::progress::Progress;
use super::schedule::Profile;
use super::strain::{Conduct, Strain, strain};
use super::worker::Worker;
use crate::record::run::{Run, Step};
use crate::record::threshold::Threshold;

/// Time from the last preparation to the first arrival.
const LEAD: Duration = Duration::from_millis(100);

/// What came of a plan.
#[derive(Debug)]
pub struct Driven {
    /// When the load began.
    pub started: SystemTime,
    /// How long it took, the last answers included.
    pub length: Duration,
    /// Whether it was stopped before its end.
    pub stopped: bool,
    /// Everything that was counted.
    pub monitor: Monitor,
    /// The steps of a ramp.
    pub steps: Vec<Step>,
    /// How hard the driver had it, and what shows it.
    pub strain: (Strain, Vec<String>),
}

impl Driven {
    /// As much of the run document as the driver knows.
    ///
    /// # Errors
    ///
    /// A histogram cannot be written.
    pub fn document(&self) -> anyhow::Result<Run> {
        let mut run = document::draft(&self.monitor, self.length)?;
        run.started = jiff::Timestamp::try_from(self.started)?.to_string();
        run.steps.clone_from(&self.steps);
        Ok(run)
    }
}

/// How to carry out a plan.
#[derive(Debug)]
pub struct Driving<'a> {
    /// Keeps histograms by second.
    pub intervals: bool,
    /// The send lag from which the driver is not believed.
    pub most_lag: Duration,
    /// Ends the plan before its end.
    pub stop: &'a AtomicBool,
    /// Ends it by itself once a request has failed.
    pub gives_up: bool,
}

/// Carries out a plan, or as much of it as there is until it is stopped.
///
/// # Errors
///
/// The kernel refuses what the driver needs.
pub fn drive(plan: &Plan, worker: &mut Worker, driving: &Driving) -> anyhow::Result<Driven> {
    match plan {
        Plan::Profile(profile) => {
            drive_profile(profile, profile.name.to_owned(), Instant::now() + LEAD, worker, driving)
        }
        Plan::Ramp(ramp) => drive_ramp(ramp, worker, driving),
    }
}

fn drive_profile(
    profile: &Profile,
    name: String,
    start: Instant,
    worker: &mut Worker,
    driving: &Driving,
) -> anyhow::Result<Driven> {
    let progress = Progress::new(name, profile.duration());
    let started = SystemTime::now() + start.saturating_duration_since(Instant::now());
    let mut monitor = Monitor::new(start, driving.intervals)?.of_load(profile.duration());
    worker.run(profile.arrivals(), &mut monitor, driving.stop, |monitor| {
        progress.show(monitor);
        if driving.gives_up && monitor.tallies.iter().any(|tally| tally.failed() > 0) {
            driving.stop.store(true, Ordering::Relaxed);
        }
    })?;
    progress.finish();
    let strain = strain(&Conduct::of(&monitor, driving.most_lag));
    let stopped = driving.stop.load(Ordering::Relaxed);
    Ok(Driven { started, length: start.elapsed(), stopped, monitor, steps: Vec::new(), strain })
}

fn drive_ramp(ramp: &Ramp, worker: &mut Worker, driving: &Driving) -> anyhow::Result<Driven> {
    let mut whole: Option<Driven> = None;
    let mut start = Instant::now() + LEAD;
    for (rate, profile) in ramp.steps() {
        let driven = drive_profile(&profile, format!("{rate} users/s"), start, worker, driving)?;
        // A step begins where the last second of the one before ends: entries of the series stay a second apart, as
        // those of the observed services are.
        start = driven.monitor.end().max(Instant::now());
        let (step, ended) = conclude_step(ramp, rate, &driven)?;
        let ended = ended || driven.stopped;
        let mut so_far = match whole.take() {
            None => driven,
            Some(before) => before.followed_by(driven),
        };
        so_far.steps.push(step);
        if ended {
            return Ok(so_far);
        }
        whole = Some(so_far);
    }
    whole.ok_or_else(|| anyhow::anyhow!("the ramp has no step"))
}

/// What one step showed, and whether the ramp ends with it.
fn conclude_step(ramp: &Ramp, rate: f64, driven: &Driven) -> anyhow::Result<(Step, bool)> {
    let run = document::draft(&driven.monitor, driven.length)?;
    let held = |threshold: &Threshold| match threshold.holds(&run) {
        Some((true, value)) => Some(threshold.show(value)),
        None if ramp.wants_every_figure => Some(format!("this step does not tell {}", threshold.metric())),
        _ => None,
    };
    let broken: Vec<String> = ramp.until.iter().filter_map(held).collect();
    let ended = (!broken.is_empty() && !ramp.past_knee) || driven.strain.0 == Strain::TooMuch;
    let requests = document::requests(&driven.monitor, false)?;
    let goodput = (!driven.stopped).then(|| document::goodput(&driven.monitor));
    Ok((Step { users_per_second: rate, seconds: run.seconds, requests, broken, goodput }, ended))
}

impl Driven {
    /// Adds a run that came after this one. The harder strain of the two stays.
    fn followed_by(mut self, later: Self) -> Self {
        self.monitor.absorb(later.monitor);
        self.length += later.length;
        self.stopped |= later.stopped;
        if later.strain.0 > self.strain.0 {
            self.strain = later.strain;
        }
        self
    }
}
