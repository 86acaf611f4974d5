//! What a torment does to containers.

use std::process::Command;

use anyhow::{Context, bail, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Body;
use super::plan::{Kind, Spec};
use crate::record::run::Limit;
use crate::stack::Running;
use crate::stack::docker;

/// An image that every engine with a stack has, and that has `kill`.
const HELPER: &str = "postgres:17-trixie";

/// What of a service's CPU a lack of it leaves.
const LEFT: f64 = 0.25;

/// The containers of a stack.
pub struct Docker {
    stack: docker::Docker,
    running: Running,
}

impl Docker {
    /// Those of a stack that runs.
    pub fn new(stack: docker::Docker, running: Running) -> Self {
        Self { stack, running }
    }

    /// Why a fault cannot be tried here, if it cannot.
    pub fn refusal(spec: Spec) -> Option<String> {
        let reason = match spec.kind {
            Kind::Cut | Kind::Delay | Kind::Hold => "the sockets between containers are in the engine's own volumes",
            Kind::Disk => "the database's volume has no size of its own",
            Kind::Power => "the database's log is in the engine's own volume",
            Kind::Memory => "the engine refuses a limit below what is used",
            Kind::Kill if ["worker", "backend"].contains(&spec.target) => "it is not the container's own process",
            _ => return None,
        };
        Some(reason.into())
    }

    fn container(&self, service: &str) -> anyhow::Result<String> {
        let containers = self.stack.containers()?;
        let found = containers.into_iter().find(|(name, _)| name == service);
        found.map(|(_, id)| id).with_context(|| format!("{service} does not run"))
    }

    /// The container's own process, as this machine counts.
    fn process(&self, service: &str) -> anyhow::Result<i32> {
        let told = docker::docker(&["inspect", "--format", "{{.State.Pid}}", &self.container(service)?])?;
        let pid = told.trim().parse().context("docker inspect")?;
        ensure!(pid > 0, "{service} does not run");
        Ok(pid)
    }

    /// Sends a signal as a fault would, and not by way of the engine: it leaves dead whom it was told to kill.
    fn signal(&self, service: &str, signal: Signal) -> anyhow::Result<Vec<i32>> {
        let pid = self.process(service)?;
        match kill(Pid::from_raw(pid), signal) {
            Ok(()) => {}
            // Not ours, or not of this machine.
            Err(Errno::EPERM | Errno::ESRCH) => {
                let (pid, signal) = (pid.to_string(), signal.as_str().trim_start_matches("SIG"));
                let words = ["run", "--rm", "--pid", "host", "--user", "0", "--entrypoint", "kill", HELPER];
                docker::docker(&[&words[..], &["-s", signal, &pid]].concat())?;
            }
            Err(error) => bail!("signalling {service}: {error}"),
        }
        Ok(vec![pid])
    }

    fn limit(&self, service: &str) -> anyhow::Result<&Limit> {
        let limit = self.running.limits.iter().find(|limit| limit.service == service);
        limit.with_context(|| format!("{service} has no limit"))
    }

    fn set_cpus(&self, service: &str, factor: f64) -> anyhow::Result<()> {
        let cpus = self.limit(service)?.cpus.with_context(|| format!("{service} has no limit of CPUs"))? * factor;
        docker::docker(&["update", "--cpus", &cpus.to_string(), &self.container(service)?]).map(drop)
    }
}

impl Body for Docker {
    fn begin(&self, spec: Spec) -> anyhow::Result<Vec<i32>> {
        match spec.kind {
            Kind::Kill => return self.signal(spec.target, Signal::SIGKILL),
            Kind::Restart => return self.signal(spec.target, super::end_signal(spec.target)),
            Kind::Stop => docker::docker(&["pause", &self.container(spec.target)?]).map(drop)?,
            Kind::Cpu => self.set_cpus(spec.target, LEFT)?,
            _ => bail!("{spec} is not tried under Docker"),
        }
        Ok(Vec::new())
    }

    fn end(&self, spec: Spec) -> anyhow::Result<()> {
        match spec.kind {
            // A container that stands still is not listed among those that run.
            Kind::Stop => {
                let mut unpause = self.stack.compose();
                let output = unpause.args(["unpause", spec.target]).output().context("starting docker")?;
                ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
                Ok(())
            }
            Kind::Cpu => self.set_cpus(spec.target, 1.0),
            _ => Ok(()),
        }
    }

    fn is_back(&self, spec: Spec, ended: &[i32]) -> bool {
        let service = spec.target;
        let checks = |words: &[&str]| -> anyhow::Result<bool> {
            let mut check = Command::new("docker");
            Ok(check.arg("exec").arg(self.container(service)?).args(words).output()?.status.success())
        };
        let ready = || match service {
            "nginx" => super::answers(&self.running.url, "/health"),
            "db" => checks(&["pg_isready", "-q", "-h", "127.0.0.1", "-U", "postgres"]).unwrap_or_default(),
            _ => checks(&["peleja", "--check"]).unwrap_or_default(),
        };
        self.process(service).is_ok_and(|pid| !ended.contains(&pid)) && ready()
    }
}
