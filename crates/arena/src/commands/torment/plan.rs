//! Which faults there are, and when each comes.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::ensure;

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
    /// A standby becomes the primary, as planned.
    Switchover,
}

/// What faults are brought about on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// The services of a stack.
    Stack,
    /// The hosts of a cluster.
    Cluster,
}

/// Milliseconds that every fourth fault lasts: longer than an instance's patience of 5 s.
const LONG: u64 = 6_000;

/// Milliseconds that a cluster's primary is away, from and to: longer than it takes the others to do without.
const PRIMARY_AWAY: (u64, u64) = (25_000, 35_000);

/// The same for whom a cluster has more of, or whose work others can do.
const OTHER_AWAY: (u64, u64) = (8_000, 12_000);

const SERVICES: [&str; 4] = ["nginx", "api1", "api2", "db"];
const LINKS: [&str; 4] = ["nginx-api1", "nginx-api2", "api1-db", "api2-db"];

impl Kind {
    /// All of them.
    const ALL: [Self; 11] = [
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
        Self::Switchover,
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
            Self::Switchover => "switchover",
        }
    }

    /// What it can be done to; one that concerns everything has no name.
    fn targets(self, ground: Ground) -> &'static [&'static str] {
        match (ground, self) {
            (Ground::Stack, Self::Kill) => &["nginx", "api1", "api2", "db", "worker", "backend"],
            (Ground::Stack, Self::Restart | Self::Stop | Self::Cpu | Self::Memory) => &SERVICES,
            (Ground::Stack, Self::Cut | Self::Delay | Self::Hold) => &LINKS,
            (Ground::Stack, Self::Disk | Self::Power) => &[""],
            (Ground::Cluster, Self::Kill) => &["primary", "standby", "etcd", "haproxy"],
            (Ground::Cluster, Self::Stop | Self::Restart) => &["primary"],
            (Ground::Cluster, Self::Cut) => &["primary-etcd", "primary-standbys"],
            (Ground::Cluster, Self::Switchover) => &[""],
            _ => &[],
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
}

/// One fault: what is done, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spec {
    /// What is done.
    pub kind: Kind,
    /// To whom; empty for what concerns everything.
    pub target: &'static str,
}

impl Spec {
    /// Whether it has an end of its own. A stack's processes come back by themselves; a cluster's hosts are away for a while.
    pub fn lasts(self, ground: Ground) -> bool {
        match self.kind {
            Kind::Kill => ground == Ground::Cluster,
            Kind::Restart | Kind::Power | Kind::Switchover => false,
            _ => true,
        }
    }
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
pub struct Faults(String);

impl Faults {
    /// Those of them that there are.
    ///
    /// # Errors
    ///
    /// If one of them is none.
    pub fn on(&self, ground: Ground) -> anyhow::Result<Vec<Spec>> {
        let mut faults = Vec::new();
        for word in self.0.split(',') {
            let is_meant = |spec: &Spec| word == "all" || word == spec.kind.name() || word == spec.to_string();
            let named: Vec<Spec> = all(ground).filter(is_meant).collect();
            ensure!(!named.is_empty(), "there is no fault {word:?}; there are {}", names(ground));
            faults.extend(named.into_iter().filter(|spec| !faults.contains(spec)).collect::<Vec<_>>());
        }
        Ok(faults)
    }
}

impl FromStr for Faults {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

fn all(ground: Ground) -> impl Iterator<Item = Spec> {
    Kind::ALL.into_iter().flat_map(move |kind| kind.targets(ground).iter().map(move |target| Spec { kind, target }))
}

fn names(ground: Ground) -> String {
    match ground {
        Ground::Stack => {
            let kinds = Kind::ALL.into_iter().filter(|kind| !kind.targets(ground).is_empty());
            let kinds: Vec<_> = kinds.map(Kind::name).collect();
            format!("all, {}, and single ones such as kill-db", kinds.join(", "))
        }
        Ground::Cluster => all(ground).map(|spec| spec.to_string()).collect::<Vec<_>>().join(", "),
    }
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
    ground: Ground,
    round: Vec<Spec>,
    random: Random,
}

impl Schedule {
    /// That of a seed.
    pub fn new(faults: &[Spec], ground: Ground, seed: u64) -> Self {
        Self { faults: faults.to_vec(), ground, round: Vec::new(), random: Random::new(seed) }
    }

    fn lasts(&mut self, spec: Spec) -> Duration {
        let short = self.random.between(500, 3_000);
        let of_a_stack = if self.random.once_in(4) { LONG } else { short };
        let (least, most) = if spec.target.starts_with("primary") { PRIMARY_AWAY } else { OTHER_AWAY };
        match self.ground {
            _ if !spec.lasts(self.ground) => Duration::ZERO,
            Ground::Stack => Duration::from_millis(of_a_stack),
            Ground::Cluster => Duration::from_millis(self.random.between(least, most)),
        }
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
        Some(Turn { spec, pause, lasts: self.lasts(spec) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_one_by_one_or_by_kind() {
        let names = |text: &str, ground| -> Result<Vec<String>, String> {
            let faults = text.parse::<Faults>().unwrap().on(ground).map_err(|error| error.to_string())?;
            Ok(faults.iter().map(Spec::to_string).collect())
        };
        let expected: Vec<String> = ["cut-api1-db", "disk", "power"].map(str::to_owned).into();
        assert_eq!(names("cut-api1-db,disk,power,disk", Ground::Stack), Ok(expected));
        assert_eq!(names("stop", Ground::Stack).unwrap().len(), 4);
        for ground in [Ground::Stack, Ground::Cluster] {
            assert_eq!(names("all", ground).unwrap().len(), all(ground).count());
            assert!(names("kill,flood", ground).unwrap_err().contains("flood"));
        }
        assert_eq!(names("stop", Ground::Cluster).unwrap(), ["stop-primary"]);
        assert!(names("kill-db", Ground::Cluster).unwrap_err().contains("kill-primary"));
        assert!(names("switchover", Ground::Stack).is_err());
    }

    #[test]
    fn a_cluster_s_primary_is_away_for_longer_than_the_others_wait() {
        let faults: Vec<Spec> = all(Ground::Cluster).collect();
        for turn in Schedule::new(&faults, Ground::Cluster, 1).take(3 * faults.len()) {
            let seconds = match turn.spec.to_string().as_str() {
                "restart-primary" | "switchover" => 0..=0,
                name if name.contains("-primary") => 25..=35,
                _ => 8..=12,
            };
            assert!(seconds.contains(&turn.lasts.as_secs()), "{turn:?}");
        }
    }

    #[test]
    fn a_schedule_hangs_on_its_seed_and_leaves_nobody_out() {
        let faults: Vec<Spec> = all(Ground::Stack).collect();
        let schedule = |seed| Schedule::new(&faults, Ground::Stack, seed).take(2 * faults.len()).collect::<Vec<_>>();
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
