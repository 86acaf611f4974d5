//! The stack as plain processes: a private PostgreSQL cluster, two instances and nginx below one data directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::cgroup::{Entrance, Hierarchy};
use super::cluster;
use super::compose::{Compose, SERVICES};
use super::lab::{self, Lab};
use super::process::{self, Account, NEW_CLUSTER};
use super::{DATABASE_PORT, Engine, Running};
use crate::exit;
use crate::observe::Target;
use crate::prerequisites::{self, Tool};
use crate::run::Limit;
use crate::workspace::Workspace;

/// The folder of the sockets in `docker-compose.yml` and `nginx.conf`.
const SOCKETS: &str = "/run/peleja";
/// The folder of the database's socket there.
const DATABASE_SOCKETS: &str = "/run/postgresql";
/// How nginx.conf says which port it listens on.
const LISTEN: &str = "listen 9999";

/// The file that tells a data directory from anybody else's folder.
const MARK: &str = ".peleja";
/// A Unix socket's path may have 107 bytes, and this is the longest of those below a data directory.
const LONGEST_FOLDER: usize = 107 - "/run/.s.PGSQL.65535".len();

const READY_PATIENCE: Duration = Duration::from_secs(60);
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
}

/// What was chosen at the start, kept for those who look later.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Settings {
    port: u16,
    database_port: u16,
    limits: Vec<Limit>,
    overlays: Vec<PathBuf>,
    lab: Option<LabSettings>,
}

/// The same for the lab, where it was started too.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct LabSettings {
    ports: lab::Ports,
    limits: Vec<Limit>,
}

impl Settings {
    fn limit(&self, service: &str) -> Option<&Limit> {
        let of_the_lab = self.lab.iter().flat_map(|lab| &lab.limits);
        self.limits.iter().chain(of_the_lab).find(|limit| limit.service == service)
    }

    fn is_limited(&self) -> bool {
        self.limits.iter().any(|limit| limit.cpus.is_some())
    }
}

impl Native {
    /// The stack whose files are in `data`, whether it runs or not.
    pub fn at(data: &Path) -> Self {
        Self { data: resolve(data), hierarchy: Hierarchy::detect() }
    }

    /// Where stacks are kept unless told otherwise: on a real disk, and where PostgreSQL's account can reach it.
    pub fn default_data() -> PathBuf {
        format!("/var/tmp/peleja-{}", nix::unistd::Uid::effective()).into()
    }

    /// The control group that holds the services' groups.
    fn group(&self) -> String {
        // FNV-1a: the same data directory always has the same group, so that any arena can find it.
        let hash = self
            .data
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        format!("peleja-{:08x}", hash >> 32)
    }

    /// The stack if all of it runs.
    pub fn running(&self) -> Option<Running> {
        let settings = self.settings()?;
        let found = process::find(&self.data);
        SERVICES.iter().all(|service| found.main.contains_key(*service)).then(|| self.describe(&settings))
    }

    /// Main process by service, for those that run.
    pub fn processes(&self) -> process::Found {
        process::find(&self.data)
    }

    fn settings(&self) -> Option<Settings> {
        serde_json::from_str(&fs::read_to_string(self.data.join("settings.json")).ok()?).ok()
    }

    fn describe(&self, settings: &Settings) -> Running {
        let found = process::find(&self.data);
        let limited = settings.is_limited();
        let observe = |service: &str| {
            let group = Target::Cgroup(format!("{}/{service}", self.group()));
            let process = found.main.get(service).and_then(|pid| u32::try_from(*pid).ok()).map(Target::Process);
            Some((service.to_owned(), if limited { group } else { process? }))
        };
        Running {
            engine: Engine::Native,
            url: format!("http://127.0.0.1:{}", settings.port),
            database: self.database(settings, "postgres"),
            database_folder: Some(self.data.join("db")),
            limits: settings.limits.clone(),
            overlays: settings.overlays.clone(),
            observe: SERVICES.iter().filter_map(|service| observe(service)).collect(),
            cgroup: if limited { self.hierarchy.version() } else { "none" },
        }
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
            return self.start_missing(workspace, Account::choose()?, &settings);
        }
        // Now that nobody else starts or ends anything here.
        let nothing = process::find(&self.data).all.is_empty();
        ensure!(nothing, "a part of a stack runs below {}; `cargo arena down` ends it", self.data.display());
        self.check(options.port, options.database_port)?;
        self.start_fresh(workspace, options).inspect_err(|_| {
            // The first error is the one to tell, and its log the one to keep.
            let _ = self.end(false);
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

    fn settings_of_a_part(&self) -> Option<Settings> {
        self.settings().filter(|_| !process::find(&self.data).main.is_empty())
    }

    /// Whether the data directory is a folder with things in it that are not the arena's.
    fn is_foreign(&self) -> bool {
        let ours = [MARK, "settings.json"].iter().any(|name| self.data.join(name).exists());
        !ours && fs::read_dir(&self.data).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Keeps other arenas from the data directory until it is dropped, and waits for one that is at work there. None where
    /// there is no such folder.
    fn lock(&self) -> anyhow::Result<Option<Flock<fs::File>>> {
        let mut told = false;
        loop {
            let folder = match fs::File::open(&self.data) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened.with_context(|| self.data.display().to_string())?,
            };
            let held = folder.metadata()?.ino();
            match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
                // Whoever had it may have removed the folder, and the lock with it.
                Ok(lock) if fs::metadata(&self.data).is_ok_and(|now| now.ino() == held) => return Ok(Some(lock)),
                Ok(_) => continue,
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => {}
                Err((_, error)) => return Err(error).with_context(|| format!("locking {}", self.data.display())),
            }
            if !told {
                eprintln!("arena: waiting for another arena that is at work on {}", self.data.display());
                told = true;
            }
            exit::fail_if_interrupted()?;
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn start_fresh(&self, workspace: &Workspace, options: &Options) -> anyhow::Result<Running> {
        let compose = Compose::read(&workspace.path("docker-compose.yml"), &options.overlays)?;
        let account = Account::choose()?;
        let settings = Settings {
            port: options.port,
            database_port: choose_database_port(options.database_port, options.port)?,
            limits: self.effective_limits(compose.limits()?, options.limits),
            overlays: options.overlays.clone(),
            lab: None,
        };
        self.lay_out(account, &settings)?;
        self.create_cluster(account, &compose)?;
        exit::fail_if_interrupted()?;
        fs::copy(&options.program, self.data.join("bin/peleja"))
            .with_context(|| format!("copying {}", options.program.display()))?;
        self.start_missing(workspace, account, &settings)
    }

    fn start_missing(&self, workspace: &Workspace, account: Account, settings: &Settings) -> anyhow::Result<Running> {
        let compose = Compose::read(&workspace.path("docker-compose.yml"), &settings.overlays)?;
        let found = process::find(&self.data);
        let missing = |service: &str| !found.main.contains_key(service);
        for service in SERVICES.into_iter().filter(|service| missing(service)) {
            process::end_orphans(&self.data, service)?;
        }
        if missing("db") {
            self.remove_stale_locks(settings)?;
            self.start_database(account, &compose, settings)?;
        }
        for service in ["api1", "api2"].into_iter().filter(|service| missing(service)) {
            self.start_instance(service, account, &compose, settings)?;
        }
        for service in ["api1", "api2"] {
            let listen = self.instance_environment(service, &compose, settings)?.remove("PELEJA_LISTEN");
            self.wait_for(service, || self.instance_is_ready(listen.as_deref().unwrap_or_default()))?;
        }
        if missing("nginx") {
            self.start_nginx(workspace, account, &compose, settings)?;
        }
        self.wait_for("nginx", || is_healthy(settings.port))?;
        Ok(self.describe(settings))
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

    fn write_settings(&self, settings: &Settings) -> anyhow::Result<()> {
        let text = serde_json::to_string(settings)?;
        fs::write(self.data.join("settings.json"), text).context("settings.json")
    }

    /// Makes the cluster, under another name until it is whole.
    fn create_cluster(&self, account: Account, compose: &Compose) -> anyhow::Result<()> {
        if self.data.join("db").is_dir() {
            return Ok(());
        }
        let new = self.data.join(NEW_CLUSTER);
        if new.is_dir() {
            fs::remove_dir_all(&new).with_context(|| new.display().to_string())?;
        }
        let environment = compose.environment("db")?;
        let password = self.data.join("run/password");
        fs::write(&password, environment.get("POSTGRES_PASSWORD").copied().unwrap_or("rinha"))?;
        nix::unistd::chown(&password, Some(account.uid), Some(account.gid))?;
        let password_file = format!("--pwfile={}", password.display());
        let own = ["--auth-local=trust", "--auth-host=scram-sha-256", &password_file];
        let given = environment.get("POSTGRES_INITDB_ARGS").copied().unwrap_or_default().split_whitespace();
        let programs = prerequisites::find(Tool::Postgres)?;
        let made = cluster::initialize(&programs, &new, account, own.into_iter().chain(given));
        fs::remove_file(&password)?;
        made?;
        fs::rename(&new, self.data.join("db")).context("the new cluster")
    }

    /// With none of the database's processes left, its locks name a dead one, and a number that is in use all the same (by
    /// a zombie, or anybody new) would keep PostgreSQL from starting.
    fn remove_stale_locks(&self, settings: &Settings) -> anyhow::Result<()> {
        let socket = format!("run/.s.PGSQL.{}.lock", settings.database_port);
        for lock in ["db/postmaster.pid", &socket].map(|name| self.data.join(name)) {
            match fs::remove_file(&lock) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| lock.display().to_string());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn start_database(&self, account: Account, compose: &Compose, settings: &Settings) -> anyhow::Result<()> {
        let mut command = Command::new(prerequisites::find(Tool::Postgres)?.join("postgres"));
        // The first word is the program's name, the rest are settings.
        command.args(compose.command("db")?.iter().skip(1));
        command.arg("-D").arg(self.data.join("db"));
        command.arg(format!("-cport={}", settings.database_port));
        command.arg("-clisten_addresses=127.0.0.1");
        command.arg(format!("-cunix_socket_directories={}", self.data.join("run").display()));
        self.spawn("db", command, account, settings)
    }

    fn start_instance(
        &self,
        service: &str,
        account: Account,
        compose: &Compose,
        settings: &Settings,
    ) -> anyhow::Result<()> {
        let mut command = Command::new(self.data.join("bin/peleja"));
        // Under Compose an instance knows nothing of what the caller's shell has set either.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PELEJA_")) {
            command.env_remove(name);
        }
        command.envs(self.instance_environment(service, compose, settings)?);
        self.spawn(service, command, account, settings)
    }

    fn instance_environment(
        &self,
        service: &str,
        compose: &Compose,
        settings: &Settings,
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let run = self.data.join("run").display().to_string();
        let here = |(name, value): (&str, &str)| {
            let mut value = value.replace(DATABASE_SOCKETS, &run).replace(SOCKETS, &run);
            if name == "PELEJA_DATABASE" {
                value.push_str(&format!(" port={}", settings.database_port));
            }
            (name.to_owned(), value)
        };
        Ok(compose.environment(service)?.into_iter().map(here).collect())
    }

    fn start_nginx(
        &self,
        workspace: &Workspace,
        account: Account,
        compose: &Compose,
        settings: &Settings,
    ) -> anyhow::Result<()> {
        let source = workspace.path("nginx.conf");
        let text = fs::read_to_string(&source).with_context(|| source.display().to_string())?;
        for wanted in [LISTEN, SOCKETS] {
            ensure!(text.contains(wanted), "{} does not say `{wanted}` any more", source.display());
        }
        // An overlay may have the instances listen elsewhere.
        let plain = Compose::read(&workspace.path("docker-compose.yml"), &[])?;
        let mut text = text;
        for service in ["api1", "api2"] {
            let listens = |compose: &Compose| -> anyhow::Result<String> {
                Ok(compose.environment(service)?.get("PELEJA_LISTEN").copied().unwrap_or_default().to_owned())
            };
            text = text.replace(&listens(&plain)?, &listens(compose)?);
        }
        let text = text
            .replace(LISTEN, &format!("listen 127.0.0.1:{}", settings.port))
            .replace(SOCKETS, &self.data.join("run").display().to_string());
        let file = self.data.join("run/nginx.conf");
        fs::write(&file, text).with_context(|| file.display().to_string())?;
        let mut command = Command::new(prerequisites::find(Tool::Nginx)?);
        command.arg("-e").arg("stderr").arg("-c").arg(&file);
        self.spawn("nginx", command, account, settings)
    }

    /// Starts a service in its folder, by which it is found again.
    fn spawn(&self, service: &str, mut command: Command, account: Account, settings: &Settings) -> anyhow::Result<()> {
        command.current_dir(self.data.join(service));
        let entrance = self.entrance(service, settings)?;
        process::spawn(command, account, entrance, &self.log(service))
    }

    fn entrance(&self, service: &str, settings: &Settings) -> anyhow::Result<Option<Entrance>> {
        let limit = settings.limit(service).filter(|limit| limit.cpus.is_some());
        limit.map(|limit| self.hierarchy.create(&self.group(), limit)).transpose()
    }

    fn wait_for(&self, service: &str, ready: impl Fn() -> bool) -> anyhow::Result<()> {
        let ended = || !process::find(&self.data).main.contains_key(service);
        let mut gone = false;
        let came = process::wait_until(READY_PATIENCE, || {
            let is_ready = ready();
            gone = !is_ready && ended();
            is_ready || gone || exit::is_interrupted()
        });
        exit::fail_if_interrupted()?;
        if came && !gone {
            return Ok(());
        }
        let what = if gone { "ended at once" } else { "did not become ready" };
        bail!(
            "{service} {what}; the end of {}:\n{}",
            self.log(service).display(),
            process::tail(&self.log(service), 8)
        );
    }

    fn instance_is_ready(&self, listen: &str) -> bool {
        let mut command = Command::new(self.data.join("bin/peleja"));
        command.arg("--check").env("PELEJA_LISTEN", listen);
        command.output().is_ok_and(|output| output.status.success())
    }

    /// What is known of the lab beside this stack, if it was started.
    pub fn lab(&self) -> Option<Lab> {
        let LabSettings { ports, limits } = self.settings()?.lab?;
        let found = process::find(&self.data);
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
        let compose = Compose::read(&workspace.path("docker-compose.yml"), &settings.overlays)?;
        let found = process::find(&self.data).main;
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
        self.run_lab(&["init"], &compose, &settings)?;
        for part in &missing {
            self.start_part(part, account, &compose, &settings)?;
        }
        for part in lab::PARTS {
            self.wait_for(part, || self.run_lab(&["check", part], &compose, &settings).is_ok())?;
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

    fn start_part(&self, part: &str, account: Account, compose: &Compose, settings: &Settings) -> anyhow::Result<()> {
        let mut command = self.lab_command(compose, settings)?;
        command.arg(part);
        self.spawn(part, command, account, settings)
    }

    /// Runs a short command of the lab to its end.
    fn run_lab(&self, words: &[&str], compose: &Compose, settings: &Settings) -> anyhow::Result<()> {
        let output = self.lab_command(compose, settings)?.args(words).output().context("starting the lab")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// The lab's program, told what `docker-compose.yml` tells it, and where things are on this machine.
    fn lab_command(&self, compose: &Compose, settings: &Settings) -> anyhow::Result<Command> {
        let mut command = Command::new(self.data.join("bin/lab"));
        command.envs(compose.environment(lab::PARTS[0])?);
        command.env("LAB_HOST", "localhost");
        command.env("LAB_DATABASE_URL", self.database(settings, "lab"));
        command.envs(settings.lab.iter().flat_map(|lab| lab.ports.environment()));
        Ok(command)
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
        let found = process::find(&self.data);
        let main = |service: &str| found.main.get(service).copied();
        // First whoever takes requests, then whoever is asked; nginx drains on SIGQUIT, PostgreSQL ends its sessions
        // and writes a checkpoint on SIGINT.
        for (services, signal) in [
            (&lab::PARTS[..], Signal::SIGTERM),
            (&["nginx"], Signal::SIGQUIT),
            (&["api1", "api2"], Signal::SIGTERM),
            (&["db"], Signal::SIGINT),
        ] {
            let pids: Vec<i32> = services.iter().filter_map(|service| main(service)).collect();
            process::signal(pids.iter().copied(), signal);
            process::wait_until(STOP_PATIENCE, || self.ended(&pids));
        }
        // Whoever is left has no parent any more, or does not listen.
        let left = || [process::find(&self.data).all, self.hierarchy.processes(&self.group())].concat();
        process::signal(left(), Signal::SIGKILL);
        let gone = process::wait_until(STOP_PATIENCE, || left().is_empty());
        ensure!(gone, "these processes do not end: {:?}", left());
        self.hierarchy.remove(&self.group())?;
        self.remove_files(erase)?;
        Ok(found.all.len())
    }

    fn ended(&self, pids: &[i32]) -> bool {
        let all = process::find(&self.data).all;
        pids.iter().all(|pid| !all.contains(pid))
    }

    fn remove_files(&self, erase: bool) -> anyhow::Result<()> {
        // Only what `up` made: somebody may have put other things beside it.
        let kept: &[&str] = if erase { &[] } else { &["db", "logs"] };
        for folder in ["bin", "run", "nginx", "api1", "api2", NEW_CLUSTER, "db", "logs"].iter().chain(&lab::PARTS) {
            let path = self.data.join(folder);
            if !kept.contains(folder) && path.is_dir() {
                fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
            }
        }
        // What is kept stays ours, for the next `up` and `down`. The mark goes last: a `down` that failed can be repeated.
        let left = kept.iter().any(|folder| self.data.join(folder).exists());
        let files: &[&str] = if left { &["settings.json"] } else { &["settings.json", MARK] };
        for file in files.iter().map(|name| self.data.join(name)).filter(|file| file.is_file()) {
            fs::remove_file(&file).with_context(|| file.display().to_string())?;
        }
        // Not empty, or never there: either is fine.
        let _ = fs::remove_dir(&self.data);
        Ok(())
    }
}

/// A data directory from the command line, absolute.
///
/// # Errors
///
/// If PostgreSQL, nginx or the kernel could not use it.
pub fn data_folder(text: &str) -> Result<PathBuf, String> {
    let folder = resolve(&std::path::absolute(text).map_err(|error| error.to_string())?);
    let path = folder.to_str().ok_or("it leads to a folder whose name is not UTF-8")?;
    if path.len() > LONGEST_FOLDER {
        return Err(format!("{path} has {} bytes, and sockets below it allow {LONGEST_FOLDER}", path.len()));
    }
    // What else there is means something to PostgreSQL's settings, to nginx.conf, or to connection strings.
    match path.chars().find(|c| !c.is_alphanumeric() && !"/._-+@~".contains(*c)) {
        Some(c) => Err(format!("{c:?} in {path}: only letters, digits and . _ - + @ ~ may be in it")),
        None => Ok(folder),
    }
}

/// The path without links, and without a slash at its end: one folder is one stack, however it is written.
fn resolve(path: &Path) -> PathBuf {
    let real = |known: &Path| Some(known.canonicalize().ok()?.join(path.strip_prefix(known).ok()?));
    path.ancestors().find_map(real).as_deref().unwrap_or(path).components().collect()
}

fn port_is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
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

fn choose_database_port(wanted: Option<u16>, taken: u16) -> anyhow::Result<u16> {
    if let Some(port) = wanted {
        return Ok(port);
    }
    if DATABASE_PORT != taken && port_is_free(DATABASE_PORT) {
        return Ok(DATABASE_PORT);
    }
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn is_healthy(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_stack_however_it_is_written() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink(root.join("real"), root.join("link")).unwrap();
        let stack = |folder: &str| Native::at(&root.join(folder));
        for folder in ["real/", "./real", "link", "link/"] {
            assert_eq!(stack(folder).group(), stack("real").group(), "{folder}");
        }
        assert_eq!(stack("link/new/").data, root.join("real/new"));
    }

    #[test]
    fn folders_that_a_service_could_not_use_are_refused() {
        assert_eq!(data_folder("/nowhere/é_1.2-3+4@5~6/").unwrap(), Path::new("/nowhere/é_1.2-3+4@5~6"));
        assert!(data_folder("relative").unwrap().is_absolute());
        for wrong in ["", "/a b", "/a,b", "/a;b", "/a'b", "/a\"b", "/a\\b", "/a\nb", "/$a", "/{a", "/a#b"] {
            assert!(data_folder(wrong).is_err(), "{wrong:?}");
        }
        let long = |bytes: usize| data_folder(&format!("/{}", "a".repeat(bytes - 1)));
        assert!(long(LONGEST_FOLDER).is_ok());
        assert!(long(LONGEST_FOLDER + 1).unwrap_err().contains("bytes"));
    }

    #[test]
    fn somebody_s_own_folders_are_left_alone() {
        let home = tempfile::tempdir().unwrap();
        for folder in ["bin", "logs", "db"] {
            fs::create_dir(home.path().join(folder)).unwrap();
        }
        let native = Native::at(home.path());
        assert!(native.check(1, None).unwrap_err().to_string().contains("holds other things"));
        assert!(native.down(true).is_err());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3);
    }

    #[test]
    fn who_comes_second_waits_for_the_lock_of_the_folder_that_is_there() {
        let root = tempfile::tempdir().unwrap();
        let native = Native::at(&root.path().join("stack"));
        assert!(native.lock().unwrap().is_none());
        fs::create_dir(&native.data).unwrap();
        let first = native.lock().unwrap().unwrap();
        let second = std::thread::spawn({
            let native = native.clone();
            move || native.lock().unwrap()
        });
        std::thread::sleep(Duration::from_millis(150));
        assert!(!second.is_finished());
        fs::remove_dir(&native.data).unwrap();
        drop(first);
        assert!(second.join().unwrap().is_none());
    }

    #[test]
    fn the_database_gets_no_port_that_the_api_has() {
        assert_ne!(choose_database_port(None, DATABASE_PORT).unwrap(), DATABASE_PORT);
        assert_eq!(choose_database_port(Some(7), 8).unwrap(), 7);
    }
}
