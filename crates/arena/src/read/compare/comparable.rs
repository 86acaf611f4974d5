//! Whether runs can be compared at all, and what they differ in.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::record::run::{Outcome, Run};

/// What a reader of a comparison must know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Notes {
    /// What speaks against comparing these runs.
    pub warnings: Vec<String>,
    /// What else they differ in: most likely what the comparison is about.
    pub differs: Vec<String>,
}

/// Looks for whatever differs between runs beside their figures.
pub fn notes(base: &[Run], new: &[Run]) -> Notes {
    let all: Vec<&Run> = base.iter().chain(new).collect();
    let mut warnings: Vec<String> = all.iter().filter_map(|run| flaw(run)).collect();
    warnings.extend(new.iter().filter(|run| base.iter().any(|other| other.id == run.id)).map(on_both_sides));
    warnings.extend(CONDITIONS.iter().filter_map(|(name, read)| varies(name, base, new, read)));
    warnings.dedup();
    Notes { warnings, differs: differs(base, new) }
}

type Read = fn(&Run) -> String;

/// What must be alike for figures to be comparable.
const CONDITIONS: [(&str, Read); 9] = [
    ("driver", |run| run.driver.to_string()),
    ("profile", |run| run.settings.profile.clone()),
    ("rate factor", |run| run.settings.rate_factor.to_string()),
    ("duration factor", |run| run.settings.duration_factor.to_string()),
    ("vocabulary", |run| run.settings.vocabulary.clone()),
    ("engine", |run| run.settings.engine.clone()),
    ("machine", machine),
    ("budget", budget),
    ("durability", durability),
];

fn machine(run: &Run) -> String {
    let machine = &run.machine;
    let memory = machine.memory_bytes >> 20;
    format!("{} x {}, {memory} MiB, {}, cgroup {}", machine.cores, machine.cpu, machine.kernel, machine.cgroup)
}

fn budget(run: &Run) -> String {
    let cpus = |cpus: Option<f64>| cpus.map_or("no CPU limit".to_owned(), |cpus| format!("{cpus} CPU"));
    let memory =
        |bytes: Option<u64>| bytes.map_or("no memory limit".to_owned(), |bytes| format!("{} MB", bytes / 1_000_000));
    let limit = |limit: &crate::record::run::Limit| {
        format!("{} {} {}", limit.service, cpus(limit.cpus), memory(limit.memory_bytes))
    };
    run.budget.iter().map(limit).collect::<Vec<_>>().join(", ")
}

fn durability(run: &Run) -> String {
    run.durability.as_ref().map_or("unknown".to_owned(), |durability| {
        format!(
            "fsync {}, synchronous_commit {}",
            if durability.fsync { "on" } else { "off" },
            durability.synchronous_commit
        )
    })
}

fn flaw(run: &Run) -> Option<String> {
    let meaning = match run.verdict().outcome {
        Outcome::Clean => return None,
        Outcome::Failed => "failed: its times are those of a server that did not do all the work",
        Outcome::OverBudget => "was over its budget",
        Outcome::NoBudget => "had no budget that holds",
        Outcome::Suspect => "is suspect: the generator was late now and then",
        Outcome::Invalid => "is invalid: the generator was the bottleneck, and it says nothing about the server",
    };
    Some(format!("{} {meaning}", run.id))
}

fn on_both_sides(run: &Run) -> String {
    format!("{} is on both sides", run.id)
}

fn varies(name: &str, base: &[Run], new: &[Run], read: &Read) -> Option<String> {
    let (base, new) = (distinct(base, read), distinct(new, read));
    (base != new || base.len() > 1).then(|| format!("not the same {name}: {} against {}", join(&base), join(&new)))
}

fn differs(base: &[Run], new: &[Run]) -> Vec<String> {
    let all = || base.iter().chain(new);
    let commit = |run: &Run| run.commit.clone().unwrap_or("unknown".to_owned());
    let settings: BTreeSet<&String> = all().flat_map(|run| run.settings.more.keys()).collect();
    let versions: BTreeSet<&String> = all().flat_map(|run| run.versions.keys()).collect();
    let mut found = Vec::new();
    let mut note = |name: &str, read: &dyn Fn(&Run) -> String| {
        let (base, new) = (distinct(base, read), distinct(new, read));
        if base != new {
            found.push(format!("{name}: {} against {}", join(&base), join(&new)));
        }
    };
    note("commit", &commit);
    for name in settings {
        note(name, &|run| run.settings.more.get(name).cloned().unwrap_or("unset".to_owned()));
    }
    for name in versions {
        note(&format!("version of {name}"), &|run| run.versions.get(name).cloned().unwrap_or("unknown".to_owned()));
    }
    found
}

fn distinct(runs: &[Run], read: impl Fn(&Run) -> String) -> BTreeSet<String> {
    runs.iter().map(read).collect()
}

fn join(values: &BTreeSet<String>) -> String {
    values.iter().map(String::as_str).collect::<Vec<_>>().join(" and ")
}
