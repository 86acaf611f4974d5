//! A bout of an entry of the contest: its Compose file as it is, in Docker, seen through its API and its containers alone.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::Context;

use super::{FightArgs, files};
use crate::commands::census::Census;
use crate::commands::contestant::{self, Contestant};
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
use crate::observe::Observer;
use crate::record::history;
use crate::record::run::{Driver, Limit, People, Run, SCHEMA, Settings};
use crate::stack::cgroup_limits::Hierarchy;
use crate::stack::entry::Entry;
use crate::stack::machine;
use crate::stack::ports::SoonFree;
use crate::stack::prerequisites::{self, Install, Tool};
use crate::workspace::Workspace;

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
    let contestant = Contestant::start(entry, port, arguments.keep_images, &results.join("compose.log"))?;
    let path = if arguments.no_count { "/" } else { &server.count_path };
    let is_ready = contestant.wait(&server.url, path, Duration::from_secs(arguments.wait))?;
    let _ports = SoonFree::until_dropped();
    // Any other simulation may bring a URL of its own.
    let past_proxies = contestant.way_past_proxies(port, gatling::is_ours(arguments.simulation.as_deref()))?;
    let stage = Stage { entry, arguments, contestant, server, files, past_proxies };
    let settings = gatling::Settings {
        base_url: past_proxies.map_or(url, |address| format!("http://{address}")),
        vocabulary: arguments.vocabulary().name().to_owned(),
        payloads: stage.files.payloads.clone(),
        search_terms: stage.files.terms.clone(),
        rate_factor: arguments.rate_factor,
        duration_factor: arguments.duration_factor(),
        results,
        html_report: !arguments.give_up,
        gives_up: arguments.give_up,
    };
    // Whoever cannot be counted has nobody yet that is known of.
    let counts = is_ready && !arguments.no_count;
    let people_before = if counts { stage.contestant.count(&stage.server)? } else { 0 };
    stage.fight(id, people_before, || gatling::run(&simulation, &settings, &interrupted))
}

/// An entry that runs, and what is sent to it.
struct Stage<'a> {
    entry: &'a Entry,
    arguments: &'a FightArgs,
    contestant: Contestant<'a>,
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
        let containers = self.contestant.containers()?;
        let observer = Observer::start(contestant::targets(&containers))?;
        let fought = load();
        let observed = observer.stop();
        let Fought { results, cpu } = fought?;
        let (services, service_series) = observed.during(results.started, results.seconds);

        let mut faults = self.contestant.what_became_of(&containers)?;
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
