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
    /// Users per second of each step.
    pub rates: Vec<f64>,
    /// How long each step lasts.
    pub step_seconds: f64,
    /// Proportions of the scenarios.
    pub mix: Mix,
    /// What ends the ramp.
    pub until: Vec<Threshold>,
    /// Whether a step that does not tell the figure of a threshold ends it too.
    pub wants_every_figure: bool,
    /// Whether it goes on whatever breaks.
    pub past_knee: bool,
}

impl Ramp {
    /// The rate and the profile of each step.
    pub fn steps(&self) -> impl Iterator<Item = (f64, Profile)> + '_ {
        self.rates.iter().map(|rate| (*rate, Profile::constant(*rate, self.step_seconds, self.mix)))
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

    /// Whether more is offered than the server is known to carry.
    pub fn is_past_knee(&self) -> bool {
        matches!(self, Self::Ramp(ramp) if ramp.past_knee)
    }

    /// How many users arrive at most whose first request is of that kind.
    pub fn users(&self, kind: Kind) -> u64 {
        match self {
            Self::Profile(profile) => profile.users(kind),
            Self::Ramp(ramp) => ramp.steps().map(|(_, profile)| profile.users(kind)).sum(),
        }
    }
}
