//! What `floor` and `tune` share: the services and their limits, attempts on them, and the search over both.

pub mod attempts;
pub mod edit;
pub mod memory;
pub mod pairs;
pub mod question;
pub mod show;
pub mod split;
pub mod subject;

use crate::record::metric::throttled_percent;
use crate::record::run::Cost;
use crate::record::search::Attempt;
use subject::Subject;

/// What an attempt showed of CPUs, by group of services.
pub fn seen(subject: &Subject, attempt: &Attempt) -> split::Seen {
    let costs = |containers: &[String]| {
        let of_group = |cost: &&Cost| containers.contains(&cost.service);
        attempt.services.iter().filter(of_group).collect::<Vec<_>>()
    };
    let groups = || subject.groups.iter().map(|group| costs(&group.containers));
    let throttled = |costs: Vec<_>| costs.into_iter().filter_map(throttled_percent).fold(0.0, f64::max) / 100.0;
    let used = |costs: Vec<&Cost>| {
        let all: f64 = costs.iter().map(|cost| cost.cpu_seconds).sum();
        all / attempt.seconds.max(1e-9) / costs.len().max(1) as f64
    };
    split::Seen {
        passed: attempt.passed,
        throttled: groups().map(throttled).collect(),
        used: groups().map(used).collect(),
    }
}

/// What an attempt showed of memory, by group of services.
pub fn seen_of_memory(subject: &Subject, attempt: &Attempt) -> memory::Seen {
    let is_killed = |container: &String| {
        let dead =
            |cost: &Cost| cost.service == *container && (cost.memory_kills > 0 || cost.restarts > 0 || cost.ended);
        // A service that did not start, or an entry's that ended, is called by its name.
        let named = |reason: &String| reason.split_whitespace().next() == Some(container);
        attempt.services.iter().any(dead) || (attempt.run.is_none() && attempt.reasons.iter().any(named))
    };
    let killed = subject.groups.iter().map(|group| group.containers.iter().any(is_killed));
    memory::Seen { passed: attempt.passed, killed: killed.collect() }
}

/// The most memory that a container of each group held in any of the attempts, in bytes.
pub fn peaks<'a>(subject: &Subject, attempts: impl Iterator<Item = &'a Attempt> + Clone) -> Vec<u64> {
    let peak = |containers: &[String]| {
        let costs = attempts.clone().flat_map(|attempt| &attempt.services);
        let of_group = costs.filter(|cost| containers.contains(&cost.service));
        of_group.filter_map(|cost| cost.memory_peak_bytes).max().unwrap_or_default()
    };
    subject.groups.iter().map(|group| peak(&group.containers)).collect()
}
