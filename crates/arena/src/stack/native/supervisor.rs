//! Starts again what dies: a process that `arena up` leaves behind beside the services, one for each stack.
//!
//! It holds nothing that matters. Who belongs to the stack is told by the kernel, so that one that is killed can be replaced
//! at any time; what it leaves is a record of what it started again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Native;
use super::settings::Settings;
use crate::stack::compose::SERVICES;
use crate::stack::members::{self, SUPERVISE, SUPERVISOR};
use crate::stack::process::{self, Account};
use crate::workspace::Workspace;

/// The pause after the first start of a service; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Short enough for the stack to serve within 5 s, however often a service has died before.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Who has run for so long begins with the first pause again.
const SOUND_AFTER: Duration = Duration::from_secs(10);

/// How often it looks for parts of the lab that have come, and whether the stack's files are there.
const LOOK: Duration = Duration::from_secs(5);

/// Where it records what it started again, one line each: when, and which service.
const RECORD: &str = "restarts";

/// How often a service was started again, and when last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarts {
    /// How often.
    pub times: u32,
    /// When it was started last.
    pub last: Timestamp,
}

/// Whether what dies is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supervision {
    /// It was not asked for.
    None,
    /// By a process that runs.
    Alive,
    /// By a process that is dead itself.
    Dead,
}

/// When a service may be started next.
struct Turn {
    started: Instant,
    pause: Duration,
}

impl Turn {
    fn wait(&self) -> Duration {
        (self.started + self.pause).saturating_duration_since(Instant::now())
    }

    /// The turn of a service that is started now.
    fn after(last: Option<&Self>) -> Self {
        let pause = match last {
            Some(last) if last.started.elapsed() < SOUND_AFTER => (last.pause * 2).min(LONGEST_PAUSE),
            _ => FIRST_PAUSE,
        };
        Self { started: Instant::now(), pause }
    }
}

impl Native {
    /// Whether what dies is started again.
    pub fn supervision(&self) -> Supervision {
        match members::supervisor(&self.data) {
            Some(_) => Supervision::Alive,
            None if self.data.join(SUPERVISOR).is_dir() => Supervision::Dead,
            None => Supervision::None,
        }
    }

    /// What was started again since the stack was started, by service.
    pub fn restarts(&self) -> BTreeMap<String, Restarts> {
        let record = fs::read_to_string(self.data.join(SUPERVISOR).join(RECORD)).unwrap_or_default();
        let mut restarts = BTreeMap::new();
        for (last, service) in record.lines().filter_map(|line| line.split_once(' ')) {
            let Ok(last) = last.parse() else { continue };
            let entry = restarts.entry(service.to_owned()).or_insert(Restarts { times: 0, last });
            *entry = Restarts { times: entry.times + 1, last };
        }
        restarts
    }

    /// Starts a supervisor in place of one that is dead. Returns whether there was need of it.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn replace_supervisor(&self, workspace: &Workspace, program: &Path) -> anyhow::Result<bool> {
        let _lock = self.lock()?;
        let dead = self.supervision() == Supervision::Dead;
        if dead {
            self.start_supervisor(workspace, program)?;
        }
        Ok(dead)
    }

    /// Leaves `program`, the arena itself, behind as supervisor, in place of one that is there.
    pub(super) fn start_supervisor(&self, workspace: &Workspace, program: &Path) -> anyhow::Result<()> {
        self.end_supervisor()?;
        let folder = self.data.join(SUPERVISOR);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let mut command = Command::new(program);
        command.arg(SUPERVISE).arg(&self.data).arg(workspace.root()).current_dir(&folder);
        process::spawn(command, Account::caller(), None, &self.log(SUPERVISOR))?;
        let runs = || members::supervisor(&self.data).is_some();
        ensure!(
            process::wait_until(Duration::from_secs(10), runs),
            "the supervisor ended at once: {}",
            process::tail(&self.log(SUPERVISOR), 3)
        );
        Ok(())
    }

    /// Ends the supervisor, so that nobody starts again what is ended next.
    pub(super) fn end_supervisor(&self) -> anyhow::Result<()> {
        let supervisor = || members::supervisor(&self.data);
        process::signal(supervisor(), Signal::SIGKILL);
        ensure!(process::wait_until(Duration::from_secs(10), || supervisor().is_none()), "the supervisor does not end");
        Ok(())
    }

    /// Starts again what dies, for as long as the stack's files are there.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell who ends.
    pub fn supervise(&self, workspace: &Workspace) -> anyhow::Result<()> {
        let mut turns: BTreeMap<String, Turn> = BTreeMap::new();
        let mut wanted: BTreeSet<String> = SERVICES.map(str::to_owned).into();
        while self.settings().is_some() {
            let found = members::find(&self.data).main;
            wanted.extend(found.keys().cloned());
            let missing: Vec<&String> = wanted.iter().filter(|service| !found.contains_key(*service)).collect();
            let wait = |service: &String| turns.get(service).map(Turn::wait).unwrap_or_default();
            let due: Vec<String> = missing.iter().copied().filter(|service| wait(service).is_zero()).cloned().collect();
            if due.is_empty() {
                let patience = missing.into_iter().map(wait).min().unwrap_or(LOOK);
                wait_for_an_end(found.values(), patience)?;
                continue;
            }
            for service in &due {
                turns.insert(service.clone(), Turn::after(turns.get(service)));
            }
            if let Err(error) = self.start_again(workspace, &due) {
                eprintln!("{} {error:#}", Timestamp::now());
            }
        }
        Ok(())
    }

    /// Starts those of the services that nobody else has started meanwhile.
    fn start_again(&self, workspace: &Workspace, services: &[String]) -> anyhow::Result<()> {
        let _lock = self.lock()?;
        let Some(settings) = self.settings() else { return Ok(()) };
        let found = members::find(&self.data).main;
        let missing = services.iter().filter(|service| !found.contains_key(*service));
        let outcomes: Vec<_> = missing.map(|service| self.start_one_again(workspace, service, &settings)).collect();
        outcomes.into_iter().collect()
    }

    fn start_one_again(&self, workspace: &Workspace, service: &str, settings: &Settings) -> anyhow::Result<()> {
        self.start(service, workspace, Account::choose()?, settings)?;
        let now = Timestamp::now();
        eprintln!("{now} {service} had died, and was started again");
        let record = self.data.join(SUPERVISOR).join(RECORD);
        let open = File::options().create(true).append(true).open(&record);
        open.and_then(|mut file| writeln!(file, "{now} {service}")).with_context(|| record.display().to_string())
    }
}

/// Waits until one of the processes ends, at most so long.
fn wait_for_an_end<'a>(pids: impl Iterator<Item = &'a i32>, patience: Duration) -> anyhow::Result<()> {
    let open = |pid: &i32| pidfd_open(Pid::from_raw(*pid)?, PidfdFlags::empty()).ok();
    let descriptors: Option<Vec<_>> = pids.map(open).collect();
    let Some(descriptors) = descriptors else {
        // One of them has ended already, or this kernel is older than 5.3 and tells of nobody.
        std::thread::sleep(process::GLANCE);
        return Ok(());
    };
    let mut watched: Vec<_> = descriptors.iter().map(|descriptor| PollFd::new(descriptor, PollFlags::IN)).collect();
    match poll(&mut watched, Some(&Timespec::try_from(patience)?)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error).context("waiting for the end of a process"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_begin_anew_with_whoever_lasts() {
        let mut turn = Turn::after(None);
        let mut pauses = vec![turn.pause.as_millis()];
        for _ in 0..6 {
            turn = Turn::after(Some(&turn));
            pauses.push(turn.pause.as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3000, 3000]);
        let Some(long_ago) = Instant::now().checked_sub(SOUND_AFTER) else { return };
        assert_eq!(Turn::after(Some(&Turn { started: long_ago, ..turn })).pause, FIRST_PAUSE);
        assert!(Turn { started: long_ago, pause: LONGEST_PAUSE }.wait().is_zero());
    }

    #[test]
    fn what_was_started_again_is_told_by_service() {
        let root = tempfile::tempdir().unwrap();
        let native = Native::at(&root.path().join("stack"));
        assert_eq!((native.restarts().len(), native.supervision()), (0, Supervision::None));
        fs::create_dir_all(native.data.join(SUPERVISOR)).unwrap();
        let record = "2026-11-26T01:00:00Z api1\n2026-11-26T02:00:00Z db\n2026-11-26T03:00:00Z api1\n2026-";
        fs::write(native.data.join(SUPERVISOR).join(RECORD), record).unwrap();
        let last = "2026-11-26T03:00:00Z".parse().unwrap();
        assert_eq!(native.restarts()["api1"], Restarts { times: 2, last });
        assert_eq!(native.restarts()["db"].times, 1);
        assert_eq!(native.supervision(), Supervision::Dead);
    }
}
