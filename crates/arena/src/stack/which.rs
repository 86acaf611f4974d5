//! Which stack a command line means, and what is done with it, whatever runs its services.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Args;

use super::compose::Compose;
use super::docker::Docker;
use super::lab::{self, Lab};
use super::native::{self, Native};
use super::prerequisites::{self, Install, Tool};
use super::requirements::{self, Finding};
use super::{Engine, PORT, Running};
use crate::exit;
use crate::record::run::Limit;
use crate::workspace::Workspace;

/// Which stack is meant.
#[derive(Clone, Debug, Args)]
pub struct Which {
    /// What runs the services.
    #[arg(long, value_enum, default_value_t)]
    pub engine: Engine,
    /// Where plain processes keep their files, a new or an empty folder; another one is another stack. [default:
    /// /var/tmp/peleja-UID]
    #[arg(long, value_name = "DIR", value_parser = native::data_folder)]
    data: Option<PathBuf>,
    /// Port of the API.
    #[arg(long, default_value_t = PORT, value_parser = port())]
    port: u16,
    /// Port of PostgreSQL on the loopback address. [default: 5432, or any free one where that is taken]
    #[arg(long, value_name = "PORT", value_parser = port())]
    database_port: Option<u16>,
    /// A Compose file laid over docker-compose.yml, as `docker compose --file` does: other limits, other settings. May
    /// be repeated.
    #[arg(long = "overlay", value_name = "FILE")]
    overlays: Vec<PathBuf>,
}

/// How to start a stack.
#[derive(Clone, Debug)]
pub struct Start {
    /// Hold the services to the limits of the Compose file.
    pub limits: bool,
    /// Start again what dies. Docker does so by itself, as the Compose file says.
    pub restart: bool,
    /// What to do about programs that are missing.
    pub install: Install,
    /// The folder of sockets by way of which plain processes reach each other; see [`native::Options::detours`].
    pub detours: Option<PathBuf>,
}

fn own_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("the arena's own program")
}

/// Port 0 means any to the kernel, and nothing to whoever wants to connect.
fn port() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..)
}

impl Which {
    /// Whether a stack could be started so, as far as the command line goes.
    ///
    /// # Errors
    ///
    /// If the same port is wanted twice, an overlay cannot be laid over `docker-compose.yml`, or Docker is to set no limits.
    pub fn check(&self, workspace: &Workspace, limits: bool) -> anyhow::Result<()> {
        let settable = limits || self.engine == Engine::Native;
        ensure!(settable, "--no-limits is for the native engine; under Docker the Compose file sets them");
        self.check_ports()?;
        match self.engine {
            Engine::Native => Compose::read(&workspace.path("docker-compose.yml"), &self.overlays).map(drop),
            Engine::Docker => self.docker(workspace).read().map(drop),
        }
    }

    /// Whether the ports can be meant so.
    ///
    /// # Errors
    ///
    /// If the same port is wanted twice.
    pub fn check_ports(&self) -> anyhow::Result<()> {
        ensure!(self.database_port != Some(self.port), "--port and --database-port are both {}", self.port);
        Ok(())
    }

    /// Whether the machine has what the stack needs, as far as that can be told before it is built. Who wants no `limits`
    /// need not have what they add up to.
    ///
    /// # Errors
    ///
    /// As [`Native::check`], and everything else that is missing.
    pub fn check_machine(&self, workspace: &Workspace, limits: bool) -> anyhow::Result<()> {
        match self.engine {
            Engine::Native => {
                let native = self.native()?;
                native.check(self.port, self.database_port)?;
                let limits = if limits { self.limits(workspace)? } else { Vec::new() };
                if native.runs_in_part() { Ok(()) } else { requirements::ensure(native.data(), &limits) }
            }
            Engine::Docker => self.docker(workspace).look_at_port().map(drop),
        }
    }

    fn limits(&self, workspace: &Workspace) -> anyhow::Result<Vec<Limit>> {
        Compose::read(&workspace.path("docker-compose.yml"), &self.overlays)?.limits()
    }

    /// What there is of all that the engine needs of the machine.
    pub fn look_at_machine(&self, workspace: &Workspace) -> Vec<(&'static str, Finding)> {
        let told = |outcome: anyhow::Result<String>| outcome.map_err(|error| format!("{error:#}"));
        let look = |native: Native| -> anyhow::Result<Vec<(&'static str, Finding)>> {
            let ports = native.check(self.port, self.database_port).map(|()| match native.runs_in_part() {
                true => "the stack has them already".to_owned(),
                false => format!("{} is free", self.port),
            });
            let mut findings = requirements::of_machine(native.data(), &self.limits(workspace)?).to_vec();
            findings.extend([("ports", told(ports)), ("limits", native.look_at_limits())]);
            Ok(findings)
        };
        match self.engine {
            Engine::Native => {
                self.native().and_then(look).unwrap_or_else(|error| vec![("stack", Err(format!("{error:#}")))])
            }
            Engine::Docker => {
                let docker = self.docker(workspace);
                let engine = ("Docker", told(docker.look_at_engine()));
                if engine.1.is_err() {
                    return vec![engine];
                }
                vec![engine, ("ports", told(docker.look_at_port())), ("limits", told(docker.look_at_limits()))]
            }
        }
    }

    /// The Compose files that are laid over the stack's own.
    pub fn overlays(&self) -> &[PathBuf] {
        &self.overlays
    }

    /// The same stack with one more file laid over it.
    pub fn laid_over(&self, overlay: PathBuf) -> Self {
        let mut which = self.clone();
        which.overlays.push(overlay);
        which
    }

    /// The arguments by which another command means the same stack.
    pub fn words(&self) -> Vec<OsString> {
        let mut words =
            vec!["--engine".into(), self.engine.name().into(), "--port".into(), self.port.to_string().into()];
        words.extend(self.data.iter().flat_map(|data| ["--data".into(), data.clone().into_os_string()]));
        let database_port = self.database_port.map(|port| port.to_string().into());
        words.extend(database_port.into_iter().flat_map(|port| ["--database-port".into(), port]));
        words.extend(self.overlays.iter().flat_map(|file| ["--overlay".into(), file.clone().into_os_string()]));
        words
    }

    /// The port of the API.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port of PostgreSQL that was asked for.
    pub fn database_port(&self) -> Option<u16> {
        self.database_port
    }

    /// The same stack with its database at that port.
    pub fn with_database_port(self, port: u16) -> Self {
        Self { database_port: Some(port), ..self }
    }

    /// The flags by which another command finds the same stack.
    pub fn flags(&self) -> String {
        match (self.engine, &self.data) {
            (Engine::Docker, _) => " --engine docker".into(),
            (Engine::Native, Some(data)) => format!(" --data {}", data.display()),
            (Engine::Native, None) => String::new(),
        }
    }

    /// The stack of plain processes that is meant.
    pub fn native(&self) -> anyhow::Result<Native> {
        Ok(Native::at(&self.data.clone().unwrap_or_else(Native::default_data)))
    }

    /// The Compose project that is meant.
    pub fn docker(&self, workspace: &Workspace) -> Docker {
        Docker::new(workspace, self.port, self.database_port, self.overlays.clone())
    }

    /// The stack if it runs.
    ///
    /// # Errors
    ///
    /// If that cannot be found out.
    pub fn running(&self, workspace: &Workspace) -> anyhow::Result<Option<Running>> {
        match self.engine {
            Engine::Native => Ok(self.native()?.running()),
            Engine::Docker => self.docker(workspace).running(),
        }
    }

    /// The lab beside the stack, if it was started.
    ///
    /// # Errors
    ///
    /// If that cannot be found out.
    pub fn lab(&self, workspace: &Workspace) -> anyhow::Result<Option<Lab>> {
        match self.engine {
            Engine::Native => Ok(self.native()?.lab()),
            Engine::Docker => self.docker(workspace).lab(),
        }
    }

    /// Builds what is needed and starts the stack.
    ///
    /// # Errors
    ///
    /// If a prerequisite is missing and may not be installed, a build fails, or the stack does not come up.
    pub fn up(&self, workspace: &Workspace, start: Start) -> anyhow::Result<Running> {
        let Start { limits, restart, install, detours } = start;
        match self.engine {
            Engine::Native => {
                self.check_machine(workspace, limits)?;
                prerequisites::ensure(&[Tool::Postgres, Tool::Nginx], install)?;
                let program = workspace.build("peleja", "release")?;
                exit::fail_if_interrupted()?;
                let overlays = self.overlays.iter().map(std::path::absolute).collect::<Result<_, _>>()?;
                let (port, database_port) = (self.port, self.database_port);
                let supervisor = restart.then(own_program).transpose()?;
                let options = native::Options { port, database_port, limits, overlays, program, supervisor, detours };
                self.native()?.up(workspace, &options)
            }
            Engine::Docker => self.docker(workspace).up(),
        }
    }

    /// Sees to it that what dies is started again, where that was wanted and whoever did it is dead himself. Returns whether
    /// that was so.
    ///
    /// # Errors
    ///
    /// If nobody can be found to do it.
    pub fn supervise(&self, workspace: &Workspace) -> anyhow::Result<bool> {
        match self.engine {
            Engine::Native => self.native()?.replace_supervisor(workspace, &own_program()?),
            Engine::Docker => Ok(false),
        }
    }

    /// Starts the lab beside the stack.
    ///
    /// # Errors
    ///
    /// If it does not build or come up, or the stack does not run.
    pub fn up_lab(&self, workspace: &Workspace, ports: lab::Ports) -> anyhow::Result<()> {
        match self.engine {
            Engine::Native => self.native()?.up_lab(workspace, &workspace.build("lab", "tool")?, ports),
            Engine::Docker => self.docker(workspace).up_lab(ports.lab_host),
        }
    }

    /// What shows the last lines that each of the services wrote, and with `follow` those that they write from then on.
    ///
    /// # Errors
    ///
    /// If none of them wrote anything.
    pub fn logs(
        &self,
        workspace: &Workspace,
        services: &[&str],
        lines: usize,
        follow: bool,
    ) -> anyhow::Result<Command> {
        let lines = lines.to_string();
        match self.engine {
            Engine::Native => {
                let native = self.native()?;
                let files: Vec<_> =
                    services.iter().map(|service| native.log(service)).filter(|file| file.is_file()).collect();
                ensure!(!files.is_empty(), "there are no logs; `cargo arena up` starts the stack");
                let mut command = Command::new("tail");
                command.args(["-n", &lines]).args(follow.then_some("-F")).args(files);
                Ok(command)
            }
            Engine::Docker => {
                let mut command = self.docker(workspace).compose();
                command.args(["logs", "--tail", &lines]).args(follow.then_some("--follow")).args(services);
                Ok(command)
            }
        }
    }

    /// Ends the stack. Returns how many processes or containers ran.
    ///
    /// # Errors
    ///
    /// If something does not end.
    pub fn down(&self, workspace: &Workspace, erase: bool) -> anyhow::Result<usize> {
        match self.engine {
            Engine::Native => self.native()?.down(erase),
            Engine::Docker => self.docker(workspace).down(erase),
        }
    }
}
