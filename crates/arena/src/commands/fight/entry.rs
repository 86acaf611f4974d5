//! A bout of an entry of the contest: its Compose file as it is, in Docker, seen through its API and its containers alone.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use ureq::Agent;

use super::{FightArgs, files};
use crate::commands::census::Census;
use crate::commands::verdict;
use crate::exit;
use crate::load::driver::entry::Entry as Server;
use crate::load::driver::feed::Feed;
use crate::load::driver::ledger::Fate;
use crate::load::driver::probe;
use crate::load::driver::roll::Roll;
use crate::load::driver::survey::Survey;
use crate::load::gatling::{self, Fought};
use crate::load::payloads::{self, Files};
use crate::observe::{Observer, Target};
use crate::record::history;
use crate::record::run::{Driver, Limit, People, Run, SCHEMA, Settings};
use crate::stack::cgroup_limits::Hierarchy;
use crate::stack::docker;
use crate::stack::entry::{Before, Container, Entry};
use crate::stack::machine;
use crate::stack::ports::{self, SoonFree};
use crate::stack::prerequisites::{self, Install, Tool};
use crate::workspace::Workspace;

/// Time between two looks at an entry that starts.
const LOOK: Duration = Duration::from_millis(250);

/// How long an entry may take to answer a look at whether it is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fights a bout with an entry, and removes what came with it however the bout ends.
///
/// # Errors
///
/// If there was no bout to judge: the entry does not build, start or answer. The message ends with what its services
/// wrote last.
pub fn fight(arguments: &FightArgs, workspace: &Workspace, entry: &Entry) -> anyhow::Result<Run> {
    let interrupted = exit::interruption()?;
    docker::ensure_limits()?;
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
    let url = format!("http://127.0.0.1:{port}");
    let server = Server::usual(&url.parse().map_err(anyhow::Error::msg)?, arguments.vocabulary())?;
    let mut stage = Stage { entry, arguments, before: entry.look_before()?, server, files, past_proxies: None };
    entry.up(&results.join("compose.log"))?;
    let is_ready = stage.wait()?;
    let _ports = SoonFree::until_dropped();
    stage.past_proxies = stage.way_past_proxies()?;
    let settings = gatling::Settings {
        base_url: stage.past_proxies.map_or(url, |address| format!("http://{address}")),
        vocabulary: arguments.vocabulary().name().to_owned(),
        payloads: stage.files.payloads.clone(),
        search_terms: stage.files.terms.clone(),
        rate_factor: arguments.rate_factor,
        duration_factor: arguments.duration_factor(),
        results,
        html_report: true,
    };
    // Whoever cannot be counted has nobody yet that is known of.
    let counts = is_ready && !arguments.no_count;
    let people_before = if counts { stage.count()? } else { 0 };
    stage.fight(id, people_before, || gatling::run(&simulation, &settings, &interrupted))
}

/// An entry that runs, and what was there before it.
struct Stage<'a> {
    entry: &'a Entry,
    arguments: &'a FightArgs,
    before: Before,
    server: Server,
    files: Files,
    past_proxies: Option<SocketAddrV4>,
}

impl Stage<'_> {
    fn fight(
        &self,
        id: String,
        people_before: u64,
        load: impl FnOnce() -> anyhow::Result<Fought>,
    ) -> anyhow::Result<Run> {
        let counts = !self.arguments.no_count;
        let containers = self.entry.containers()?;
        let running = containers.iter().filter(|container| container.running);
        let observe = running.map(|container| (container.name.clone(), Target::Container(container.id.clone())));
        let observer = Observer::start(observe.collect())?;
        let fought = load();
        let observed = observer.stop();
        let Fought { results, cpu } = fought?;
        let (services, service_series) = observed.during(results.started, results.seconds);

        let mut faults = self.what_became_of(&containers)?;
        let sent = |kind: &str| results.requests.iter().find(|r| r.kind == kind).map_or(0, |requests| requests.count);
        let counted = counts
            .then(|| Census::take(|| probe::count(&self.server)))
            .and_then(|counted| counted.inspect_err(|error| faults.push(format!("{error:#}"))).ok());
        let ceiling = payloads::ceiling(&self.files.payloads, sent("create"))?;
        let counted = counted.map(|census| {
            let stored = census.last.saturating_sub(people_before);
            let acknowledged = gatling::fetches_each(&results.simulation).then(|| sent("fetch"));
            (People { stored, ceiling, acknowledged }, census)
        });
        let survey = self.survey(counted.map(|(people, _)| people), sent("create"))?;
        let FightArgs { rate_factor, .. } = *self.arguments;
        let punctuality = gatling::punctuality(&results, rate_factor, self.arguments.duration_factor(), cpu);
        let judged = verdict::of_entry(&verdict::EntryBout {
            requests: &results.requests,
            errors: &results.errors,
            counted,
            is_counted: counts,
            survey: survey.as_ref(),
            fates: faults,
            strain: punctuality.as_ref().map(|punctuality| punctuality.strain.clone()),
        });
        let limits: Vec<Limit> = containers.iter().map(|container| container.limit.clone()).collect();
        let judged = judged.held_to(self.arguments.budget.fault(&limits));
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
            machine: machine::describe(Hierarchy::mounted()),
            judged,
            requests: results.requests,
            services,
            durability: None,
            generator: punctuality.map(|punctuality| punctuality.generator),
            steps: Vec::new(),
            series,
        })
    }

    /// Has the API find people, where it is known who is stored: where all who should be were answered with 201.
    fn survey(&self, people: Option<People>, creates: u64) -> anyhow::Result<Option<Survey>> {
        if people.is_none_or(|people| people.acknowledged != Some(people.ceiling)) {
            return Ok(None);
        }
        let feed = Feed::of_payloads(&self.files.payloads, self.arguments.vocabulary())?;
        let fates = (0..creates).map(|_| Fate::Acknowledged(None));
        Ok(Some(Survey::take(&self.server, &Roll::call(&feed, fates, false))))
    }

    /// Waits until the API answers, and says whether it does so without an error of the server's. Some front doors answer
    /// long before what is behind them, with a 502 or the like; if that is still so in the end, the bout shows what becomes
    /// of it.
    fn wait(&self) -> anyhow::Result<bool> {
        let agent: Agent =
            Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into();
        let path = if self.arguments.no_count { "/" } else { &self.server.count_path };
        let url = &self.server.url;
        let wait = Duration::from_secs(self.arguments.wait);
        let deadline = Instant::now() + wait;
        let mut refused = None;
        while Instant::now() < deadline {
            exit::fail_if_interrupted()?;
            match agent.get(format!("{url}{path}")).call() {
                Ok(answer) if answer.status().as_u16() < 500 => return Ok(true),
                Ok(answer) => refused = Some(answer.status().as_u16()),
                Err(_) => {}
            }
            let containers = self.entry.containers()?;
            if !containers.iter().any(|container| container.running) {
                bail!("every service ended before {url} answered{}", self.entry.ended_words());
            }
            std::thread::sleep(LOOK);
        }
        if let Some(status) = refused {
            eprintln!("arena: {url}{path} still answers {status}; the bout begins all the same");
            return Ok(false);
        }
        bail!("{url} answered no HTTP within {} s (--wait){}", wait.as_secs(), self.last_words())
    }

    fn count(&self) -> anyhow::Result<u64> {
        probe::count(&self.server).map_err(|error| anyhow!("{error:#}{}", self.last_words()))
    }

    /// What every service wrote last.
    fn last_words(&self) -> String {
        let containers = self.entry.containers().unwrap_or_default();
        containers.iter().map(|container| self.entry.last_words(container)).collect()
    }

    /// Where the load goes instead of through Docker's proxies, as in the contest, where those may not bear it.
    fn way_past_proxies(&self) -> anyhow::Result<Option<SocketAddrV4>> {
        let port = self.arguments.which.port();
        if ports::widen_proxies(port) {
            return Ok(None);
        }
        let gateways = self.entry.containers()?.into_iter().flat_map(|container| container.gateways).collect();
        // Any other simulation may bring a URL of its own.
        let chooses = gatling::is_ours(self.arguments.simulation.as_deref());
        let past = chooses.then(|| ports::past_proxies(&gateways, port)).flatten();
        match past {
            Some(address) => eprintln!(
                "arena: Docker's proxy may not open as many files as a bout can take; the load goes past it, to {address}"
            ),
            None => eprintln!("arena: Docker's proxy may run out of open files in mid-bout, and refuse everybody then"),
        }
        Ok(past)
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
        more.extend(self.past_proxies.map(|_| ("way".to_owned(), "past Docker's proxy".to_owned())));
        Settings {
            engine: "docker".to_owned(),
            vocabulary: arguments.vocabulary().name().to_owned(),
            profile: "event".to_owned(),
            target: self.server.url.clone(),
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
