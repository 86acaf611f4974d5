//! What to drive: one profile, or a ramp of them until something gives.

use super::schedule::{Kind, Mix, Profile};
use crate::record::threshold::Threshold;

/// Steps that a ramp has at most; more than anybody waits for.
pub const MOST_STEPS: usize = 1_000;

/// What to drive.
#[derive(Clone, Debug)]
pub enum Plan {
    /// One profile.
    Profile(Profile),
    /// One constant rate after the other.
    Ramp(Ramp),
}

/// Constant rates that grow until a threshold breaks.
#[derive(Clone, Debug)]
pub struct Ramp {
    /// Users per second of the first step.
    pub from: f64,
    /// Users per second that no step exceeds.
    pub to: f64,
    /// What each step adds.
    pub step: f64,
    /// How long each step lasts.
    pub step_seconds: f64,
    /// Proportions of the scenarios.
    pub mix: Mix,
    /// What ends the ramp.
    pub until: Vec<Threshold>,
    /// Whether a step that does not tell the figure of a threshold ends it too.
    pub wants_every_figure: bool,
}

impl Ramp {
    /// The rate and the profile of each step.
    pub fn steps(&self) -> impl Iterator<Item = (f64, Profile)> + '_ {
        let rates = (0_u32..).map(|step| self.from + f64::from(step) * self.step);
        let rates = rates.take_while(|rate| *rate <= self.to * (1.0 + f64::EPSILON));
        rates.map(|rate| (rate, Profile::constant(rate, self.step_seconds, self.mix)))
    }
}

impl Plan {
    /// The name in documents.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Profile(profile) => profile.name,
            Self::Ramp(_) => "ramp",
        }
    }

    /// How many users arrive at most whose first request is of that kind.
    pub fn users(&self, kind: Kind) -> u64 {
        match self {
            Self::Profile(profile) => profile.users(kind),
            Self::Ramp(ramp) => ramp.steps().map(|(_, profile)| profile.users(kind)).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::driver::schedule::EVENT_MIX;

    #[test]
    fn a_ramp_climbs_to_its_end() {
        let ramp = |from, to, step| {
            let ramp = Ramp {
                from,
                to,
                step,
                step_seconds: 10.0,
                mix: EVENT_MIX,
                until: Vec::new(),
                wants_every_figure: false,
            };
            ramp.steps().map(|(rate, _)| rate).collect::<Vec<_>>()
        };
        assert_eq!(ramp(100.0, 400.0, 100.0), [100.0, 200.0, 300.0, 400.0]);
        assert_eq!(ramp(100.0, 390.0, 100.0), [100.0, 200.0, 300.0]);
        assert_eq!(ramp(100.0, 100.0, 50.0), [100.0]);
        assert_eq!(ramp(0.1, 0.3, 0.1).len(), 3);
    }
}
