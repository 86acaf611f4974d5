//! Which service to observe, and from what.

use std::fmt;
use std::process::Command;

use anyhow::{Context, bail};

use super::account::Reading;
use super::cgroup_usage::{self, Group, Groups};
use super::engine::Engine;
use super::process_usage::Tree;
use super::roots::Roots;
use crate::record::run::Limit;

/// Something that can be observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A control group, by its name as `/proc/PID/cgroup` writes it, with or without the slash in front.
    Cgroup(String),
    /// A process with all its descendants, also those born later.
    Process(u32),
    /// A running Docker container, by name or id.
    Container(String),
    /// A control group at the top, or else a container, by a name that does not tell which.
    Named(String),
}

impl Target {
    /// Reads `PID`, `/CONTROL/GROUP` or `CONTAINER`: digits are a process, anything with a slash is a control group, and any
    /// other name is what there is of that name.
    ///
    /// A control group may also be given as its directory under `/sys/fs/cgroup`.
    pub fn parse(text: &str) -> Self {
        if let Ok(pid) = text.parse() {
            return Self::Process(pid);
        }
        if text.contains('/') {
            return Self::Cgroup(text.to_owned());
        }
        Self::Named(text.to_owned())
    }

    /// Finds where the kernel keeps the target's accounts.
    pub(super) fn resolve(&self, roots: &Roots) -> anyhow::Result<Source> {
        match self {
            Self::Cgroup(name) => Ok(Source::Group(Box::new(Group::new(Groups::named(roots, name)?)))),
            Self::Process(pid) => Ok(Source::Tree(Box::new(Tree::new(roots, *pid)?))),
            Self::Container(name) => {
                let inspected = Inspected::of(name)?;
                container(roots, name, &inspected, || {
                    let engine = Engine::connect()?;
                    engine.read(name).context("the engine tells no figures")?;
                    Ok(engine)
                })
            }
            Self::Named(name) => named(roots, name),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cgroup(name) => write!(formatter, "control group {name}"),
            Self::Process(pid) => write!(formatter, "process {pid}"),
            Self::Container(name) => write!(formatter, "container {name}"),
            Self::Named(name) => write!(formatter, "control group or container {name}"),
        }
    }
}

/// Reads `NAME=PID|CGROUP|CONTAINER`, the form of the `--observe` flag.
///
/// # Errors
///
/// What is missing, in one line.
pub fn parse_named(text: &str) -> Result<(String, Target), String> {
    match text.split_once('=') {
        Some((name, target)) if !name.is_empty() && !target.is_empty() => Ok((name.to_owned(), Target::parse(target))),
        _ => Err("expected NAME=PID, NAME=/CONTROL/GROUP or NAME=CONTAINER".into()),
    }
}

/// Where readings come from.
#[derive(Debug)]
pub(super) enum Source {
    Group(Box<Group>),
    /// A container's group may have another name once the engine has started it anew.
    Container(String, Box<Group>),
    Tree(Box<Tree>),
    /// A container whose group this machine does not show.
    Engine(String, Box<Engine>),
}

impl Source {
    /// Whether it takes so little that it may be read ten times a second.
    pub fn is_quick(&self) -> bool {
        !matches!(self, Self::Engine(..))
    }

    /// What the kernel says now; `None` while the target is gone. Only a `thorough` reading finds what takes more than a
    /// few files: the processes of a group, who has joined a tree, and where a container is that was not there.
    pub fn read(&mut self, roots: &Roots, thorough: bool) -> Option<Reading> {
        match self {
            Self::Group(group) => group.read(roots, thorough),
            Self::Container(name, group) => group.read(roots, thorough).or_else(|| {
                let container = thorough.then(|| Inspected::of(name).ok()).flatten()?;
                group.move_to(container.groups(roots)?);
                group.read(roots, thorough)
            }),
            Self::Tree(tree) => tree.read(roots, thorough),
            Self::Engine(name, engine) => engine.read(name),
        }
    }

    /// What the target may use.
    pub fn limit(&self, service: &str) -> Limit {
        let (cpus, memory_bytes) = match self {
            Self::Group(group) | Self::Container(_, group) => group.limits(),
            Self::Tree(_) => (None, None),
            Self::Engine(name, engine) => engine.limits(name),
        };
        Limit { service: service.to_owned(), cpus, memory_bytes }
    }
}

fn named(roots: &Roots, name: &str) -> anyhow::Result<Source> {
    let group = Target::Cgroup(name.to_owned()).resolve(roots);
    let container = || Target::Container(name.to_owned()).resolve(roots);
    group.or_else(|_| container()).with_context(|| format!("no control group /{name}, and no container either"))
}

/// A container is its control group; where this machine does not show that, what the engine tells of it; or its processes,
/// where the engine made no group.
pub(super) fn container(
    roots: &Roots,
    name: &str,
    inspected: &Inspected,
    engine: impl FnOnce() -> anyhow::Result<Engine>,
) -> anyhow::Result<Source> {
    if let Some(groups) = inspected.groups(roots) {
        return Ok(Source::Container(name.to_owned(), Box::new(Group::new(groups))));
    }
    match engine() {
        Ok(engine) => Ok(Source::Engine(name.to_owned(), Box::new(engine))),
        // Whoever else has that number here is in a group of his own.
        Err(error) => match cgroup_usage::of_process(roots, inspected.pid) {
            Ok(None) => Ok(Source::Tree(Box::new(Tree::new(roots, inspected.pid)?))),
            _ => Err(error),
        },
    }
}

/// What Docker says of a container that runs.
#[derive(Debug)]
pub(super) struct Inspected {
    /// The whole id, which is part of its control group's name.
    pub id: String,
    /// Its main process, by the number that it has where the engine runs.
    pub pid: u32,
}

impl Inspected {
    fn of(container: &str) -> anyhow::Result<Self> {
        let output = Command::new("docker")
            .args(["inspect", "--type", "container", "--format", "{{.Id}} {{.State.Pid}}", container])
            .output()
            .context("cannot run docker")?;
        if !output.status.success() {
            bail!("docker inspect: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let pid = said.trim().split_once(' ').and_then(|(id, pid)| Some((id, pid.parse().ok()?)));
        match pid {
            Some((_, 0)) | None => bail!("container {container} is not running"),
            Some((id, pid)) => Ok(Self { id: id.to_owned(), pid }),
        }
    }

    /// Its control groups, if they are this machine's: elsewhere the same number is another process's.
    pub(super) fn groups(&self, roots: &Roots) -> Option<Groups> {
        let groups = cgroup_usage::of_process(roots, self.pid).ok()??;
        groups.bears(&self.id).then_some(groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_of_the_text_decides() {
        assert_eq!(Target::parse("4711"), Target::Process(4711));
        assert_eq!(Target::parse("/peleja-1/api1"), Target::Cgroup("/peleja-1/api1".into()));
        assert_eq!(Target::parse("peleja-1/api1"), Target::Cgroup("peleja-1/api1".into()));
        assert_eq!(Target::parse("rinha-db-1"), Target::Named("rinha-db-1".into()));
    }

    #[test]
    fn a_name_comes_first() {
        assert_eq!(parse_named("db=12"), Ok(("db".into(), Target::Process(12))));
        for wrong in ["db", "=12", "db=", ""] {
            assert!(parse_named(wrong).is_err(), "{wrong:?}");
        }
    }
}
