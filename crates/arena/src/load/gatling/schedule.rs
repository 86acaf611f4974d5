//! When Gatling means to send what it sends, and how late it was: Gatling judged as our own driver is.

use std::time::Duration;

use super::prepare::OURS;
use crate::load::driver::strain::{Conduct, Strain, strain};
use crate::record::gatling_log::results::Results;
use crate::record::run::Generator;

/// The class of the event's simulation.
const EVENTS_OWN: &str = "RinhaBackendSimulation";

/// Gatling begins a user some milliseconds late as a rule, and measures response times from there: a lag shows only in the
/// rate, not in them.
const NOTICEABLE_LAG: Duration = Duration::from_millis(100);
const MOST_LAG: Duration = Duration::from_secs(1);

/// Failures that are Gatling's own, for want of sockets or ports.
const SHORTAGES: [&str; 2] = ["too many open files", "no local port left"];

/// One phase of a scenario: users per second at its beginning and at its end, and its length in seconds.
type Phase = (f64, f64, f64);

/// The scenarios of the event's load test by the kind of their first request.
const PROFILE: [(&str, &[Phase]); 3] = [
    ("create", &[(2.0, 2.0, 10.0), (5.0, 5.0, 15.0), (6.0, 600.0, 180.0)]),
    ("search", &[(2.0, 2.0, 25.0), (6.0, 100.0, 180.0)]),
    ("invalid-search", &[(2.0, 2.0, 25.0), (6.0, 40.0, 180.0)]),
];

/// Seconds from the first user to the last at a duration factor of 1.
pub(super) const PROFILE_SECONDS: f64 = 205.0;

/// Whether a simulation fetches everybody whose create was answered with 201, and nobody else.
pub fn fetches_each(simulation: &str) -> bool {
    matches!(simulation, OURS | EVENTS_OWN)
}

/// How Gatling kept its schedule.
#[derive(Clone, Debug)]
pub struct Punctuality {
    /// How hard it had it, and what shows it.
    pub strain: (Strain, Vec<String>),
    /// What it says of itself.
    pub generator: Generator,
}

/// How Gatling kept its schedule in a run that took `cpu` of its own; none where the simulation's schedule is not known.
pub fn punctuality(results: &Results, rate_factor: f64, duration_factor: f64, cpu: Duration) -> Option<Punctuality> {
    let kinds = match results.simulation.as_str() {
        OURS => &PROFILE[..],
        // Its creates come at random for a while.
        EVENTS_OWN => &PROFILE[1..],
        _ => return None,
    };
    let mut lags = Vec::new();
    let (mut intended, mut sent) = (0, 0);
    for (kind, phases) in kinds {
        let schedule = schedule(phases, rate_factor, duration_factor);
        let mut starts = results.starts.get(*kind).cloned().unwrap_or_default();
        starts.sort_unstable();
        intended += schedule.len() as u64;
        sent += starts.len() as u64;
        lags.extend(starts.into_iter().zip(schedule).map(|(start, due)| start.cast_signed() - due.cast_signed()));
    }
    if sent > intended {
        return None;
    }
    let shortages = results.requests.iter().flat_map(|kind| &kind.failures);
    let shortages = shortages.filter(|(reason, _)| SHORTAGES.contains(&reason.as_str())).map(|(_, count)| count);
    let unsent = intended - sent + shortages.sum::<u64>();
    let lags = lateness(lags);
    let conduct = Conduct {
        intended,
        unsent,
        on_time: lags.iter().filter(|lag| **lag <= MOST_LAG).count() as u64,
        lag_p99: lags.get(lags.len() * 99 / 100).copied().unwrap_or_default(),
        lag_max: lags.last().copied().unwrap_or_default(),
        noticeable_lag: NOTICEABLE_LAG,
        most_lag: MOST_LAG,
        busiest: 0.0,
    };
    let send_lag_p99 = conduct.lag_p99.as_secs_f64() * 1e3;
    let generator = Generator { intended, sent, send_lag_p99, cpu_seconds: cpu.as_secs_f64(), repeated: 0 };
    Some(Punctuality { strain: strain(&conduct), generator })
}

/// How much later than the most punctual user each was, in ascending order.
fn lateness(starts: Vec<i64>) -> Vec<Duration> {
    let earliest = starts.iter().copied().min().unwrap_or_default();
    let mut lags: Vec<Duration> =
        starts.into_iter().map(|start| Duration::from_millis((start - earliest).unsigned_abs())).collect();
    lags.sort_unstable();
    lags
}

/// Milliseconds from the start of a scenario to each of its users, as Gatling 3.9 computes them: every whole second has a
/// whole number of users, spread over its milliseconds; what a ramp leaves over goes to the next second, and the part of a
/// second at the end of a phase stays empty (`OpenInjectionStep.scala`).
fn schedule(phases: &[Phase], rate_factor: f64, duration_factor: f64) -> Vec<u64> {
    let mut begin = 0;
    let mut users = Vec::new();
    for (from, to, seconds) in phases {
        let length = (seconds * 1e3 * duration_factor).round() as u64;
        let per_second = match from == to {
            true => constant(from * rate_factor, length / 1000),
            false => ramp(from * rate_factor, to * rate_factor, length / 1000),
        };
        for (second, count) in (0..).zip(per_second) {
            users.extend((0..count).map(|user| begin + 1000 * second + 1000 * user / count));
        }
        begin += length;
    }
    users
}

fn constant(rate: f64, seconds: u64) -> Vec<u64> {
    let users = (seconds as f64 * rate).round() as u64;
    (0..seconds).map(|second| (second + 1) * users / seconds - second * users / seconds).collect()
}

fn ramp(from: f64, to: f64, seconds: u64) -> Vec<u64> {
    // Gatling computes in decimals, and rounds what is left over to the tenth of them.
    const EPSILON: f64 = 1e-9;
    let growth = (to - from) / (2.0 * seconds as f64);
    let mut left = 0.0;
    let per_second = (0..seconds).map(|second| {
        let due = growth * (2 * second + 1) as f64 + from + left;
        let users = (due + EPSILON).floor();
        left = due - users;
        users as u64
    });
    per_second.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::record::run::Series;

    /// A run in which the users of our simulation come when they are due, but for what `late` makes of it.
    fn run(late: impl Fn(u64) -> u64) -> Results {
        let starts = PROFILE.map(|(kind, phases)| {
            let due = schedule(phases, 1.0, 0.1);
            (kind.to_owned(), due.into_iter().map(|at| 1_795_631_274_642 + at + late(at)).collect())
        });
        Results {
            directory: Default::default(),
            simulation: OURS.to_owned(),
            version: "3.9.5".to_owned(),
            started: jiff::Timestamp::UNIX_EPOCH,
            seconds: 20.5,
            requests: Vec::new(),
            starts: BTreeMap::from(starts),
            series: Series::default(),
            errors: BTreeMap::new(),
        }
    }

    fn judged(results: &Results) -> (Strain, Vec<String>) {
        punctuality(results, 1.0, 0.1, Duration::ZERO).unwrap().strain
    }

    #[test]
    fn users_come_when_gatling_sends_them() {
        let users = PROFILE.map(|(_, phases)| schedule(phases, 1.0, 1.0).len());
        assert_eq!(users, [54_635, 9_590, 4_190]);
        // As a log of Gatling 3.9.5 has them at a tenth of all durations.
        let create = schedule(PROFILE[0].1, 1.0, 0.1);
        assert_eq!(create.len(), 5_461);
        assert_eq!(create[..10], [0, 500, 1000, 1200, 1400, 1600, 1800, 2500, 2545, 2590]);
        let search = schedule(PROFILE[1].1, 1.0, 0.1);
        assert_eq!((search.len(), &search[..6]), (958, &[0, 500, 1000, 1500, 2500, 2625][..]));
    }

    #[test]
    fn a_gatling_in_time_is_believed() {
        assert_eq!(judged(&run(|at| at % 9)), (Strain::None, vec![]));
    }

    #[test]
    fn a_pause_early_on_is_suspect_and_a_long_one_under_load_is_too_much() {
        let pause = |from: u64, to: u64| run(move |at| if (from..to).contains(&at) { to - at } else { 0 });
        let (strain, reasons) = judged(&pause(3_000, 4_200));
        assert_eq!(
            (strain, reasons),
            (Strain::Noticeable, vec!["for 1.2 s nothing was sent, though it was time".into()])
        );
        assert_eq!(judged(&pause(15_000, 18_000)).0, Strain::TooMuch);
    }

    #[test]
    fn a_gatling_that_falls_behind_is_not_believed() {
        assert_eq!(judged(&run(|at| at / 4)).0, Strain::TooMuch);
        let mut short = run(|_| 0);
        short.starts.insert("search".into(), vec![0]);
        let (strain, reasons) = judged(&short);
        assert_eq!(strain, Strain::TooMuch);
        assert!(reasons[0].contains("957 of 6837"), "{reasons:?}");
    }

    #[test]
    fn nobody_knows_the_schedule_of_another_simulation() {
        let other = Results { simulation: "Other".into(), ..run(|_| 0) };
        assert!(punctuality(&other, 1.0, 0.1, Duration::ZERO).is_none());
    }
}
