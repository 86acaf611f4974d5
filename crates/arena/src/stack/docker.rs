//! The stack under Docker Compose.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use super::cgroup_limits::Hierarchy;
use super::compose::{Compose, SERVICES};
use super::lab::{self, Lab};
use super::ports::port_is_free;
use super::{DATABASE_PORT, Running};
use crate::observe::Target;
use crate::observe::engine::Engine;
use crate::record::run::Limit;
use crate::workspace::Workspace;

/// A Compose project.
#[derive(Clone, Debug)]
pub struct Docker {
    workspace: Workspace,
    port: u16,
    database_port: u16,
    overlays: Vec<PathBuf>,
}

impl Docker {
    /// The project of a checkout, published on these ports, with other Compose files laid over its own.
    pub fn new(workspace: &Workspace, port: u16, database_port: Option<u16>, overlays: Vec<PathBuf>) -> Self {
        let database_port = database_port.unwrap_or(DATABASE_PORT);
        Self { workspace: workspace.clone(), port, database_port, overlays }
    }

    /// What Compose itself makes of the project's files.
    ///
    /// # Errors
    ///
    /// If Docker is not there, Compose refuses a file, or an overlay brings a service of its own.
    pub fn read(&self) -> anyhow::Result<Compose> {
        let plain = Self { overlays: Vec::new(), ..self.clone() };
        Compose::from_docker(&plain.config()?, &self.config()?, &self.overlays)
    }

    fn config(&self) -> anyhow::Result<String> {
        let output = self.compose().args(["config", "--format", "json"]).output();
        let output = output.context("starting docker; is it installed?")?;
        ensure!(output.status.success(), "docker compose: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `docker compose` for this project, with the ports that it publishes.
    pub fn compose(&self) -> Command {
        let mut command = Command::new("docker");
        // Every profile is known, for services to be found and ended; what is started is always named.
        command.args(["compose", "--profile", "*", "--file"]).arg(self.workspace.path("docker-compose.yml"));
        for overlay in &self.overlays {
            command.arg("--file").arg(overlay);
        }
        command.env("PELEJA_PORT", self.port.to_string()).env("PELEJA_DATABASE_PORT", self.database_port.to_string());
        command
    }

    /// Which engine answers, and which Compose speaks to it.
    ///
    /// # Errors
    ///
    /// What of both is missing, and the way out.
    pub fn look_at_engine(&self) -> anyhow::Result<String> {
        let engine = docker(&["version", "--format", "{{.Server.Version}}"])
            .context("Docker's engine does not answer; start it, or do without it by --engine native")?;
        let compose = docker(&["compose", "version", "--short"])
            .context("Docker's Compose is missing; install its plugin, version 2 (docker-compose-plugin)")?;
        Ok(format!("{}, Compose {}", engine.trim(), compose.trim()))
    }

    /// Whether the port that nginx is to be published at is to be had.
    ///
    /// # Errors
    ///
    /// If somebody else has it, or Docker does not answer.
    pub fn look_at_port(&self) -> anyhow::Result<String> {
        let port = self.port;
        if self.containers()?.iter().any(|(service, _)| service == "nginx") {
            return Ok("the stack has them already".into());
        }
        ensure!(port_is_free(port), "something else listens on port {port}; end it, or choose another with --port");
        Ok(format!("{port} is free"))
    }

    /// Whether the engine can hold containers to limits.
    ///
    /// # Errors
    ///
    /// If it cannot, with the way out; or if it does not answer.
    pub fn look_at_limits(&self) -> anyhow::Result<String> {
        match Engine::connect()?.lacks()? {
            Some(reason) => bail!("{reason}"),
            None => Ok("set by the engine".into()),
        }
    }

    /// Builds the images, starts the stack and waits until every service is healthy.
    ///
    /// # Errors
    ///
    /// If Docker is not there, or a service does not become healthy.
    pub fn up(&self) -> anyhow::Result<Running> {
        ensure_limits()?;
        self.up_services(self.compose(), &SERVICES)?;
        self.running()?.context("the services ended again at once; see `docker compose logs`")
    }

    /// Builds the lab's image, starts its parts beside the stack and waits until each is healthy.
    ///
    /// # Errors
    ///
    /// As those of [`Docker::up`].
    pub fn up_lab(&self, host: lab::Host) -> anyhow::Result<()> {
        let mut command = self.compose();
        command.env("LAB_HOST", host.published());
        self.up_services(command, &lab::PARTS)
    }

    fn up_services(&self, mut command: Command, services: &[&str]) -> anyhow::Result<()> {
        command.args(["up", "--build", "--detach", "--wait", "--wait-timeout", "180"]).args(services);
        let status = command.stdout(std::io::stderr()).status().context("starting docker; is it installed?")?;
        ensure!(status.success(), "`docker compose up` failed ({status}); `docker compose logs` may say why");
        Ok(())
    }

    /// The lab beside the stack, if a part of it runs.
    ///
    /// # Errors
    ///
    /// If Docker does not answer.
    pub fn lab(&self) -> anyhow::Result<Option<Lab>> {
        let containers = self.containers()?;
        let runs = |part: &&str| containers.iter().any(|(service, _)| service == part);
        if !lab::PARTS.iter().any(runs) {
            return Ok(None);
        }
        let compose = self.read()?;
        let limits = lab::PARTS.iter().map(|part| compose.limit(part)).collect::<Result<_, _>>()?;
        Ok(Some(Lab { ports: lab::Ports::CONTRACT, limits, running: lab::PARTS.iter().all(runs) }))
    }

    /// The stack if all of it runs.
    ///
    /// # Errors
    ///
    /// If Docker does not answer.
    pub fn running(&self) -> anyhow::Result<Option<Running>> {
        let containers = self.containers()?;
        if !SERVICES.iter().all(|wanted| containers.iter().any(|(service, _)| service == wanted)) {
            return Ok(None);
        }
        let compose = self.read()?;
        let mut limits = Vec::new();
        let mut observe = Vec::new();
        for service in SERVICES {
            let ids = containers.iter().filter(|(name, _)| name == service).map(|(_, id)| id);
            for (nth, id) in ids.enumerate() {
                // Each further replica may use as much as the first.
                let name = if nth == 0 { service.to_owned() } else { format!("{service}-{}", nth + 1) };
                limits.push(Limit { service: name.clone(), ..compose.limit(service)? });
                observe.push((name, Target::Container(id.clone())));
            }
        }
        Ok(Some(Running {
            engine: super::Engine::Docker,
            url: format!("http://127.0.0.1:{}", self.port),
            database: format!(
                "host=127.0.0.1 port={} user=postgres password=rinha dbname=postgres",
                self.database_port
            ),
            database_folder: None,
            limits,
            without_limits: false,
            unlimited_because: None,
            overlays: self.overlays.clone(),
            observe,
            cgroup: Hierarchy::mounted(),
        }))
    }

    /// The containers that run, each with its service.
    ///
    /// # Errors
    ///
    /// If Docker does not answer.
    pub fn containers(&self) -> anyhow::Result<Vec<(String, String)>> {
        let mut command = self.compose();
        command.args(["ps", "--status", "running", "--format", "{{.Service}} {{.ID}}"]);
        let output = command.output().context("starting docker; is it installed?")?;
        ensure!(output.status.success(), "docker: {}", String::from_utf8_lossy(&output.stderr).trim());
        let listed = String::from_utf8_lossy(&output.stdout);
        let pair = |line: &str| line.split_once(' ').map(|(service, id)| (service.to_owned(), id.to_owned()));
        Ok(listed.lines().filter_map(pair).collect())
    }

    /// Ends the stack; with `erase` its volumes go too.
    ///
    /// # Errors
    ///
    /// If Docker does not do it.
    pub fn down(&self, erase: bool) -> anyhow::Result<usize> {
        let running = self.containers()?.len();
        let mut command = self.compose();
        command.args(["down", "--remove-orphans"]);
        if erase {
            command.arg("--volumes");
        }
        let output = command.output().context("starting docker; is it installed?")?;
        ensure!(output.status.success(), "docker: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(running)
    }
}

/// What a command of `docker` says.
///
/// # Errors
///
/// If Docker is not there, or refuses.
pub fn docker(words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("docker").args(words).output().context("starting docker; is it installed?")?;
    let what = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
    ensure!(output.status.success(), "docker {what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Fails where the engine says that it cannot set limits. Compose would say so only once all is built.
///
/// # Errors
///
/// What it cannot set, and the way out.
pub fn ensure_limits() -> anyhow::Result<()> {
    match Engine::connect().and_then(|engine| engine.lacks()) {
        Ok(Some(reason)) => bail!("{reason}"),
        _ => Ok(()),
    }
}
