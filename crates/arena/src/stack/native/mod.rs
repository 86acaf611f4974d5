//! The stack as plain processes: a private PostgreSQL cluster, two instances and nginx below one data directory.

mod faults;
mod folder;
mod lab_processes;
mod port;
mod services;
mod settings;
mod supervisor;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;

use super::cgroup_limits::Hierarchy;
use super::compose::{Compose, SERVICES};
use super::lab::PARTS;
use super::members;
use super::ports::port_is_free;
use super::process::{self, Account};
use super::requirements::Finding;
use super::{Engine, Running};
use crate::exit;
use crate::observe::Target;
use crate::record::run::Limit;
use crate::workspace::Workspace;
pub use folder::data_folder;
use folder::{MARK, resolve};
use port::choose_database_port;
use services::is_healthy;
use settings::Settings;
pub use supervisor::{Restarts, Supervision};

const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// A stack below one data directory.
#[derive(Clone, Debug)]
pub struct Native {
    data: PathBuf,
    hierarchy: Hierarchy,
}

/// How to start one.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port that nginx listens on, on the loopback address.
    pub port: u16,
    /// PostgreSQL's port on the loopback address; 5432 if that is free, else any, where none is given.
    pub database_port: Option<u16>,
    /// Hold the services to the limits of `docker-compose.yml`.
    pub limits: bool,
    /// Compose files laid over `docker-compose.yml`.
    pub overlays: Vec<PathBuf>,
    /// The contender's program.
    pub program: PathBuf,
    /// The arena's own program, to be left behind and start again what dies. Without it, what dies is dead until the next
    /// [`Native::up`].
    pub supervisor: Option<PathBuf>,
    /// Connections between the services go by way of sockets in this folder, which somebody else serves.
    pub detours: Option<PathBuf>,
}

impl Native {
    /// The stack whose files are in `data`, whether it runs or not.
    pub fn at(data: &Path) -> Self {
        let data = resolve(data);
        let handed_over = Settings::of(&data).and_then(|settings| settings.handed_over);
        let known = handed_over.and_then(|group| Hierarchy::below(&group));
        let hierarchy = known.unwrap_or_else(|| Hierarchy::detect(&members::group(&data)));
        Self { data, hierarchy }
    }

    /// Where stacks are kept unless told otherwise: on a real disk, and where PostgreSQL's account can reach it.
    pub fn default_data() -> PathBuf {
        format!("/var/tmp/peleja-{}", nix::unistd::Uid::effective()).into()
    }

    /// The stack if all of it runs.
    pub fn running(&self) -> Option<Running> {
        let settings = self.settings()?;
        let found = members::find(&self.data);
        SERVICES.iter().all(|service| found.main.contains_key(*service)).then(|| self.describe(&settings))
    }

    /// Main process by service, for those that run.
    pub fn processes(&self) -> members::Found {
        members::find(&self.data)
    }

    fn describe(&self, settings: &Settings) -> Running {
        let found = members::find(&self.data);
        let limited = settings.is_limited();
        let observe = |service: &str| {
            let group = format!("{}/{service}", members::group(&self.data));
            let group = Target::Cgroup(self.hierarchy.name(&group));
            let process = found.main.get(service).and_then(|pid| u32::try_from(*pid).ok()).map(Target::Process);
            Some((service.to_owned(), if limited { group } else { process? }))
        };
        Running {
            engine: Engine::Native,
            url: format!("http://127.0.0.1:{}", settings.port),
            database: self.database(settings, "postgres"),
            database_folder: Some(self.data.join("db")),
            limits: settings.limits.clone(),
            without_limits: settings.without_limits,
            unlimited_because: settings.unlimited_because.clone(),
            overlays: settings.overlays.clone(),
            observe: SERVICES.iter().filter_map(|service| observe(service)).collect(),
            cgroup: if limited { self.hierarchy.version() } else { "none" },
        }
    }

    /// Holds the services of the stack that runs to other limits from now on.
    ///
    /// # Errors
    ///
    /// If it does not run, or the kernel refuses.
    pub fn hold(&self, limits: &[Limit]) -> anyhow::Result<()> {
        let _lock = self.lock()?;
        let settings = self.settings_of_a_part().context("no stack runs")?;
        let parent = members::group(&self.data);
        limits.iter().try_for_each(|limit| self.hierarchy.set(&parent, limit))?;
        self.write_settings(&Settings { limits: limits.to_vec(), ..settings })
    }

    /// Starts the stack and waits until it serves. Where a part of it runs already, starts what is missing, with the
    /// ports and limits of the rest. A fresh stack that does not come up goes down again.
    ///
    /// # Errors
    ///
    /// If a port is taken, a program is missing, or a service does not come up; the error names its log.
    pub fn up(&self, workspace: &Workspace, options: &Options) -> anyhow::Result<Running> {
        self.check(options.port, options.database_port)?;
        fs::create_dir_all(&self.data).with_context(|| self.data.display().to_string())?;
        let _lock = self.lock()?;
        if let Some(settings) = self.settings_of_a_part() {
            self.enter_limits(&settings)?;
            let running = self.start_missing(workspace, Account::choose()?, &settings)?;
            self.supervise_by(workspace, options)?;
            return Ok(running);
        }
        // Now that nobody else starts or ends anything here.
        let nothing = members::find(&self.data).all.is_empty();
        ensure!(nothing, "a part of a stack runs below {}; `cargo arena down` ends it", self.data.display());
        self.check(options.port, options.database_port)?;
        let mut fresh = self.clone();
        if options.limits {
            fresh.hierarchy = Hierarchy::detect(&members::group(&self.data)).entered();
        }
        fresh.start_fresh(workspace, options).inspect_err(|_| {
            // The first error is the one to tell, and its log the one to keep.
            let _ = fresh.end(false);
        })
    }

    /// Whether [`Native::up`] has what it needs of ports and folders, to be known before anything is built. Ports are of no
    /// concern where a part of the stack runs, which keeps its own.
    ///
    /// # Errors
    ///
    /// If a port is taken, or the data directory is in use for other things.
    pub fn check(&self, port: u16, database_port: Option<u16>) -> anyhow::Result<()> {
        let folder = self.data.display();
        if self.settings_of_a_part().is_some() {
            return Ok(());
        }
        ensure!(!self.is_foreign(), "{folder} holds other things; choose an empty or a new folder with --data");
        ensure!(port_is_free(port), "something else listens on port {port}; end it, or choose another with --port");
        if let Some(port) = database_port {
            ensure!(port_is_free(port), "something else listens on port {port}; choose another with --database-port");
        }
        Ok(())
    }

    /// Whether a part of it runs, which keeps its ports and limits.
    pub fn runs_in_part(&self) -> bool {
        self.settings_of_a_part().is_some()
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Whether the services can be held to limits, and by what.
    pub fn look_at_limits(&self) -> Finding {
        match &self.hierarchy {
            Hierarchy::Absent(reason) => Err(reason.clone()),
            hierarchy => Ok(match hierarchy.handed_over() {
                Some(group) => format!("control groups {}, below {}", hierarchy.version(), group.display()),
                None => format!("control groups {}", hierarchy.version()),
            }),
        }
    }

    fn start_fresh(&self, workspace: &Workspace, options: &Options) -> anyhow::Result<Running> {
        let compose = Compose::read(&workspace.path("docker-compose.yml"), &options.overlays)?;
        let account = Account::choose()?;
        let unlimited_because = match &self.hierarchy {
            Hierarchy::Absent(reason) if options.limits => Some(reason.clone()),
            _ => None,
        };
        let settings = Settings {
            port: options.port,
            database_port: choose_database_port(options.database_port, options.port)?,
            limits: self.effective_limits(compose.limits()?, options.limits),
            without_limits: !options.limits,
            unlimited_because,
            handed_over: self.hierarchy.handed_over().map(Path::to_owned),
            overlays: options.overlays.clone(),
            detours: options.detours.clone(),
            lab: None,
        };
        self.lay_out(account, &settings)?;
        self.create_cluster(account, &compose)?;
        exit::fail_if_interrupted()?;
        fs::copy(&options.program, self.data.join("bin/peleja"))
            .with_context(|| format!("copying {}", options.program.display()))?;
        let running = self.start_missing(workspace, account, &settings)?;
        self.supervise_by(workspace, options)?;
        Ok(running)
    }

    fn supervise_by(&self, workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
        options.supervisor.iter().try_for_each(|program| self.start_supervisor(workspace, program))
    }

    fn start_missing(&self, workspace: &Workspace, account: Account, settings: &Settings) -> anyhow::Result<Running> {
        let compose = Compose::read(&workspace.path("docker-compose.yml"), &settings.overlays)?;
        let found = members::find(&self.data);
        let missing = |service: &str| !found.main.contains_key(service);
        for service in ["db", "api1", "api2"].into_iter().filter(|service| missing(service)) {
            self.start(service, workspace, account, settings)?;
        }
        for service in ["api1", "api2"] {
            let listen = self.instance_environment(service, &compose, settings)?.remove("PELEJA_LISTEN");
            self.wait_for(service, || self.instance_is_ready(listen.as_deref().unwrap_or_default()))?;
        }
        if missing("nginx") {
            self.start("nginx", workspace, account, settings)?;
        }
        self.wait_for("nginx", || is_healthy(settings.port))?;
        Ok(self.describe(settings))
    }

    /// Sees to it that what is started beside services that run can be held to limits like them.
    fn enter_limits(&self, settings: &Settings) -> anyhow::Result<()> {
        match self.hierarchy.clone().entered() {
            Hierarchy::Absent(reason) if settings.is_limited() => {
                bail!("nothing can be put under the limits of the rest: {reason}; `cargo arena down` ends the rest")
            }
            _ => Ok(()),
        }
    }

    fn effective_limits(&self, limits: Vec<Limit>, wanted: bool) -> Vec<Limit> {
        let reason = match &self.hierarchy {
            Hierarchy::Absent(reason) => reason.as_str(),
            _ if !wanted => "--no-limits",
            _ => return limits,
        };
        eprintln!("arena: no limits are set on the services: {reason}");
        limits.into_iter().map(|limit| Limit { cpus: None, memory_bytes: None, ..limit }).collect()
    }

    fn lay_out(&self, account: Account, settings: &Settings) -> anyhow::Result<()> {
        let mark = self.data.join(MARK);
        fs::write(&mark, "").with_context(|| mark.display().to_string())?;
        account.ensure_entry(&self.data)?;
        for folder in ["bin", "logs", "run", "nginx", "api1", "api2"] {
            account.create_folder(&self.data.join(folder))?;
        }
        self.write_settings(settings)
    }

    fn database(&self, settings: &Settings, name: &str) -> String {
        let sockets = self.data.join("run");
        let port = settings.database_port;
        format!("host={} port={port} user=postgres password=rinha dbname={name}", sockets.display())
    }

    /// A service's log.
    pub fn log(&self, service: &str) -> PathBuf {
        self.data.join("logs").join(format!("{service}.log"))
    }

    /// Ends everything that runs below the data directory, and removes its groups; with `erase` its files too.
    /// Returns how many processes there were.
    ///
    /// # Errors
    ///
    /// If something does not end or cannot be removed.
    pub fn down(&self, erase: bool) -> anyhow::Result<usize> {
        ensure!(!self.is_foreign(), "{} is no data directory of a stack; nothing was touched", self.data.display());
        let _lock = self.lock()?;
        self.end(erase)
    }

    fn end(&self, erase: bool) -> anyhow::Result<usize> {
        self.end_supervisor()?;
        let found = members::find(&self.data);
        let main = |service: &str| found.main.get(service).copied();
        // First whoever takes requests, then whoever is asked; nginx drains on SIGQUIT, PostgreSQL ends its sessions
        // and writes a checkpoint on SIGINT.
        for (services, signal) in [
            (&PARTS[..], Signal::SIGTERM),
            (&["nginx"], Signal::SIGQUIT),
            (&["api1", "api2"], Signal::SIGTERM),
            (&["db"], Signal::SIGINT),
        ] {
            let pids: Vec<i32> = services.iter().filter_map(|service| main(service)).collect();
            process::signal(pids.iter().copied(), signal);
            process::wait_until(STOP_PATIENCE, || self.ended(&pids));
        }
        // Whoever is left has no parent any more, or does not listen.
        let left = || members::everyone(&self.data, &self.hierarchy);
        process::signal(left(), Signal::SIGKILL);
        let gone = process::wait_until(STOP_PATIENCE, || left().is_empty());
        ensure!(gone, "these processes do not end: {:?}", left());
        self.hierarchy.remove(&members::group(&self.data))?;
        self.remove_files(erase)?;
        Ok(found.all.len())
    }

    fn ended(&self, pids: &[i32]) -> bool {
        let all = members::find(&self.data).all;
        pids.iter().all(|pid| !all.contains(pid))
    }
}
