//! `arena torment`: faults under load, and whether everything that was answered can be true.

mod cluster;
mod docker;
mod native;
mod plan;

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use nix::sys::signal::Signal;

use self::cluster::Cluster;
use self::docker::Docker;
use self::native::Native;
use self::plan::{Faults, Ground, Schedule, Spec, Turn};
use super::database::Database;
use crate::exit::{self, Exit};
use crate::load::base_url::BaseUrl;
use crate::load::clients::Clients;
use crate::load::payloads::random::Random;
use crate::read::report;
use crate::record::history::{self, History as Runs};
use crate::record::torment::report::Report;
use crate::record::torment::{CLIENTS, CLUSTER, Fault, Header, History, Person};
use crate::stack::hosts::Hosts;
use crate::stack::ports::{SoonFree, free_port};
use crate::stack::prerequisites::Install;
use crate::stack::which::{Start, Which};
use crate::stack::{Engine, Running, process};
use crate::terminal;
use crate::workspace::Workspace;

/// All is well for so long before the first fault and behind the last.
const CALM: Duration = Duration::from_secs(2);

/// How long to wait for a process to come back, and for requests to stop failing.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(30);

/// How long a cluster may take until every host is again what it was.
const WHOLE_PATIENCE: Duration = Duration::from_secs(120);

/// No request has failed for so long when a fault is over.
const QUIET: Duration = Duration::from_millis(500);

/// How long building, starting, and checking take, at least where all is built.
const AROUND: Duration = Duration::from_secs(20);

/// Arguments of `arena torment`.
#[derive(Debug, Args)]
pub struct TormentArgs {
    #[command(flatten)]
    which: Which,
    /// Of load and schedule: the same faults in the same order. Any where none is given
    #[arg(long)]
    seed: Option<u64>,
    /// How long to bring faults about
    #[arg(long = "for", value_name = "DURATION", default_value = "120s", value_parser = duration)]
    lasts: Duration,
    /// Which faults, separated by commas: all, kinds (kill, restart, stop, cut, delay, hold, cpu, memory, disk, power), or single
    /// ones such as kill-db and cut-api1-db; of a cluster kill-primary, stop-primary, cut-primary-etcd, switchover and so on
    #[arg(long, value_name = "LIST", default_value = "all")]
    faults: Faults,
    /// How many ask at the same time, each some 29 times a second where it is served at once; 44 ask as much as the event at its peak
    #[arg(long, value_name = "N", default_value_t = CLIENTS, value_parser = clap::value_parser!(u16).range(1..=1000))]
    clients: u16,
    /// On the hosts of a cluster, as `arena cluster up` starts one, in place of a stack
    #[arg(long, conflicts_with_all = ["engine", "data", "port", "database_port", "overlays", "no_limits"])]
    cluster: bool,
    /// Start nothing: check the history of an earlier torment again
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "lasts", "faults", "clients", "cluster"])]
    check: Option<PathBuf>,
    /// Do not hold the services to their limits
    #[arg(long)]
    no_limits: bool,
    /// Do not install what is missing, only list it
    #[arg(long)]
    no_install: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Something that faults are brought about on.
trait Body {
    /// Brings a fault about. Returns whose end it is, to be asked for by [`Body::is_back`].
    ///
    /// # Errors
    ///
    /// If it cannot be brought about.
    fn begin(&self, spec: Spec) -> anyhow::Result<Vec<i32>>;

    /// Undoes a fault that has an end of its own.
    ///
    /// # Errors
    ///
    /// If it cannot be undone.
    fn end(&self, spec: Spec) -> anyhow::Result<()>;

    /// Whether others are there in place of these processes, and ready.
    fn is_back(&self, spec: Spec, ended: &[i32]) -> bool;

    /// Whether all is as it was before any fault, beyond what clients see.
    fn is_whole(&self) -> bool {
        true
    }
}

/// Torments a stack of its own, or checks a history again. Exit status 1 where it does not pass.
///
/// # Errors
///
/// If the stack does not come up, a fault cannot be brought about, or the user ends it; nothing is left behind then.
pub fn run(arguments: &TormentArgs) -> anyhow::Result<Exit> {
    if let Some(file) = &arguments.check {
        let Some(history) = exit::accept(History::read(file)) else { return Ok(Exit::Usage) };
        return conclude(arguments, &Report::of(&history), &history, None);
    }
    let workspace = Workspace::find()?;
    let ground = if arguments.cluster { Ground::Cluster } else { Ground::Stack };
    let Some(faults) = exit::accept(arguments.faults.on(ground)) else { return Ok(Exit::Usage) };
    let folder = Runs::of_checkout()?.directory().join("torments");
    if arguments.cluster {
        Hosts::ensure_allowed()?;
        exit::interruption()?;
        announce(arguments, &faults, &[]);
        let which = arguments.which.clone();
        let torment = Torment { arguments, which, workspace, faults, skipped: Vec::new(), ground };
        let history = torment.cluster_history()?;
        return conclude(arguments, &Report::of(&history), &history, Some(&folder));
    }
    if exit::accept(arguments.which.check(&workspace, !arguments.no_limits)).is_none() {
        return Ok(Exit::Usage);
    }
    let which = arguments.which.clone().with_database_port(database_port(&arguments.which)?);
    exit::interruption()?;
    let running = which.running(&workspace)?;
    ensure!(running.is_none(), "a stack runs already, and a torment wants one of its own; `cargo arena down` ends it");
    let (faults, skipped) = divide(arguments, &which, &faults)?;
    announce(arguments, &faults, &skipped);
    let torment = Torment { arguments, which, workspace, faults, skipped, ground };
    let history = torment.history()?;
    conclude(arguments, &Report::of(&history), &history, Some(&folder))
}

/// Which faults can be tried here, and why the others cannot.
type Divided = (Vec<Spec>, Vec<(String, String)>);

fn divide(arguments: &TormentArgs, which: &Which, wanted: &[Spec]) -> anyhow::Result<Divided> {
    let stack = which.native()?;
    let (mut faults, mut skipped) = (Vec::new(), Vec::new());
    for spec in wanted {
        let refusal = match which.engine {
            Engine::Native if arguments.no_limits && spec.kind.is_of_limits() => Some("--no-limits".to_owned()),
            Engine::Native => Native::refusal(&stack, *spec),
            Engine::Docker => Docker::refusal(*spec),
        };
        match refusal {
            Some(reason) => skipped.push((spec.to_string(), reason)),
            None => faults.push(*spec),
        }
    }
    ensure!(!faults.is_empty(), "none of these faults can be tried here: {}", skipped[0].1);
    Ok((faults, skipped))
}

fn announce(arguments: &TormentArgs, faults: &[Spec], skipped: &[(String, String)]) {
    for (name, reason) in skipped {
        eprintln!("arena: not tried: {name} ({reason})");
    }
    let around = AROUND + 2 * CALM;
    let (lasts, all) = (arguments.lasts.as_secs(), (arguments.lasts + around).as_secs());
    eprintln!(
        "arena: {} faults in turn for {lasts} s; with start and check about {all} s, longer where it has to be built",
        faults.len()
    );
}

struct Torment<'a> {
    arguments: &'a TormentArgs,
    which: Which,
    workspace: Workspace,
    faults: Vec<Spec>,
    skipped: Vec<(String, String)>,
    ground: Ground,
}

impl Torment<'_> {
    fn history(&self) -> anyhow::Result<History> {
        let native = match self.which.engine {
            Engine::Native => {
                let port = self.which.database_port().context("the database's port")?;
                Some(Native::prepare(self.which.native()?, &self.faults, port)?)
            }
            Engine::Docker => None,
        };
        // Declared behind what it stands on, and so ended before it.
        let stack = Guard { torment: self, erase: self.is_new()?.into() };
        let running = stack.up(native.as_ref().and_then(Native::detours))?;
        let people = Database::connect(&running.database)?.people()?;
        ensure!(
            people == 0,
            "people are kept there ({people}), and a torment wants to be alone; `cargo arena down` removes them"
        );
        stack.erase.set(true);
        let _ports = (self.which.engine == Engine::Docker).then(SoonFree::until_dropped);
        let docker = || Docker::new(self.which.docker(&self.workspace), running.clone());
        let containers = native.is_none().then(docker);
        let processes = native.as_ref().map(|native| native as &dyn Body);
        let body = processes.or(containers.as_ref().map(|docker| docker as &dyn Body)).context("no engine")?;
        self.record(body, &running, self.which.engine.name())
    }

    fn cluster_history(&self) -> anyhow::Result<History> {
        let hosts = Hosts::at(&Hosts::default_data());
        let running = hosts.up(&self.workspace, Install::unless(self.arguments.no_install))?;
        let _end = EndOfHosts(&hosts);
        self.record(&Cluster::new(hosts.clone(), &self.workspace), &running, CLUSTER)
    }

    fn record(&self, body: &dyn Body, running: &Running, engine: &str) -> anyhow::Result<History> {
        let seed = self.arguments.seed.unwrap_or_else(|| Random::unseeded().next_u64() >> 32);
        let mut header = Header::new(history::new_id("torment"));
        header.seed = seed;
        header.seconds = self.arguments.lasts.as_secs_f64();
        header.clients = self.arguments.clients;
        header.engine = engine.to_owned();
        header.commit = self.workspace.commit();
        header.skipped.clone_from(&self.skipped);

        eprintln!("arena: {} against {}, seed {seed}", header.id, running.url);
        let clients = Clients::start(address(running)?, self.arguments.clients, seed)?;
        let faults = self.bring_about(body, &clients, seed);
        let requests = clients.end();
        let faults = faults?;
        eprintln!("arena: {} faults among {} requests; reading who is stored", faults.len(), requests.len());
        let rows = rows(running)?;
        Ok(History { header, requests, faults, rows })
    }

    /// Whether nobody can have been kept where the stack is going to be.
    fn is_new(&self) -> anyhow::Result<bool> {
        Ok(self.which.engine == Engine::Native && !self.which.native()?.data().join("db").is_dir())
    }

    fn bring_about(&self, body: &dyn Body, clients: &Clients, seed: u64) -> anyhow::Result<Vec<Fault>> {
        sleep(CALM)?;
        let deadline = Instant::now() + self.arguments.lasts;
        let mut faults = Vec::new();
        for turn in Schedule::new(&self.faults, self.ground, seed) {
            if Instant::now() + turn.pause + turn.lasts >= deadline {
                break;
            }
            sleep(turn.pause)?;
            let fault = one(body, clients, turn, self.ground)?;
            let served = || clients.are_served_since(fault.end, QUIET);
            process::wait_until(RECOVERY_PATIENCE, || served() || exit::is_interrupted());
            let whole = process::wait_until(WHOLE_PATIENCE, || body.is_whole() || exit::is_interrupted());
            ensure!(whole, "{} is not over after {} s", fault.name, WHOLE_PATIENCE.as_secs());
            faults.push(fault);
        }
        sleep(CALM)?;
        Ok(faults)
    }
}

/// Brings one fault about, waits for its end, and for whoever was to come back.
fn one(body: &dyn Body, clients: &Clients, turn: Turn, ground: Ground) -> anyhow::Result<Fault> {
    let lasts = turn.spec.lasts(ground);
    let begin = clients.now();
    let ended = body.begin(turn.spec).with_context(|| turn.spec.to_string())?;
    let undo = Undo { body, spec: turn.spec, lasts };
    let slept = sleep(turn.lasts);
    drop(undo);
    slept?;
    let end = if lasts { clients.now() } else { begin };
    let mut back = None;
    if !ended.is_empty() {
        process::wait_until(RECOVERY_PATIENCE, || exit::is_interrupted() || body.is_back(turn.spec, &ended));
        exit::fail_if_interrupted()?;
        back = body.is_back(turn.spec, &ended).then(|| clients.now());
    }
    let seconds = |moment: u64| (moment - begin) as f64 / 1e6;
    let outcome = match back {
        Some(back) => format!("back after {:.2} s", seconds(back)),
        None if ended.is_empty() => format!("for {:.2} s", seconds(end)),
        None => "not back".to_owned(),
    };
    eprintln!("arena: {:>6.1} s  {:<16}  {outcome}", begin as f64 / 1e6, turn.spec.to_string());
    Ok(Fault { name: turn.spec.to_string(), begin, end, back })
}

/// Undoes a fault, also where the user ends it all in its midst.
struct Undo<'a> {
    body: &'a dyn Body,
    spec: Spec,
    lasts: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.lasts
            && let Err(error) = self.body.end(self.spec)
        {
            eprintln!("arena: undoing {}: {error:#}", self.spec);
        }
    }
}

fn sleep(time: Duration) -> anyhow::Result<()> {
    process::wait_until(time, exit::is_interrupted);
    exit::fail_if_interrupted()
}

/// Ends the stack however the torment ends.
struct Guard<'a, 'b> {
    torment: &'a Torment<'b>,
    /// Whether its people go with it.
    erase: Cell<bool>,
}

impl Guard<'_, '_> {
    fn up(&self, detours: Option<PathBuf>) -> anyhow::Result<Running> {
        let arguments = self.torment.arguments;
        let install = Install::unless(arguments.no_install);
        let start = Start { limits: !arguments.no_limits, restart: true, install, detours };
        self.torment.which.up(&self.torment.workspace, start)
    }
}

impl Drop for Guard<'_, '_> {
    fn drop(&mut self) {
        if let Err(error) = self.torment.which.down(&self.torment.workspace, self.erase.get()) {
            eprintln!("arena: ending the stack: {error:#}");
        }
    }
}

/// Ends the hosts however the torment ends.
struct EndOfHosts<'a>(&'a Hosts);

impl Drop for EndOfHosts<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.down() {
            eprintln!("arena: ending the cluster: {error:#}");
        }
    }
}

/// A port for the database that the links can be named after before it is there.
fn database_port(which: &Which) -> anyhow::Result<u16> {
    match which.database_port() {
        Some(port) => Ok(port),
        None => Ok(free_port()?),
    }
}

fn address(running: &Running) -> anyhow::Result<SocketAddr> {
    running.url.parse::<BaseUrl>().map_err(anyhow::Error::msg)?.resolve()
}

/// Whether a server answers a path with success.
fn answers(url: &str, path: &str) -> bool {
    ureq::get(format!("{url}{path}")).call().is_ok()
}

/// How a service is told to end.
fn end_signal(service: &str) -> Signal {
    match service {
        "nginx" => Signal::SIGQUIT,
        "db" => Signal::SIGINT,
        _ => Signal::SIGTERM,
    }
}

/// Who is stored once the database answers.
fn rows(running: &Running) -> anyhow::Result<Vec<Person>> {
    let deadline = Instant::now() + RECOVERY_PATIENCE;
    loop {
        match Database::connect(&running.database).and_then(|mut database| database.rows()) {
            Ok(rows) => return Ok(rows),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => sleep(Duration::from_millis(200))?,
        }
    }
}

/// Prints what came of it, and keeps it where it is new.
fn conclude(
    arguments: &TormentArgs,
    report: &Report,
    history: &History,
    folder: Option<&Path>,
) -> anyhow::Result<Exit> {
    match arguments.json {
        true => terminal::print_json(report)?,
        false => terminal::print(&report::torment_text(report))?,
    }
    if let Some(folder) = folder {
        let file = folder.join(format!("{}.jsonl", report.header.id));
        history.write(&file)?;
        let (document, page) = (file.with_extension("json"), file.with_extension("html"));
        std::fs::write(&document, serde_json::to_vec_pretty(report)?)
            .with_context(|| document.display().to_string())?;
        report::write_torment(report, history, &page)?;
        for (what, path) in [("page", page), ("document", document), ("history", file)] {
            eprintln!("arena: {what:<9} {}", path.display());
        }
    }
    Ok(if report.passed { Exit::Good } else { Exit::Failed })
}

/// Seconds, as `120s`, `2m` or a bare number.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(seconds), _) => (seconds, 1.0),
        (_, Some(minutes)) => (minutes, 60.0),
        _ => (text, 1.0),
    };
    match number.parse::<f64>() {
        Ok(number) if (1.0..=86_400.0).contains(&(number * unit)) => Ok(Duration::from_secs_f64(number * unit)),
        _ => Err("want a time between 1s and 1440m".into()),
    }
}
