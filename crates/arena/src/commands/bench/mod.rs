//! `arena bench`: an open-loop driver, light enough to share two cores with the stack it loads.
//!
//! Users arrive when the schedule says, whatever became of those before them, and every time is measured from the moment
//! that the schedule intended as well as from the moment of sending. The driver checks what it is answered, counts at
//! the end what the server holds, and judges itself before it judges the server.

mod args;
mod bench_table;
pub(super) mod rates;

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use signal_hook::{consts, flag};

pub use args::Args;
pub(super) use args::mix;

use crate::commands::census::Census;
use crate::commands::contestant::{self, Contestant};
use crate::commands::database::Database;
use crate::commands::flushes;
use crate::commands::verdict::{self, Drive};
use crate::exit::{self, Exit};
use crate::load::driver::connection::Dialer;
use crate::load::driver::document;
use crate::load::driver::drive::{Driven, Driving, drive};
use crate::load::driver::entry::Entry;
use crate::load::driver::feed::Feed;
use crate::load::driver::plan::Plan;
use crate::load::driver::probe;
use crate::load::driver::roll::{Roll, Tallied};
use crate::load::driver::rules::Rules;
use crate::load::driver::survey::Survey;
use crate::load::driver::worker::Worker;
use crate::load::payloads::{Ceiling, Files};
use crate::observe::{self, Observer};
use crate::record::history;
use crate::record::run::{Durability, Limit, Outcome, People, Run, Settings};
use crate::record::threshold;
use crate::stack::entry::Entry as Entrant;
use crate::stack::machine;
use crate::stack::ports::SoonFree;
use crate::stack::{Engine, Running};
use crate::terminal;
use crate::workspace::Workspace;

/// The driver's nice value: well before the usual 0, behind what the system needs to live.
const PRIORITY: i32 = -15;

/// Drives the load. [`Exit::Good`] if nothing failed and every 201 is stored.
///
/// # Errors
///
/// If there was no run to judge: no server, no payloads, no checkout.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let workspace = Workspace::find()?;
    let Some(plan) = exit::accept(args.load.plan()) else { return Ok(Exit::Usage) };
    let files = args.load.files(&workspace, args.entry.vocabulary(), &plan)?;
    let Some((mut feed, log)) = exit::accept(open(args, &files)) else { return Ok(Exit::Usage) };
    let Some(entrant) = exit::accept(entrant(args)) else { return Ok(Exit::Usage) };
    let contestant = entrant.as_ref().map(|entrant| start(args, entrant)).transpose()?;
    let stage = Stage::set(args, &workspace, contestant.as_ref(), &mut feed)?;
    let _ports = stage.is_docker().then(SoonFree::until_dropped);
    let stop = interruption()?;
    allow_many_sockets();
    go_first();

    let rules = Rules::new(&stage.entry, &feed, args.entry.strictness(stage.strangers == Some(0)));
    let mut worker = Worker::new(&rules, args.load.behaviour(), Dialer::new(stage.entry.address))?;
    let mut database = stage.database()?;
    let before_load = database.as_mut().map(flushes::Before::look).transpose()?;
    let observer = Observer::start(stage.targets(args))?;
    let observed_limits = observer.limits().to_vec();
    let most_lag = Duration::from_millis(args.load.max_lag);
    let containers = contestant.as_ref().map(Contestant::containers).transpose()?;
    let driving = Driving { intervals: log.is_some(), most_lag, stop: &stop, gives_up: args.give_up };
    let driven = drive(&plan, &mut worker, &driving);
    let (services, service_series) = observer.stop().whole();
    let driven = driven?;
    let mut fates = match contestant.as_ref().zip(containers) {
        Some((contestant, before)) => contestant.what_became_of(&before)?,
        None => Vec::new(),
    };
    let flushed = database.as_mut().zip(before_load).map(|(database, before)| before.compare(database));
    let flushed = flushed.and_then(|flushed| unless_failed(flushed, &mut fates));

    let checks = !args.entry.no_checks;
    let roll = Roll::call(&feed, worker.ledger().fates(), stage.before == Some(0));
    let tallied = checks.then(|| roll.tally());
    let counted = stage.count(&driven, feed.ceiling(), tallied, worker.ledger().creates());
    let counted = unless_failed(counted, &mut fates).flatten();
    let survey = checks.then(|| Survey::take(&stage.entry, &roll));
    let durability =
        database.as_mut().zip(flushed).map(|(database, flushed)| stage.durability(args, database, flushed));
    let durability = durability.and_then(|durability| unless_failed(durability, &mut fates));
    let mut run = driven.document()?;
    run.id = history::new_id("bench");
    run.label = args.label.clone();
    run.commit = workspace.commit();
    run.settings = stage.settings(args, &plan);
    run.budget = stage.budget(observed_limits);
    run.versions = stage.stack.as_ref().map(machine::versions).unwrap_or_default();
    run.machine = machine::describe(stage.stack.as_ref().map_or("none", |stack| stack.cgroup));
    run.services = services;
    run.series.services = observe::in_step(service_series, run.series.in_flight.len());
    run.judged = verdict::of_driven(&Drive {
        driven: &driven,
        is_past_knee: plan.is_past_knee(),
        requests: &run.requests,
        tallied,
        strangers: stage.strangers,
        counted,
        survey: survey.as_ref(),
        durability: durability.as_ref(),
        fates,
        volatile: args.volatile,
        is_limited: stage.stack.is_some() || are_limited(&run.budget),
    });
    run.judged = run.judged.held_to(stage.budget_fault(args, &run.budget));
    run.durability = durability;
    publish(args, &run, &driven, log)
}

/// The entry that is to be loaded, if one is.
fn entrant(args: &Args) -> anyhow::Result<Option<Entrant>> {
    let Some(folder) = &args.entry.folder else { return Ok(None) };
    let entrant = Entrant::at(folder)?.laid_over(args.stack.overlays())?;
    entrant.check()?;
    Ok(Some(entrant))
}

/// Starts an entry and waits until it answers.
fn start<'a>(args: &Args, entrant: &'a Entrant) -> anyhow::Result<Contestant<'a>> {
    exit::interruption()?;
    let log = tempfile::NamedTempFile::new()?;
    let contestant = Contestant::start(entrant, args.stack.port(), args.entry.keep_images, log.path())?;
    let entry = args.entry.entry(None, args.stack.port())?;
    let path = if args.entry.no_count { "/" } else { &entry.count_path };
    contestant.wait(&entry.url, path, Duration::from_secs(args.entry.wait))?;
    contestant.way_past_proxies(args.stack.port(), false)?;
    Ok(contestant)
}

/// What was looked at after the load, unless that failed: then the run is kept all the same, and its verdict says why.
fn unless_failed<T>(outcome: anyhow::Result<T>, fates: &mut Vec<String>) -> Option<T> {
    outcome.inspect_err(|error| fates.push(format!("{error:#}"))).ok()
}

/// Opens all that the command line names, so that a wrong name is told before the stack is emptied and loaded.
fn open(args: &Args, files: &Files) -> anyhow::Result<(Feed, Option<File>)> {
    let feed = Feed::load(&files.payloads, &files.terms, args.entry.vocabulary())?;
    drop(Observer::start(args.observe.clone())?);
    let log = args.hdr_log.as_deref().map(document::open_log).transpose()?;
    Ok((feed, log))
}

/// Keeps the run and prints it.
fn publish(args: &Args, run: &Run, driven: &Driven, log: Option<File>) -> anyhow::Result<Exit> {
    let document = history::save(run)?;
    let missed = threshold::missed(run, &args.fail_on, &args.require);
    match args.json {
        true => terminal::print_json(run)?,
        false => terminal::print(&format!("{}\n", bench_table::table(run, driven, &missed)))?,
    }
    if let Some(log) = log {
        let intervals = driven.monitor.intervals.as_deref().unwrap_or_default();
        document::write_log(log, driven.started, intervals).context("cannot write the HDR log")?;
    }
    eprintln!("arena: document  {}", document.display());
    Ok(match verdict::exit(run.verdict().outcome) {
        Exit::Invalid => Exit::Invalid,
        _ if driven.stopped => Exit::Failed,
        _ if !missed.is_empty() => Exit::ThresholdMissed,
        exit => exit,
    })
}

/// The server under load, before the load.
struct Stage {
    entry: Entry,
    /// Absent where the server is not a stack of this checkout.
    stack: Option<Running>,
    /// What to observe of an entry.
    entrant: Vec<(String, observe::Target)>,
    /// People before the run, where they are counted.
    before: Option<u64>,
    /// Those of them whose nicknames the feed does not know.
    strangers: Option<u64>,
}

impl Stage {
    /// Finds the server, sees to it that those are there who are wanted, counts its people, and tells the feed of them.
    fn set(
        args: &Args,
        workspace: &Workspace,
        contestant: Option<&Contestant>,
        feed: &mut Feed,
    ) -> anyhow::Result<Self> {
        let is_own = args.entry.url.is_none() && contestant.is_none();
        let stack = if is_own { args.stack.running(workspace)? } else { None };
        let entry = args.entry.entry(stack.as_ref().map(|stack| stack.url.as_str()), args.stack.port())?;
        let containers = contestant.map(Contestant::containers).transpose()?.unwrap_or_default();
        if args.entry.empty {
            let stack = stack.as_ref().context("--empty is for the stack that `arena up` started, and none runs")?;
            Database::connect(&stack.database)?.remove_everybody()?;
        }
        if let Some(people) = args.entry.over {
            let stack = stack.as_ref().context("--over is for the stack that `arena up` started, and none runs")?;
            Database::connect(&stack.database)?.fill(people)?;
        }
        let hint = "is it up? `cargo arena up` starts the stack, --url names another server";
        let before = (!args.entry.no_count).then(|| probe::count(&entry)).transpose().context(hint)?;
        let strangers = before.map(|before| introduce(before, stack.as_ref(), feed));
        Ok(Self { entry, stack, entrant: contestant::targets(&containers), before, strangers })
    }

    fn is_docker(&self) -> bool {
        !self.entrant.is_empty() || self.stack.as_ref().is_some_and(|stack| stack.engine == Engine::Docker)
    }

    fn targets(&self, args: &Args) -> Vec<(String, observe::Target)> {
        let own = self.stack.iter().flat_map(|stack| stack.observe.clone());
        own.chain(self.entrant.clone()).chain(args.observe.clone()).collect()
    }

    /// The database of the stack that the arena started.
    fn database(&self) -> anyhow::Result<Option<Database>> {
        self.stack.as_ref().map(|stack| Database::connect(&stack.database)).transpose()
    }

    fn durability(&self, args: &Args, database: &mut Database, flushed: flushes::During) -> anyhow::Result<Durability> {
        let folder = self.stack.as_ref().and_then(|stack| stack.database_folder.as_deref());
        let durability = flushed.add_to(database.durability(folder)?);
        let people = format!("http://{}{}", self.entry.host, self.entry.people_path);
        // A server that the load broke has been told of that already.
        let probed = flushes::probe(&durability, &people, args.entry.vocabulary(), database);
        Ok(probed.unwrap_or(durability))
    }

    /// The score and the count that it comes from, without those who were there before. Where rows are not held to what
    /// they deserve, the ceiling is whom the server acknowledged.
    fn count(
        &self,
        driven: &Driven,
        ceiling: &Ceiling,
        tallied: Option<Tallied>,
        creates: u64,
    ) -> anyhow::Result<Option<(People, Census)>> {
        let Some((before, strangers)) = self.before.zip(self.strangers) else { return Ok(None) };
        let census = Census::take(|| probe::count(&self.entry))?;
        let stored = census.last.saturating_sub(before);
        let acknowledged = driven.monitor.acknowledged;
        let right = match tallied {
            Some(tallied) => ceiling.of_run(strangers, creates, tallied.acknowledged, tallied.unknown),
            None => acknowledged..=acknowledged + driven.monitor.unknown + driven.monitor.in_flight,
        };
        let ceiling = stored.clamp(*right.start(), *right.end());
        Ok(Some((People { stored, ceiling, acknowledged: Some(acknowledged) }, census)))
    }

    /// Limits of the stack, and of what else is observed.
    fn budget(&self, observed: Vec<Limit>) -> Vec<Limit> {
        let own: Vec<Limit> = self.stack.iter().flat_map(|stack| stack.limits.clone()).collect();
        let is_new = |limit: &Limit| own.iter().all(|known| known.service != limit.service);
        let others: Vec<Limit> = observed.into_iter().filter(is_new).collect();
        [own, others].concat()
    }

    /// How the services fail to keep to the budget. Of others' services the arena may not know what holds them: the verdict
    /// says so then.
    fn budget_fault(&self, args: &Args, limits: &[Limit]) -> Option<(Outcome, String)> {
        match &self.stack {
            Some(stack) => stack.budget_fault(&args.budget),
            None if are_limited(limits) => args.budget.fault(limits),
            None => None,
        }
    }

    fn settings(&self, args: &Args, plan: &Plan) -> Settings {
        let mut more = args.load.more(self.before);
        more.extend(self.stack.iter().flat_map(Running::settings));
        let elsewhere = if self.entrant.is_empty() { "external" } else { Engine::Docker.name() };
        Settings {
            engine: self.stack.as_ref().map_or(elsewhere, |stack| stack.engine.name()).to_owned(),
            vocabulary: args.entry.vocabulary().name().to_owned(),
            profile: plan.name().to_owned(),
            target: self.entry.url.clone(),
            rate_factor: args.load.rate_factor,
            duration_factor: args.load.duration_factor,
            more,
        }
    }
}

/// Tells the feed of the people from before, where they can be asked for, and returns how many are strangers to it.
fn introduce(before: u64, stack: Option<&Running>, feed: &mut Feed) -> u64 {
    if before == 0 {
        return 0;
    }
    let ask = |stack: &Running| Database::connect(&stack.database)?.taken(&feed.nicknames());
    let taken = stack.and_then(|stack| ask(stack).inspect_err(|error| eprintln!("arena: {error:#}")).ok());
    let Some(taken) = taken else {
        eprintln!("arena: {before} people are stored from before; rows with their nicknames will be refused (--empty)");
        return before;
    };
    let rows = feed.begin_over(&taken);
    eprintln!("arena: {before} people are stored from before; {rows} rows with their nicknames must be refused");
    0
}

fn are_limited(limits: &[Limit]) -> bool {
    !limits.is_empty() && limits.iter().all(|limit| limit.cpus.is_some() && limit.memory_bytes.is_some())
}

/// Every user on its way needs a socket. Where the limit cannot be raised, the run says when it was too low.
fn allow_many_sockets() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// The driver stands for other machines, which would not wait for a processor that the server holds. It is a wish: only
/// root is granted it.
fn go_first() {
    let _ = rustix::process::setpriority_process(None, PRIORITY);
}

/// Becomes true at Ctrl-C or SIGTERM; a second one ends the program at once.
fn interruption() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [consts::SIGINT, consts::SIGTERM] {
        flag::register_conditional_shutdown(signal, Exit::Failed as i32, Arc::clone(&stop))
            .context("handling signals")?;
        flag::register(signal, Arc::clone(&stop)).context("handling signals")?;
    }
    Ok(stop)
}
