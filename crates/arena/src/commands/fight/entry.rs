//! A bout of an entry of the contest: its Compose file as it is, in Docker, seen through its API and its containers alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use ureq::Agent;

use super::{FightArgs, files};
use crate::commands::verdict;
use crate::exit;
use crate::load::gatling;
use crate::load::payloads;
use crate::load::vocabulary::Vocabulary;
use crate::observe::{Observer, Target};
use crate::record::gatling_log::results::Results;
use crate::record::history;
use crate::record::run::{Driver, People, Run, SCHEMA, Settings};
use crate::stack::cgroup_limits::Hierarchy;
use crate::stack::entry::{Before, Container, Entry};
use crate::stack::machine;
use crate::stack::ports::SoonFree;
use crate::stack::prerequisites::{self, Install, Tool};
use crate::workspace::Workspace;

/// Time between two looks at an entry that starts.
const LOOK: Duration = Duration::from_millis(250);

/// A count that stays the same for this long rests: some entries store what they have long since answered.
const REST: Duration = Duration::from_secs(2);

/// How long a count may take to be answered and to come to rest.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fights a bout with an entry, and removes what came with it however the bout ends.
///
/// # Errors
///
/// If there was no bout to judge: the entry does not build, start or answer. The message ends with what its services
/// wrote last.
pub fn fight(arguments: &FightArgs, workspace: &Workspace, entry: &Entry) -> anyhow::Result<Run> {
    let interrupted = exit::interruption()?;
    prerequisites::ensure(&[Tool::Jdk, Tool::Maven], Install::unless(arguments.no_install))?;
    let port = arguments.which.port();
    let taken = std::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).is_ok();
    ensure!(!taken, "something else listens on port {port}, which an entry publishes; end it");
    eprintln!("arena: building the load test");
    let simulation = gatling::prepare(workspace, arguments.simulation.as_deref(), &interrupted)?;
    let files = files(arguments, workspace)?;
    let id = history::new_id("fight");
    let results = workspace.path("runs").join(&id);
    std::fs::create_dir_all(&results).with_context(|| results.display().to_string())?;

    exit::fail_if_interrupted()?;
    eprintln!("arena: starting {} (docker)", entry.name);
    let stage = Stage { entry, arguments, before: entry.look_before()?, url: format!("http://127.0.0.1:{port}") };
    entry.up(&results.join("compose.log"))?;
    stage.wait()?;
    let _ports = SoonFree::until_dropped();
    let people_before = stage.counts().then(|| stage.count()).transpose()?.unwrap_or_default();
    let containers = entry.containers()?;
    let settings = gatling::Settings {
        base_url: stage.url.clone(),
        vocabulary: arguments.vocabulary().name().to_owned(),
        payloads: files.payloads.clone(),
        search_terms: files.terms,
        rate_factor: arguments.rate_factor,
        duration_factor: arguments.duration_factor(),
        results,
        html_report: true,
    };
    let load = |interrupted: &Arc<AtomicBool>| gatling::run(&simulation, &settings, interrupted);
    stage.fight(id, &containers, people_before, &files.payloads, || load(&interrupted))
}

/// An entry that runs, and what was there before it.
struct Stage<'a> {
    entry: &'a Entry,
    arguments: &'a FightArgs,
    before: Before,
    url: String,
}

impl Stage<'_> {
    fn fight(
        &self,
        id: String,
        containers: &[Container],
        people_before: u64,
        payloads: &std::path::Path,
        load: impl FnOnce() -> anyhow::Result<Results>,
    ) -> anyhow::Result<Run> {
        let running = containers.iter().filter(|container| container.running);
        let observe = running.map(|container| (container.name.clone(), Target::Container(container.id.clone())));
        let observer = Observer::start(observe.collect())?;
        let results = load();
        let observed = observer.stop();
        let results = results?;
        let (services, service_series) = observed.during(results.started, results.seconds);
        let mut faults = self.what_became_of(containers)?;
        let sent = |kind: &str| results.requests.iter().find(|r| r.kind == kind).map_or(0, |requests| requests.count);
        let counted = self.counts().then(|| self.count_at_rest());
        let people = match counted {
            Some(Ok(stored)) => Some(People {
                stored: stored.saturating_sub(people_before),
                ceiling: payloads::ceiling(payloads, sent("create"))?,
                acknowledged: Some(sent("fetch")),
            }),
            Some(Err(error)) => {
                faults.push(format!("{error:#}"));
                None
            }
            None => None,
        };
        let limits: Vec<_> = containers.iter().map(|container| container.limit.clone()).collect();
        let verdict = verdict::of_entry(&results.requests, &results.errors, people.as_ref(), faults);
        let mut series = results.series;
        series.services = service_series;
        let mut versions: BTreeMap<String, String> =
            containers.iter().map(|container| (container.name.clone(), container.image.clone())).collect();
        versions.insert("gatling".into(), results.version);
        Ok(Run {
            schema: SCHEMA,
            id,
            driver: Driver::Gatling,
            label: Some(self.arguments.label.clone().unwrap_or_else(|| self.entry.name.clone())),
            started: results.started.to_string(),
            seconds: results.seconds,
            commit: None,
            settings: self.settings(&results.simulation),
            budget: limits,
            versions,
            machine: machine::describe(Hierarchy::detect().version()),
            verdict,
            people,
            requests: results.requests,
            services,
            durability: None,
            generator: None,
            steps: Vec::new(),
            series,
        })
    }

    /// Waits until the API answers. Some front doors answer long before what is behind them, with a 502 or the like; if
    /// that is still so in the end, the bout shows what becomes of it.
    fn wait(&self) -> anyhow::Result<()> {
        let agent = agent(Duration::from_secs(5));
        let path = if self.counts() { self.arguments.vocabulary().count_path() } else { "/" };
        let wait = Duration::from_secs(self.arguments.wait);
        let deadline = Instant::now() + wait;
        let mut refused = None;
        while Instant::now() < deadline {
            exit::fail_if_interrupted()?;
            match agent.get(format!("{}{path}", self.url)).call() {
                Ok(answer) if answer.status().as_u16() < 500 => return Ok(()),
                Ok(answer) => refused = Some(answer.status().as_u16()),
                Err(_) => {}
            }
            let containers = self.entry.containers()?;
            if !containers.iter().any(|container| container.running) {
                bail!("every service ended before {} answered{}", self.url, self.entry.ended_words());
            }
            std::thread::sleep(LOOK);
        }
        if let Some(status) = refused {
            eprintln!("arena: {}{path} still answers {status}; the bout begins all the same", self.url);
            return Ok(());
        }
        let words: String = self.entry.containers()?.iter().map(|container| self.entry.last_words(container)).collect();
        bail!("{} answered no HTTP within {} s (--wait){words}", self.url, wait.as_secs())
    }

    fn counts(&self) -> bool {
        !self.arguments.no_count
    }

    fn count(&self) -> anyhow::Result<u64> {
        let path = self.arguments.vocabulary().count_path();
        let asked = || format!("cannot count people: GET {path}");
        let mut answer = agent(PATIENCE).get(format!("{}{path}", self.url)).call().with_context(asked)?;
        let (status, text) = (answer.status().as_u16(), answer.body_mut().read_to_string().with_context(asked)?);
        ensure!(status == 200, "cannot count people: GET {path} answers with status {status}");
        let short: String = text.chars().take(40).collect();
        text.trim().parse().with_context(|| format!("cannot count people: GET {path} answers {short:?}, no number"))
    }

    fn count_at_rest(&self) -> anyhow::Result<u64> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = self.count()?;
        let mut since = Instant::now();
        while since.elapsed() < REST && Instant::now() < deadline {
            std::thread::sleep(LOOK);
            let count = self.count()?;
            if count != last {
                (last, since) = (count, Instant::now());
            }
        }
        Ok(last)
    }

    /// Which services did not survive the load, each with its last words.
    fn what_became_of(&self, before: &[Container]) -> anyhow::Result<Vec<String>> {
        let after = self.entry.containers()?;
        let fate = |old: &Container| {
            let name = &old.name;
            let Some(new) = after.iter().find(|new| new.id == old.id) else {
                return Some(format!("{name} was removed in the midst of the bout"));
            };
            let restarts = new.restarts.saturating_sub(old.restarts);
            let what = match (new.out_of_memory && !old.out_of_memory, new.running) {
                (true, _) => format!("{name} was killed: its memory did not suffice"),
                (false, false) if old.running => {
                    format!("{name} ended in the midst of the bout, with status {}", new.exit_code)
                }
                _ if restarts > 0 => {
                    format!("{name} ended in the midst of the bout and was started anew, {restarts} times")
                }
                _ => return None,
            };
            Some(what + &self.entry.last_words(new))
        };
        Ok(before.iter().filter_map(fate).collect())
    }

    fn settings(&self, simulation: &str) -> Settings {
        let arguments = self.arguments;
        let mut more = BTreeMap::from([("simulation".to_owned(), simulation.to_owned())]);
        more.insert("entry".into(), self.entry.name.clone());
        more.extend([arguments.feed_setting()]);
        Settings {
            engine: "docker".to_owned(),
            vocabulary: arguments.vocabulary().name().to_owned(),
            profile: "event".to_owned(),
            target: self.url.clone(),
            rate_factor: arguments.rate_factor,
            duration_factor: arguments.duration_factor(),
            more,
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.entry.down(&self.before, self.arguments.keep_images) {
            eprintln!("arena: ending {}: {error:#}", self.entry.name);
        }
    }
}

fn agent(patience: Duration) -> Agent {
    Agent::config_builder().http_status_as_error(false).timeout_global(Some(patience)).build().into()
}
