//! Which service to observe, and from what.

use std::fmt;
use std::process::Command;

use anyhow::{Context, bail};

use super::account::Reading;
use super::cgroup_usage::{self, Group, Groups};
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
            Self::Container(name) => container(roots, name, main_process(name)?),
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
}

impl Source {
    /// What the kernel says now; `None` while the target is gone. Only a `thorough` reading finds what takes more than a
    /// few files: the processes of a group, who has joined a tree, and where a container is that was not there.
    pub fn read(&mut self, roots: &Roots, thorough: bool) -> Option<Reading> {
        match self {
            Self::Group(group) => group.read(roots, thorough),
            Self::Container(name, group) => group.read(roots, thorough).or_else(|| {
                let pid = thorough.then(|| main_process(name).ok()).flatten()?;
                group.move_to(cgroup_usage::of_process(roots, pid).ok()??);
                group.read(roots, thorough)
            }),
            Self::Tree(tree) => tree.read(roots, thorough),
        }
    }

    /// What the target may use.
    pub fn limit(&self, service: &str) -> Limit {
        let (cpus, memory_bytes) = match self {
            Self::Group(group) | Self::Container(_, group) => group.limits(),
            Self::Tree(_) => (None, None),
        };
        Limit { service: service.to_owned(), cpus, memory_bytes }
    }
}

fn named(roots: &Roots, name: &str) -> anyhow::Result<Source> {
    let group = Target::Cgroup(name.to_owned()).resolve(roots);
    let container = || Target::Container(name.to_owned()).resolve(roots);
    group.or_else(|_| container()).with_context(|| format!("no control group /{name}, and no container either"))
}

/// A container is its control group, or its processes where the engine made no group that this machine shows.
pub(super) fn container(roots: &Roots, name: &str, pid: u32) -> anyhow::Result<Source> {
    match cgroup_usage::of_process(roots, pid)? {
        Some(groups) => Ok(Source::Container(name.to_owned(), Box::new(Group::new(groups)))),
        None => Ok(Source::Tree(Box::new(Tree::new(roots, pid)?))),
    }
}

fn main_process(container: &str) -> anyhow::Result<u32> {
    let output = Command::new("docker")
        .args(["inspect", "--type", "container", "--format", "{{.State.Pid}}", container])
        .output()
        .context("cannot run docker")?;
    if !output.status.success() {
        bail!("docker inspect: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    match String::from_utf8_lossy(&output.stdout).trim().parse() {
        Ok(0) | Err(_) => bail!("container {container} is not running"),
        Ok(pid) => Ok(pid),
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
