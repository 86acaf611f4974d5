//! Which faults there are, and when each comes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::load::payloads::random::Random;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A process is killed.
    Kill,
    /// A process is told to end.
    Restart,
    /// Every process of a service stands still for a while.
    Stop,
    /// A connection between two services is cut for a while.
    Cut,
    /// What goes over it comes late for a while.
    Delay,
    /// What goes over it is held for a while.
    Hold,
    /// A service has a fraction of its CPU for a while.
    Cpu,
    /// A service has less memory than it uses for a while.
    Memory,
    /// The database's disk is full for a while.
    Disk,
    /// Every process is killed at once, and what was not on disk is lost.
    Power,
}

/// Milliseconds that every fourth fault lasts: longer than an instance's patience of 5 s.
const LONG: u64 = 6_000;

const SERVICES: [&str; 4] = ["nginx", "api1", "api2", "db"];
const LINKS: [&str; 4] = ["nginx-api1", "nginx-api2", "api1-db", "api2-db"];

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Kill,
        Self::Restart,
        Self::Stop,
        Self::Cut,
        Self::Delay,
        Self::Hold,
        Self::Cpu,
        Self::Memory,
        Self::Disk,
        Self::Power,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Cut => "cut",
            Self::Delay => "delay",
            Self::Hold => "hold",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Power => "power",
        }
    }

    /// What it can be done to; one that concerns everything has no name.
    fn targets(self) -> &'static [&'static str] {
        match self {
            Self::Kill => &["nginx", "api1", "api2", "db", "worker", "backend"],
            Self::Restart | Self::Stop | Self::Cpu | Self::Memory => &SERVICES,
            Self::Cut | Self::Delay | Self::Hold => &LINKS,
            Self::Disk | Self::Power => &[""],
        }
    }

    /// Whether it needs links between the services.
    pub fn is_of_links(self) -> bool {
        matches!(self, Self::Cut | Self::Delay | Self::Hold)
    }

    /// Whether it needs limits on the services.
    pub fn is_of_limits(self) -> bool {
        matches!(self, Self::Cpu | Self::Memory)
    }

    /// Whether it has an end of its own; processes of others come back by themselves.
    pub fn lasts(self) -> bool {
        !matches!(self, Self::Kill | Self::Restart | Self::Power)
    }
}

/// One fault: what is done, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spec {
    /// What is done.
    pub kind: Kind,
    /// To whom; empty for what concerns everything.
    pub target: &'static str,
}

impl fmt::Display for Spec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target {
            "" => out.write_str(self.kind.name()),
            target => write!(out, "{}-{target}", self.kind.name()),
        }
    }
}

/// Faults as named on the command line: `kill`, `cut-api1-db`, several separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Spec>);

impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut faults = Vec::new();
        for word in text.split(',') {
            let named: Vec<Spec> =
                all().filter(|spec| word == "all" || word == spec.kind.name() || word == spec.to_string()).collect();
            if named.is_empty() {
                let kinds = Kind::ALL.map(Kind::name).join(", ");
                return Err(format!(
                    "there is no fault {word:?}; there are all, {kinds}, and single ones such as kill-db"
                ));
            }
            faults.extend(named.into_iter().filter(|spec| !faults.contains(spec)).collect::<Vec<_>>());
        }
        Ok(Self(faults))
    }
}

fn all() -> impl Iterator<Item = Spec> {
    Kind::ALL.into_iter().flat_map(|kind| kind.targets().iter().map(move |target| Spec { kind, target }))
}

/// One fault of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The fault.
    pub spec: Spec,
    /// How long all is well before it.
    pub pause: Duration,
    /// How long it lasts, where it has an end of its own.
    pub lasts: Duration,
}

/// Faults without end: each once in a seeded order, then each once more in another.
pub struct Schedule {
    faults: Vec<Spec>,
    round: Vec<Spec>,
    random: Random,
}

impl Schedule {
    /// That of a seed.
    pub fn new(faults: &[Spec], seed: u64) -> Self {
        Self { faults: faults.to_vec(), round: Vec::new(), random: Random::new(seed) }
    }
}

impl Iterator for Schedule {
    type Item = Turn;

    fn next(&mut self) -> Option<Turn> {
        if self.round.is_empty() {
            self.round.clone_from(&self.faults);
            self.random.shuffle(&mut self.round);
        }
        let spec = self.round.pop()?;
        let pause = Duration::from_millis(self.random.between(500, 1_200));
        let short = self.random.between(500, 3_000);
        let lasts = Duration::from_millis(if self.random.once_in(4) { LONG } else { short });
        Some(Turn { spec, pause, lasts: if spec.kind.lasts() { lasts } else { Duration::ZERO } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_one_by_one_or_by_kind() {
        let names = |text: &str| text.parse::<Faults>().map(|faults| faults.0.iter().map(Spec::to_string).collect());
        let expected: Vec<String> = ["cut-api1-db", "disk", "power"].map(str::to_owned).into();
        assert_eq!(names("cut-api1-db,disk,power,disk"), Ok(expected));
        assert_eq!(names("stop").unwrap().len(), 4);
        assert_eq!(names("all").unwrap().len(), all().count());
        assert!(names("kill,flood").unwrap_err().contains("flood"));
    }

    #[test]
    fn a_schedule_hangs_on_its_seed_and_leaves_nobody_out() {
        let faults: Vec<Spec> = all().collect();
        let schedule = |seed| Schedule::new(&faults, seed).take(2 * faults.len()).collect::<Vec<_>>();
        assert_eq!(schedule(1), schedule(1));
        assert_ne!(schedule(1), schedule(2));
        for round in schedule(1).chunks(faults.len()) {
            let mut specs: Vec<Spec> = round.iter().map(|turn| turn.spec).collect();
            specs.sort_unstable();
            assert_eq!(
                specs,
                faults.iter().copied().collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
            );
        }
    }
}
