//! The lab as plain processes, beside a stack and over its database.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use super::Native;
use super::settings::{LabSettings, Settings};
use crate::stack::compose::Compose;
use crate::stack::lab::{self, Lab};
use crate::stack::members;
use crate::stack::ports::port_is_free;
use crate::stack::process::Account;
use crate::workspace::Workspace;

impl Native {
    /// What is known of the lab beside this stack, if it was started.
    pub fn lab(&self) -> Option<Lab> {
        let LabSettings { ports, limits } = self.settings()?.lab?;
        let found = members::find(&self.data);
        Some(Lab { ports, limits, running: lab::PARTS.iter().all(|part| found.main.contains_key(*part)) })
    }

    /// Starts the lab beside a stack that runs, over its database, and waits until each part works. Where some parts
    /// run already, starts what is missing, with the ports and limits of the rest.
    ///
    /// # Errors
    ///
    /// If the stack does not run, a port is taken, or a part does not come up; the error names its log. What came up
    /// stays up.
    pub fn up_lab(&self, workspace: &Workspace, program: &Path, ports: lab::Ports) -> anyhow::Result<()> {
        let _lock = self.lock()?;
        let account = Account::choose()?;
        let mut settings = self.settings().context("the lab needs the stack's database, and the stack does not run")?;
        self.enter_limits(&settings)?;
        let compose = Compose::read(&workspace.path("docker-compose.yml"), &settings.overlays)?;
        let found = members::find(&self.data).main;
        let missing: Vec<&str> = lab::PARTS.into_iter().filter(|part| !found.contains_key(*part)).collect();
        if missing.len() == lab::PARTS.len() || settings.lab.is_none() {
            let limits = lab::PARTS.iter().map(|part| compose.limit(part)).collect::<Result<_, _>>()?;
            settings.lab = Some(LabSettings { ports, limits: self.effective_limits(limits, settings.is_limited()) });
            self.write_settings(&settings)?;
        }
        for part in &missing {
            ensure_port(part, &settings)?;
        }
        self.lay_out_lab(account, program)?;
        self.run_lab(&["init"], lab::PARTS[0], &compose, &settings)?;
        for part in &missing {
            self.start(part, workspace, account, &settings)?;
        }
        for part in lab::PARTS {
            self.wait_for(part, || self.run_lab(&["check", part], part, &compose, &settings).is_ok())?;
        }
        Ok(())
    }

    fn lay_out_lab(&self, account: Account, program: &Path) -> anyhow::Result<()> {
        for part in lab::PARTS {
            account.create_folder(&self.data.join(part))?;
        }
        // A program that runs cannot be written to; under another name first, it can be replaced.
        let (new, own) = (self.data.join("bin/lab.new"), self.data.join("bin/lab"));
        fs::copy(program, &new).with_context(|| format!("copying {}", program.display()))?;
        fs::rename(&new, &own).with_context(|| own.display().to_string())
    }

    pub(super) fn start_part(
        &self,
        part: &str,
        account: Account,
        compose: &Compose,
        settings: &Settings,
    ) -> anyhow::Result<()> {
        let mut command = self.lab_command(part, compose, settings)?;
        command.arg(part);
        self.spawn(part, command, account, settings)
    }

    /// Runs a short command of the lab to its end, in the environment of one of its parts.
    fn run_lab(&self, words: &[&str], part: &str, compose: &Compose, settings: &Settings) -> anyhow::Result<()> {
        let output = self.lab_command(part, compose, settings)?.args(words).output().context("starting the lab")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// The lab's program, told what `docker-compose.yml` tells it, and where things are on this machine.
    fn lab_command(&self, part: &str, compose: &Compose, settings: &Settings) -> anyhow::Result<Command> {
        let mut command = Command::new(self.data.join("bin/lab"));
        command.envs(compose.environment(part)?);
        command.env("LAB_ENGINE", "native");
        command.env("LAB_DATABASE_URL", self.database(settings, "lab"));
        command.envs(settings.lab.iter().flat_map(|lab| lab.ports.environment()));
        Ok(command)
    }
}

/// A part of the lab needs its port.
fn ensure_port(part: &str, settings: &Settings) -> anyhow::Result<()> {
    match settings.lab.as_ref().and_then(|lab| lab.ports.of(part)) {
        Some(port) if !port_is_free(port) => {
            bail!("something else listens on port {port}; end it, or choose another with --{part}-port")
        }
        _ => Ok(()),
    }
}
