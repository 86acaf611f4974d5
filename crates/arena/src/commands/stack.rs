//! `arena up`, `down`, `status` and `logs`.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Args;

use crate::exit::{self, Exit};
use crate::record::run::Limit;
use crate::stack::compose::{Compose, SERVICES};
use crate::stack::docker::Docker;
use crate::stack::lab::{self, Lab};
use crate::stack::native::{self, Native};
use crate::stack::prerequisites::{self, Install, Tool};
use crate::stack::{Engine, PORT, Running};
use crate::terminal;
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
        ensure!(self.database_port != Some(self.port), "--port and --database-port are both {}", self.port);
        Compose::read(&workspace.path("docker-compose.yml"), &self.overlays)?;
        Ok(())
    }

    /// Whether the machine has what the stack needs of ports and folders, as far as that can be told before it is built.
    ///
    /// # Errors
    ///
    /// As [`Native::check`].
    pub fn check_machine(&self) -> anyhow::Result<()> {
        match self.engine {
            Engine::Native => self.native()?.check(self.port, self.database_port),
            Engine::Docker => Ok(()),
        }
    }

    /// The flags by which another command finds the same stack.
    fn flags(&self) -> String {
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
    pub fn up(&self, workspace: &Workspace, limits: bool, install: Install) -> anyhow::Result<Running> {
        match self.engine {
            Engine::Native => {
                self.check_machine()?;
                prerequisites::ensure(&[Tool::Postgres, Tool::Nginx], install)?;
                let program = workspace.build("peleja", "release")?;
                exit::fail_if_interrupted()?;
                let overlays = self.overlays.iter().map(std::path::absolute).collect::<Result<_, _>>()?;
                let (port, database_port) = (self.port, self.database_port);
                let options = native::Options { port, database_port, limits, overlays, program };
                self.native()?.up(workspace, &options)
            }
            Engine::Docker => self.docker(workspace).up(),
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

/// Arguments of `arena up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    #[command(flatten)]
    which: Which,
    /// Do not hold the services to the limits of docker-compose.yml.
    #[arg(long)]
    no_limits: bool,
    /// Do not install what is missing, only list it.
    #[arg(long)]
    no_install: bool,
    /// Start the lab too, over the same PostgreSQL in a database of its own.
    #[arg(long)]
    lab: bool,
    #[command(flatten)]
    lab_ports: lab::Ports,
}

/// Arguments of `arena down`.
#[derive(Debug, Args)]
pub struct DownArgs {
    #[command(flatten)]
    which: Which,
    /// Keep the people who are stored, for the next `up`.
    #[arg(long)]
    keep: bool,
}

/// Arguments of `arena status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    which: Which,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Arguments of `arena logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    #[command(flatten)]
    which: Which,
    /// Only this service or part of the lab.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(SERVICES.iter().chain(&lab::PARTS)))]
    service: Option<String>,
    /// Go on with what is written from now on.
    #[arg(long, short)]
    follow: bool,
    /// How many lines of each to begin with.
    #[arg(long, default_value_t = 50)]
    lines: usize,
}

/// Starts the stack, and the lab if it is asked for; what runs already is left as it is, and told of.
pub fn up(arguments: &UpArgs) -> anyhow::Result<Exit> {
    let workspace = Workspace::find()?;
    let which = &arguments.which;
    if exit::accept(which.check(&workspace, !arguments.no_limits)).is_none() {
        return Ok(Exit::Usage);
    }
    exit::interruption()?;
    let (running, started) = match which.running(&workspace)? {
        Some(running) => (running, false),
        None => (which.up(&workspace, !arguments.no_limits, Install::unless(arguments.no_install))?, true),
    };
    if !started {
        terminal::print("The stack runs already.\n")?;
    }
    if arguments.lab {
        up_lab(&workspace, which, arguments.lab_ports)?;
    }
    if !started {
        terminal::print("\n")?;
    }
    print_status(&workspace, which, &running)?;
    if started {
        let (url, flags) = (&running.url, which.flags());
        terminal::print(&format!("\nTry   curl -i '{url}/users?q=a'\nEnd   cargo arena down{flags}\n"))?;
    }
    Ok(Exit::Good)
}

fn up_lab(workspace: &Workspace, which: &Which, ports: lab::Ports) -> anyhow::Result<()> {
    if which.lab(workspace)?.is_some_and(|lab| lab.running) {
        return terminal::print("The lab runs already.\n");
    }
    match which.engine {
        Engine::Native => which.native()?.up_lab(workspace, &workspace.build("lab", "tool")?, ports),
        Engine::Docker => which.docker(workspace).up_lab(),
    }
}

/// Ends the stack, also what a crashed arena left of it.
pub fn down(arguments: &DownArgs) -> anyhow::Result<Exit> {
    let workspace = Workspace::find()?;
    let ended = arguments.which.down(&workspace, !arguments.keep)?;
    let what = if arguments.which.engine == Engine::Docker { "containers" } else { "processes" };
    terminal::print(&match ended {
        0 => "Nothing ran.\n".to_owned(),
        ended => format!("Ended {ended} {what}.\n"),
    })?;
    Ok(Exit::Good)
}

/// Says what runs; exit status 1 if not all of it does.
pub fn status(arguments: &StatusArgs) -> anyhow::Result<Exit> {
    let workspace = Workspace::find()?;
    let running = arguments.which.running(&workspace)?;
    let lab = arguments.which.lab(&workspace)?;
    if arguments.json {
        let services = running.as_ref().map(|running| &running.limits);
        let document = serde_json::json!({
            "schema": 1,
            "running": running.is_some(),
            "engine": arguments.which.engine.name(),
            "url": running.as_ref().map(|running| &running.url),
            "database": running.as_ref().map(|running| &running.database),
            "services": services,
            "lab": lab.as_ref().map(Lab::document),
        });
        terminal::print_json(&document)?;
    } else if let Some(running) = &running {
        print_status(&workspace, &arguments.which, running)?;
    } else if arguments.which.engine == Engine::Native && !arguments.which.native()?.processes().all.is_empty() {
        let found = arguments.which.native()?.processes();
        let parts: Vec<&str> = found.main.keys().map(String::as_str).collect();
        let parts = if parts.is_empty() { "what a crash left of it".to_owned() } else { parts.join(", ") };
        terminal::print(&format!("Only a part of the stack runs: {parts}. `cargo arena down` ends it.\n"))?;
    } else {
        terminal::print("Nothing runs. `cargo arena up` starts the stack.\n")?;
    }
    let whole = running.is_some() && lab.is_none_or(|lab| lab.running);
    Ok(if whole { Exit::Good } else { Exit::Failed })
}

/// Shows what the services wrote.
pub fn logs(arguments: &LogsArgs) -> anyhow::Result<Exit> {
    let workspace = Workspace::find()?;
    let services: Vec<&str> = match &arguments.service {
        Some(service) => vec![service],
        None => SERVICES.into_iter().chain(lab::PARTS).collect(),
    };
    let lines = arguments.lines.to_string();
    let mut command = match arguments.which.engine {
        Engine::Native => {
            let native = arguments.which.native()?;
            let files: Vec<_> =
                services.iter().map(|service| native.log(service)).filter(|file| file.is_file()).collect();
            ensure!(!files.is_empty(), "there are no logs; `cargo arena up` starts the stack");
            let mut command = Command::new("tail");
            command.args(["-n", &lines]).args(arguments.follow.then_some("-F")).args(files);
            command
        }
        Engine::Docker => {
            let mut command = arguments.which.docker(&workspace).compose();
            command.args(["logs", "--tail", &lines]).args(arguments.follow.then_some("--follow")).args(services);
            command
        }
    };
    // In place of this process: nobody is left over who follows, whoever ends the arena, and how.
    Err(command.exec()).context("showing the logs")
}

fn print_status(workspace: &Workspace, which: &Which, running: &Running) -> anyhow::Result<()> {
    let mut lines = vec![
        format!("API       {}   (nginx, two instances)", running.url),
        format!("Database  psql '{}'", running.database),
    ];
    let lab = which.lab(workspace)?;
    if let Some(lab) = &lab {
        let state = if lab.running { "" } else { "   (not all of it runs; `cargo arena up --lab` starts the rest)" };
        lines.push(format!("Lab       {}{state}", lab.pages()));
    }
    if which.engine == Engine::Native {
        let native = which.native()?;
        lines.push(format!("Logs      {}   (cargo arena logs)", native.log("*").display()));
        let limits = running.limits.iter().chain(lab.iter().flat_map(|lab| &lab.limits));
        let limits: Vec<&Limit> = limits.collect();
        for (service, pid) in native.processes().main {
            let limit = limits.iter().find(|limit| limit.service == service);
            let limit = limit.and_then(|limit| limit.cpus.zip(limit.memory_bytes));
            let limit =
                limit.map_or("no limits".to_owned(), |(cpus, bytes)| format!("{cpus} CPU, {} MiB", bytes >> 20));
            lines.push(format!("  {service:<11} pid {pid:<8} {limit}"));
        }
    }
    lines.push(String::new());
    terminal::print(&lines.join("\n"))
}
