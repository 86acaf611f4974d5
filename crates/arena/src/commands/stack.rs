//! `arena up`, `down`, `status` and `logs`.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::class;
use crate::exit::{self, Exit};
use crate::record::run::Limit;
use crate::stack::budget::Budget;
use crate::stack::compose::SERVICES;
use crate::stack::lab::{self, Lab};
use crate::stack::native::{Native, Supervision};
use crate::stack::prerequisites::Install;
use crate::stack::which::{Start, Which};
use crate::stack::{Engine, Running};
use crate::terminal;
use crate::workspace::Workspace;

/// Arguments of `arena up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    #[command(flatten)]
    which: Which,
    /// Do not hold the services to the limits of docker-compose.yml.
    #[arg(long)]
    no_limits: bool,
    /// CPUs and memory that all services may use together; `up` only says where they may use more.
    #[arg(long, value_name = "CPUS,MEMORY", default_value = Budget::CONTEST)]
    budget: Budget,
    /// Do not install what is missing, only list it.
    #[arg(long)]
    no_install: bool,
    /// Leave what dies dead until the next `up`. Under Docker the Compose file says what becomes of it.
    #[arg(long)]
    no_restart: bool,
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
    if arguments.lab && exit::accept(class::check(arguments.lab_ports.lab_host)).is_none() {
        return Ok(Exit::Usage);
    }
    exit::interruption()?;
    let (running, started) = match which.running(&workspace)? {
        Some(running) => (running, false),
        None => (which.up(&workspace, arguments.start())?, true),
    };
    if !started {
        terminal::print("The stack runs already.\n")?;
        if !arguments.no_restart && which.supervise(&workspace)? {
            terminal::print("Its supervisor was dead, and was replaced.\n")?;
        }
    }
    if arguments.lab {
        up_lab(&workspace, which, arguments.lab_ports)?;
    }
    if !started {
        terminal::print("\n")?;
    }
    print_status(&workspace, which, &running)?;
    if let Some((outcome, reason)) = running.budget_fault(&arguments.budget) {
        terminal::print(&format!("\nBudget    {outcome}: {reason}\n"))?;
    }
    if started {
        let (url, flags) = (&running.url, which.flags());
        terminal::print(&format!("\nTry   curl -i '{url}/users?q=a'\nEnd   cargo arena down{flags}\n"))?;
    }
    Ok(Exit::Good)
}

impl UpArgs {
    fn start(&self) -> Start {
        Start {
            limits: !self.no_limits,
            restart: !self.no_restart,
            install: Install::unless(self.no_install),
            detours: None,
        }
    }
}

fn up_lab(workspace: &Workspace, which: &Which, ports: lab::Ports) -> anyhow::Result<()> {
    if let Some(lab) = which.lab(workspace)?.filter(|lab| lab.running) {
        return terminal::print(&format!("The lab runs already.\n{}", class::unheard(&lab)));
    }
    which.up_lab(workspace, ports)?;
    terminal::print(&class::opened(ports.lab_host))
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
        let native = (arguments.which.engine == Engine::Native).then(|| arguments.which.native()).transpose()?;
        let services = running.as_ref().map(|running| &running.limits);
        let document = serde_json::json!({
            "schema": 1,
            "running": running.is_some(),
            "engine": arguments.which.engine.name(),
            "url": running.as_ref().map(|running| &running.url),
            "database": running.as_ref().map(|running| &running.database),
            "services": services,
            "supervised": native.as_ref().map(|native| native.supervision() == Supervision::Alive),
            "restarts": native.as_ref().map(restarts),
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
    let mut command = arguments.which.logs(&workspace, &services, arguments.lines, arguments.follow)?;
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
        lines.extend(supervision(&native));
        let restarts = native.restarts();
        let limits = running.limits.iter().chain(lab.iter().flat_map(|lab| &lab.limits));
        let limits: Vec<&Limit> = limits.collect();
        for (service, pid) in native.processes().main {
            let limit = limits.iter().find(|limit| limit.service == service);
            let limit = limit.and_then(|limit| limit.cpus.zip(limit.memory_bytes));
            let limit =
                limit.map_or("no limits".to_owned(), |(cpus, bytes)| format!("{cpus} CPU, {} MiB", bytes >> 20));
            let again = restarts.get(&service).map_or_else(String::new, |restarts| {
                format!("   started again {}, last at {:.0}", times(restarts.times), restarts.last)
            });
            lines.push(format!("  {service:<11} pid {pid:<8} {limit}{again}"));
        }
    }
    lines.push(String::new());
    terminal::print(&lines.join("\n"))
}

/// Whether what dies comes back, where that is worth a line.
fn supervision(native: &Native) -> Option<String> {
    match native.supervision() {
        Supervision::Alive => None,
        Supervision::Dead => Some("Restarts  none: the supervisor is dead; `cargo arena up` replaces it".into()),
        Supervision::None => Some("Restarts  none: what dies is dead until the next `cargo arena up`".into()),
    }
}

fn restarts(native: &Native) -> serde_json::Value {
    let restarts = native.restarts().into_iter();
    let document = restarts.map(|(service, restarts)| {
        (service, serde_json::json!({"times": restarts.times, "last": restarts.last.to_string()}))
    });
    document.collect::<serde_json::Map<_, _>>().into()
}

fn times(times: u32) -> String {
    if times == 1 { "once".to_owned() } else { format!("{times} times") }
}

/// Arguments of the process that `arena up` leaves behind.
#[derive(Debug, Args)]
pub struct SuperviseArgs {
    data: PathBuf,
    checkout: PathBuf,
}

/// Starts again what dies of a stack.
///
/// # Errors
///
/// If the kernel does not tell who ends.
pub fn supervise(arguments: &SuperviseArgs) -> anyhow::Result<Exit> {
    Native::at(&arguments.data).supervise(&Workspace::at(&arguments.checkout))?;
    Ok(Exit::Good)
}
