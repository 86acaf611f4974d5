//! The simulation beside what was measured: `measured.json` holds the figures of a ramp past its knee, and the command that
//! made it (`docs/SCALING.md`).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use arena::model::costs::Costs;
use arena::model::layout::{Layout, Limits};
use arena::model::outcome::Outcome;
use arena::model::simulation::simulate;
use arena::model::{Kind, Mix, Profile};
use serde::Deserialize;

/// How far a simulated figure may be from the measured one.
const TOLERANCE: f64 = 0.15;

/// Above this 99th percentile, in milliseconds, a step is past the knee, as `bench --ramp` says.
const KNEE: f64 = 100.0;

const SEEDS: u64 = 8;

const MIX: Mix = [600.0, 100.0, 40.0];

#[derive(Deserialize)]
struct Measured {
    limits: [f64; 3],
    step_seconds: f64,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    users_per_second: f64,
    /// Milliseconds by kind of request.
    p99: BTreeMap<String, f64>,
    /// CPUs by service.
    cpus: BTreeMap<String, f64>,
}

impl Measured {
    fn read() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/model/measured.json");
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
    }

    /// A figure of a step, simulated: the mean over how the services' periods may lie to each other.
    fn simulated(&self, step: &Step, figure: impl Fn(&Outcome) -> f64) -> f64 {
        let outcomes = (1..=SEEDS).map(|seed| play(self.limits, step.users_per_second, self.step_seconds, seed));
        outcomes.map(|outcome| figure(&outcome)).sum::<f64>() / SEEDS as f64
    }
}

#[test]
fn the_knee_is_where_it_was_measured() {
    let measured = Measured::read();
    let knee = |worst: &dyn Fn(&Step) -> f64| {
        let held = measured.steps.iter().take_while(|step| worst(step) <= KNEE);
        held.last().map_or(0.0, |step| step.users_per_second)
    };
    let there = knee(&|step| step.p99.values().copied().fold(0.0, f64::max));
    let simulated = knee(&|step| measured.simulated(step, Outcome::worst_p99));
    assert!(there > 0.0 && (simulated / there - 1.0).abs() <= TOLERANCE, "{simulated} users/s, measured {there}");
}

/// Only where a good part of the periods is too short: below that a percentile is the machine's noise (`docs/SCALING.md`).
#[test]
fn percentiles_before_the_knee_are_those_that_were_measured() {
    let measured = Measured::read();
    let p99 = |step: &Step| (measured.simulated(step, |outcome| outcome.p99(Kind::Create)), step.p99["create"]);
    let pairs = measured.steps.iter().map(|step| (step.users_per_second, p99(step)));
    let pairs: Vec<_> = pairs
        .take_while(|(_, (simulated, there))| simulated.max(*there) <= KNEE)
        .filter(|(_, (_, there))| *there > KNEE / 4.0)
        .collect();
    assert!(pairs.len() >= 4, "{pairs:?}");
    for (rate, (simulated, there)) in pairs {
        assert!((simulated / there - 1.0).abs() <= TOLERANCE, "{rate} users/s: {simulated} ms, measured {there}");
    }
}

#[test]
fn services_take_the_cpu_that_was_measured() {
    let measured = Measured::read();
    let of_all = |outcome: &Outcome| outcome.services.iter().map(|service| service.cpu_seconds).sum::<f64>();
    let before = measured.steps.iter().take_while(|step| step.p99["create"] <= KNEE);
    let (mut simulated, mut there) = (0.0, 0.0);
    for step in before {
        simulated += measured.simulated(step, |outcome| of_all(outcome) / outcome.seconds);
        there += step.cpus.values().sum::<f64>();
    }
    assert!((simulated / there - 1.0).abs() <= TOLERANCE, "{simulated} CPUs, measured {there}");
}

/// With no work but the load's own, neither the slowest of many nor the database's quota would tell of it.
#[test]
fn what_is_taken_beside_the_work_is_waited_for() {
    let plain = {
        let mut costs = Costs::measured().unwrap();
        costs.machine.stalls = 0.0;
        costs.database.clear = 0.0;
        costs
    };
    let mut stalling = plain.clone();
    (stalling.machine.stalls, stalling.machine.stall) = (20.0, 5_000.0);
    let mut clearing = plain.clone();
    clearing.database.clear = 10.0;
    let layout = Layout::of_bout(Limits { proxy: 0.2, instance: 0.1, database: 0.1 }, 0.0);
    let played = |costs: &Costs| {
        let load = Profile::constant(350.0, 20.0, MIX);
        simulate(costs, &layout, load.arrivals(), 20.0, 1).unwrap()
    };
    let (plain, stalling, clearing) = (played(&plain), played(&stalling), played(&clearing));
    let database = |outcome: &Outcome| outcome.services.iter().find(|service| service.name == "db").unwrap().throttled;
    assert!(stalling.p99(Kind::Fetch) > 2.0 * plain.p99(Kind::Fetch), "{}", stalling.p99(Kind::Fetch));
    assert!(stalling.services[0].cpu_seconds < 1.1 * plain.services[0].cpu_seconds, "a stall is nobody's CPU");
    assert_eq!(database(&plain), 0.0);
    assert!(database(&clearing) > 0.0);
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let figures = || play([0.11, 0.045, 0.1], 500.0, 2.0, 1).services;
    assert_eq!(figures(), figures());
}

#[test]
fn more_machines_carry_more_creates_and_not_more_searches() {
    let costs = Costs::measured().unwrap();
    let holds = |machines: usize, mix: Mix, rate: f64| {
        let layout = Layout {
            machines,
            proxies: 2,
            instances: 2,
            front_processors: 3,
            database_processors: 1,
            limits: None,
            people: 1e6,
            hop: 100.0,
            synchronous: true,
        };
        let load = Profile::constant(rate, 1.0, mix);
        simulate(&costs, &layout, load.arrivals(), 1.0, 1).unwrap().worst_p99() <= KNEE
    };
    let (creates, searches) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
    let most =
        |mix: Mix| (1..).map(|step| f64::from(step) * 1_000.0).take_while(|rate| holds(1, mix, *rate)).last().unwrap();
    assert!(holds(4, creates, 3.0 * most(creates)));
    assert!(!holds(4, searches, 2.0 * most(searches)));
}

fn play([proxy, instance, database]: [f64; 3], rate: f64, seconds: f64, seed: u64) -> Outcome {
    let layout = Layout::of_bout(Limits { proxy, instance, database }, 0.0);
    let load = Profile::constant(rate, seconds, MIX);
    simulate(&Costs::measured().unwrap(), &layout, load.arrivals(), seconds, seed).unwrap()
}
