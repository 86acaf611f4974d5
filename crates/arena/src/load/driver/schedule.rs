//! When users arrive: one iterator of intended times, made before the first request and blind to how the server fares.

use std::time::Duration;

/// A kind of request, as results tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Create a person.
    Create,
    /// Fetch the person that was just created.
    Fetch,
    /// Search with a term.
    Search,
    /// Search without a term.
    InvalidSearch,
}

impl Kind {
    /// All kinds, in the order of the tables.
    pub const ALL: [Self; 4] = [Self::Create, Self::Fetch, Self::Search, Self::InvalidSearch];

    /// The name in documents and thresholds.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Fetch => "fetch",
            Self::Search => "search",
            Self::InvalidSearch => "invalid-search",
        }
    }
}

/// A user arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Intended time, from the start of the load.
    pub at: Duration,
    /// The user's first request; never a fetch, which follows a create.
    pub kind: Kind,
}

/// Who arrives how often, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// `event`, `constant` or `ramp`.
    pub name: &'static str,
    scenarios: Vec<Scenario>,
}

#[derive(Clone, Debug, PartialEq)]
struct Scenario {
    kind: Kind,
    phases: Vec<Phase>,
}

/// A stretch of time over which the arrival rate grows or falls evenly, or stays.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Phase {
    /// Users per second at the beginning.
    from: f64,
    /// Users per second at the end.
    to: f64,
    seconds: f64,
}

/// Users per second of each scenario, or their proportion: create, search, invalid search.
pub type Mix = [f64; 3];

/// The proportions in which the event's scenarios arrive at their peak.
#[cfg(test)]
pub const EVENT_MIX: Mix = [600.0, 100.0, 40.0];

const SCENARIOS: [Kind; 3] = [Kind::Create, Kind::Search, Kind::InvalidSearch];

impl Profile {
    /// The event's load test, with every rate and every duration multiplied.
    pub fn event(rate_factor: f64, duration_factor: f64) -> Self {
        let phase = |from, to, seconds| Phase {
            from: from * rate_factor,
            to: to * rate_factor,
            seconds: seconds * duration_factor,
        };
        let scenario = |kind, phases| Scenario { kind, phases };
        Self {
            name: "event",
            scenarios: vec![
                scenario(Kind::Create, vec![phase(2.0, 2.0, 10.0), phase(5.0, 5.0, 15.0), phase(6.0, 600.0, 180.0)]),
                scenario(Kind::Search, vec![phase(2.0, 2.0, 25.0), phase(6.0, 100.0, 180.0)]),
                scenario(Kind::InvalidSearch, vec![phase(2.0, 2.0, 25.0), phase(6.0, 40.0, 180.0)]),
            ],
        }
    }

    /// `rate` users per second for `seconds`, split between the scenarios as `mix` says.
    pub fn constant(rate: f64, seconds: f64, mix: Mix) -> Self {
        let total: f64 = mix.iter().sum();
        let scenario = |(kind, share): (Kind, f64)| {
            let rate = rate * share / total;
            Scenario { kind, phases: vec![Phase { from: rate, to: rate, seconds }] }
        };
        Self { name: "constant", scenarios: SCENARIOS.into_iter().zip(mix).map(scenario).collect() }
    }

    /// Every user's intended time, in order.
    pub fn arrivals(&self) -> impl Iterator<Item = Arrival> + '_ {
        let mut scenarios: Vec<_> = self.scenarios.iter().map(|one| one.arrivals().peekable()).collect();
        std::iter::from_fn(move || {
            let heads = scenarios.iter_mut().enumerate();
            let (_, first) = heads.filter_map(|(index, one)| Some((one.peek()?.at, index))).min()?;
            scenarios[first].next()
        })
    }

    /// How many users arrive whose first request is of that kind.
    pub fn users(&self, kind: Kind) -> u64 {
        let scenarios = self.scenarios.iter().filter(|scenario| scenario.kind == kind);
        scenarios.flat_map(|scenario| &scenario.phases).map(Phase::users).sum()
    }

    /// From the start until the last phase ends.
    pub fn duration(&self) -> Duration {
        let seconds = |scenario: &Scenario| scenario.phases.iter().map(|phase| phase.seconds).sum();
        Duration::from_secs_f64(self.scenarios.iter().map(seconds).fold(0.0, f64::max))
    }
}

impl Scenario {
    fn arrivals(&self) -> impl Iterator<Item = Arrival> + '_ {
        let starts = self.phases.iter().scan(0.0, |start, phase| {
            let begin = *start;
            *start += phase.seconds;
            Some((begin, phase))
        });
        let kind = self.kind;
        starts.flat_map(move |(start, phase)| {
            let at = move |user| Duration::from_secs_f64(start + phase.at(user));
            (0..phase.users()).map(move |user| Arrival { at: at(user), kind })
        })
    }
}

impl Phase {
    fn users(&self) -> u64 {
        ((self.from + self.to) / 2.0 * self.seconds).round() as u64
    }

    /// Seconds until the arrival that `user` others come before: the time at which the integral of the rate,
    /// `from * t + (to - from) / seconds * t² / 2`, reaches `user`, in the form that also holds for an even rate.
    fn at(&self, user: u64) -> f64 {
        if user == 0 {
            return 0.0;
        }
        let users = user as f64;
        let growth = (self.to - self.from) / self.seconds;
        2.0 * users / (self.from + (self.from * self.from + 2.0 * growth * users).max(0.0).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(profile: &Profile, kind: Kind) -> u64 {
        profile.arrivals().filter(|arrival| arrival.kind == kind).count() as u64
    }

    #[test]
    fn the_event_has_its_users() {
        let event = Profile::event(1.0, 1.0);
        for (kind, users) in [(Kind::Create, 54_635), (Kind::Search, 9_590), (Kind::InvalidSearch, 4_190)] {
            assert_eq!(event.users(kind), users);
            assert_eq!(count(&event, kind), users);
        }
        assert_eq!(event.users(Kind::Fetch), 0);
        assert_eq!(event.duration(), Duration::from_secs(205));
    }

    #[test]
    fn times_never_fall_and_stay_within_the_profile() {
        for profile in [
            Profile::event(1.0, 1.0),
            Profile::event(8.0, 0.1),
            Profile::event(0.01, 1.0),
            Profile::constant(1000.0, 3.0, EVENT_MIX),
        ] {
            let times: Vec<Duration> = profile.arrivals().map(|arrival| arrival.at).collect();
            assert!(times.is_sorted());
            assert!(*times.last().unwrap() <= profile.duration());
        }
    }

    #[test]
    fn the_same_profile_gives_the_same_times() {
        let arrivals = || Profile::event(2.0, 0.5).arrivals().collect::<Vec<_>>();
        assert_eq!(arrivals(), arrivals());
    }

    #[test]
    fn factors_multiply_rates_and_durations() {
        assert_eq!(Profile::event(8.0, 1.0).users(Kind::Create), 8 * 54_635);
        assert_eq!(Profile::event(1.0, 0.1).duration(), Duration::from_millis(20_500));
        assert!(Profile::event(1.0, 0.1).users(Kind::Create).abs_diff(5_464) <= 1);
    }

    #[test]
    fn a_ramp_grows_evenly() {
        let ramp = Phase { from: 6.0, to: 600.0, seconds: 180.0 };
        let half = (0..ramp.users()).filter(|user| ramp.at(*user) < 90.0).count();
        // The integral over the first half: (6 + 303) / 2 * 90.
        assert!(half.abs_diff(13_905) <= 1, "{half}");
        let last_second = (0..ramp.users()).filter(|user| ramp.at(*user) >= 179.0).count();
        assert!(last_second.abs_diff(598) <= 1, "{last_second}");
    }

    #[test]
    fn a_falling_ramp_and_silence_are_fine() {
        let falling = Phase { from: 10.0, to: 0.0, seconds: 2.0 };
        assert_eq!(falling.users(), 10);
        assert!((0..10).all(|user| falling.at(user) < 2.0));
        assert_eq!(Profile::constant(0.0, 3.0, EVENT_MIX).arrivals().count(), 0);
    }

    #[test]
    fn a_constant_rate_is_split_by_the_mix() {
        let constant = Profile::constant(740.0, 10.0, EVENT_MIX);
        assert_eq!(SCENARIOS.map(|kind| constant.users(kind)), [6000, 1000, 400]);
        let only_searches = Profile::constant(50.0, 2.0, [0.0, 1.0, 0.0]);
        assert_eq!(SCENARIOS.map(|kind| count(&only_searches, kind)), [0, 100, 0]);
    }
}
