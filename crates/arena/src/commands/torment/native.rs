//! What a torment does to plain processes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;
use rustix::fs::{FallocateFlags, fallocate};

use super::Body;
use super::plan::{Kind, Spec};
use crate::stack::native;
use crate::stack::process::{self, Account};
use crate::stack::relay::{Passage, Relays};

/// Room for the database, as much as the arena wants of a disk, and little else.
const DISK: &str = "size=1200m,mode=0755";

/// What the disk is called among the kernel's mounts.
const SOURCE: &str = "peleja-torment";

/// What comes late comes so late, in each direction.
const DELAY: Duration = Duration::from_millis(100);

/// Plain processes, and what a torment needs beside them, which goes when this is dropped.
pub struct Native {
    stack: native::Native,
    relays: Option<Relays>,
    /// The folder of the links' sockets.
    detours: Option<tempfile::TempDir>,
    mounted: bool,
}

impl Native {
    /// Prepares links between the services and a disk of a small size, where the faults need them. The stack is started
    /// afterwards.
    ///
    /// # Errors
    ///
    /// If the operating system refuses.
    pub fn prepare(stack: native::Native, faults: &[Spec], database_port: u16) -> anyhow::Result<Self> {
        let mut body = Self { stack, relays: None, detours: None, mounted: false };
        if faults.iter().any(|spec| spec.kind == Kind::Disk) {
            body.mount()?;
        }
        if faults.iter().any(|spec| spec.kind.is_of_links()) {
            body.open_links(database_port)?;
        }
        Ok(body)
    }

    /// Why a fault cannot be tried here, if it cannot.
    pub fn refusal(stack: &native::Native, spec: Spec) -> Option<String> {
        match spec.kind {
            Kind::Disk if !may_mount() => Some("only root can give the database a small disk".into()),
            Kind::Cpu | Kind::Memory => stack.look_at_limits().err(),
            _ => None,
        }
    }

    /// Where the links' sockets are.
    pub fn detours(&self) -> Option<PathBuf> {
        self.detours.as_ref().map(|folder| folder.path().to_owned())
    }

    fn mount(&mut self) -> anyhow::Result<()> {
        let data = self.stack.data();
        fs::create_dir_all(data).with_context(|| data.display().to_string())?;
        mount(data)?;
        self.mounted = true;
        Ok(())
    }

    fn open_links(&mut self, database_port: u16) -> anyhow::Result<()> {
        let folder = tempfile::Builder::new().prefix("peleja-links-").tempdir_in("/var/tmp")?;
        let account = Account::choose()?;
        for path in [folder.path().to_owned(), folder.path().join("api1"), folder.path().join("api2")] {
            account.create_folder(&path)?;
        }
        self.relays = Some(Relays::open(&self.stack.links(folder.path(), database_port))?);
        self.detours = Some(folder);
        Ok(())
    }

    fn kill(&self, target: &str) -> anyhow::Result<Vec<i32>> {
        let pids = match target {
            "worker" => self.helpers("nginx")?,
            "backend" => self.helpers("db")?,
            service => self.main(service)?,
        };
        process::signal(pids.clone(), Signal::SIGKILL);
        Ok(pids)
    }

    fn main(&self, service: &str) -> anyhow::Result<Vec<i32>> {
        Ok(vec![*self.stack.processes().main.get(service).with_context(|| format!("{service} does not run"))?])
    }

    /// One of the processes that a service's first one started.
    fn helpers(&self, service: &str) -> anyhow::Result<Vec<i32>> {
        let main = self.main(service)?;
        let all = self.stack.processes_of(service);
        // The latest of the database's is a session of an instance.
        Ok(vec![*all.iter().rev().find(|pid| !main.contains(pid)).with_context(|| format!("{service} has only one"))?])
    }

    fn set(&self, link: &str, passage: Passage) -> anyhow::Result<()> {
        self.relays.as_ref().context("there are no links")?.set(link, passage)
    }

    fn ballast(&self) -> PathBuf {
        self.stack.data().join("ballast")
    }

    fn fill_disk(&self) -> anyhow::Result<()> {
        let file = File::create(self.ballast()).context("the ballast")?;
        let mut length = 0;
        for piece in [64_u64 << 20, 1 << 20, 4 << 10] {
            while fallocate(&file, FallocateFlags::empty(), length, piece).is_ok() {
                length += piece;
            }
        }
        Ok(())
    }
}

impl Body for Native {
    fn begin(&self, spec: Spec) -> anyhow::Result<Vec<i32>> {
        let Spec { kind, target } = spec;
        match kind {
            Kind::Kill => return self.kill(target),
            Kind::Restart => {
                let pids = self.main(target)?;
                process::signal(pids.clone(), super::end_signal(target));
                return Ok(pids);
            }
            Kind::Power => {
                let pids = self.stack.processes().main.into_values().collect();
                self.stack.cut_power()?;
                return Ok(pids);
            }
            Kind::Stop => process::signal(self.stack.processes_of(target), Signal::SIGSTOP),
            Kind::Cut => self.set(target, Passage::Cut)?,
            Kind::Delay => self.set(target, Passage::Delayed(DELAY))?,
            Kind::Hold => self.set(target, Passage::Held)?,
            Kind::Cpu => self.stack.starve(target, false)?,
            Kind::Memory => self.stack.starve(target, true)?,
            Kind::Disk => self.fill_disk()?,
            Kind::Switchover => bail!("{spec} is not tried on a stack"),
        }
        Ok(Vec::new())
    }

    fn end(&self, spec: Spec) -> anyhow::Result<()> {
        match spec.kind {
            Kind::Stop => process::signal(self.stack.processes_of(spec.target), Signal::SIGCONT),
            Kind::Cut | Kind::Delay | Kind::Hold => self.set(spec.target, Passage::Open)?,
            Kind::Cpu | Kind::Memory => self.stack.feed(spec.target)?,
            Kind::Disk => fs::remove_file(self.ballast()).context("the ballast")?,
            Kind::Kill | Kind::Restart | Kind::Power | Kind::Switchover => {}
        }
        Ok(())
    }

    fn is_back(&self, spec: Spec, ended: &[i32]) -> bool {
        let services: &[&str] = match spec.target {
            "" => &["db", "api1", "api2", "nginx"],
            "worker" => &["nginx"],
            "backend" => &["db"],
            _ => &[spec.target],
        };
        let left = |service: &&str| self.stack.processes_of(service).iter().any(|pid| ended.contains(pid));
        !services.iter().any(left) && services.iter().all(|service| self.stack.is_ready(service))
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        self.relays.take();
        if self.mounted {
            let gone = process::wait_until(Duration::from_secs(5), || unmount(self.stack.data()));
            if !gone {
                eprintln!("arena: {} is still mounted", self.stack.data().display());
            }
            let _ = fs::remove_dir(self.stack.data());
        }
    }
}

/// Whether the kernel lets this process mount: root in a container mostly may not.
fn may_mount() -> bool {
    const SYS_ADMIN: u64 = 1 << 21;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & SYS_ADMIN != 0)
}

fn mount(folder: &Path) -> anyhow::Result<()> {
    // A torment that was killed itself could not unmount it.
    if is_mounted(folder) {
        unmount(folder);
    }
    let mut command = Command::new("mount");
    let output = command.args(["-t", "tmpfs", "-o", DISK, SOURCE]).arg(folder).output().context("starting mount")?;
    ensure!(output.status.success(), "mount: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn unmount(folder: &Path) -> bool {
    Command::new("umount").arg(folder).output().is_ok_and(|output| output.status.success())
}

fn is_mounted(folder: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.starts_with(&format!("{SOURCE} {} ", folder.display())))
}
