//! `arena fight`: a whole bout, from a machine with nothing on it to the verdict.

mod bout_table;
pub mod entry;
pub mod warmup;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use clap::builder::RangedU64ValueParser;

use crate::commands::census::Census;
use crate::commands::database::Database;
use crate::commands::flushes;
use crate::commands::verdict;
use crate::exit::{self, Exit};
use crate::load::driver::entry::Entry as Server;
use crate::load::driver::feed::Feed;
use crate::load::driver::ledger::Fate;
use crate::load::driver::roll::{Roll, Wrong};
use crate::load::driver::survey::Survey;
use crate::load::fill;
use crate::load::gatling::{self, Fought};
use crate::load::payloads::{self, Files};
use crate::load::vocabulary::Vocabulary;
use crate::observe::Observer;
use crate::read::report;
use crate::record::history;
use crate::record::run::{Driver, Durability, People, Run, SCHEMA, Settings};
use crate::stack::budget::Budget;
use crate::stack::entry::Entry;
use crate::stack::machine;
use crate::stack::ports::SoonFree;
use crate::stack::prerequisites::{self, Install, Tool};
use crate::stack::which::{Start, Which};
use crate::stack::{Engine, Running};
use crate::terminal;
use crate::workspace::Workspace;

/// Arguments of `arena fight`.
#[derive(Clone, Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct FightArgs {
    /// Fight with an entry of the contest instead: the Compose file in this directory as it is, in Docker.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["data", "database_port", "no_limits", "keep_running"])]
    pub entry: Option<PathBuf>,
    /// Seconds that an entry has until its port answers HTTP.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait: u64,
    /// Do not count an entry's people: for entries of other editions, with their own --simulation.
    #[arg(long)]
    no_count: bool,
    /// Keep the images that were built for an entry.
    #[arg(long)]
    keep_images: bool,
    #[command(flatten)]
    which: Which,
    /// In which words the API is spoken to. [default: users; pessoas, the event's own, for an entry]
    #[arg(long, value_enum)]
    vocabulary: Option<Vocabulary>,
    /// Multiply every arrival rate.
    #[arg(long, default_value_t = 1.0, value_parser = factor)]
    rate_factor: f64,
    /// Multiply every duration.
    #[arg(long, default_value_t = 1.0, value_parser = factor)]
    duration_factor: f64,
    /// A bout of 20 seconds instead of 205: the same as --duration-factor 0.1.
    #[arg(long, conflicts_with = "duration_factor")]
    quick: bool,
    /// Another Gatling simulation: a Scala file, or the name of a class in gatling/. The event's own runs unmodified,
    /// against port 9999 and with --vocabulary pessoas.
    #[arg(long, value_name = "FILE|CLASS")]
    simulation: Option<PathBuf>,
    /// Payloads from this TSV file instead of generated ones.
    #[arg(long, value_name = "FILE", requires = "terms")]
    payloads: Option<PathBuf>,
    /// Search terms from this TSV file instead of generated ones.
    #[arg(long, value_name = "FILE", requires = "payloads")]
    terms: Option<PathBuf>,
    /// What the generated payloads come from.
    #[arg(long, default_value_t = payloads::SEED)]
    seed: u64,
    /// Begin over people: those who were kept from before, and as many more as the first N of `cargo arena fill` lack.
    /// With 0, only those who were kept; they stay, and the bout's people with them.
    #[arg(long, value_name = "N", conflicts_with = "entry", value_parser = RangedU64ValueParser::<u64>::new().range(..=fill::MOST))]
    over: Option<u64>,
    /// A name for the run, for reports and comparisons. [default: for an entry, its directory's]
    #[arg(long)]
    pub label: Option<String>,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    pub json: bool,
    /// Do not hold the services to the limits of docker-compose.yml.
    #[arg(long)]
    no_limits: bool,
    /// Let a data directory in memory pass, or a disk that does not wait for flushes; it is said beside the verdict.
    #[arg(long)]
    volatile: bool,
    /// CPUs and memory that all services may use together.
    #[arg(long, value_name = "CPUS,MEMORY", default_value = Budget::CONTEST)]
    budget: Budget,
    /// Do not install what is missing, only list it.
    #[arg(long)]
    no_install: bool,
    /// End as soon as a request has failed: to know that it fails, and not how much of it.
    #[arg(long)]
    give_up: bool,
    /// Leave the stack and its people there after the bout; `cargo arena down` ends it.
    #[arg(long)]
    keep_running: bool,
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if factor > 0.0 && factor <= 1000.0 => Ok(factor),
        _ => Err("want a number above 0 and up to 1000".into()),
    }
}

impl FightArgs {
    fn duration_factor(&self) -> f64 {
        if self.quick { 0.1 } else { self.duration_factor }
    }

    /// The same bout with an entry, whose name it bears.
    pub fn against(&self, entry: &Entry) -> Self {
        Self { entry: Some(entry.folder.clone()), label: Some(entry.name.clone()), ..self.clone() }
    }

    /// What makes one bout another than the next, in words by which it is known again.
    pub fn asked(&self) -> String {
        let vocabulary = self.vocabulary.map_or("usual", Vocabulary::name);
        let files = [&self.simulation, &self.payloads, &self.terms]
            .map(|file| file.as_ref().map(|file| file.display().to_string()));
        format!(
            "{vocabulary} words, rates x{}, durations x{}, files {files:?}, seed {}, budget {}, counted: {}",
            self.rate_factor,
            self.duration_factor(),
            self.seed,
            self.budget,
            !self.no_count
        )
    }

    fn vocabulary(&self) -> Vocabulary {
        let usual = if self.entry.is_some() { Vocabulary::Pessoas } else { Vocabulary::default() };
        self.vocabulary.unwrap_or(usual)
    }

    /// Where the people come from, as a setting of the run.
    fn feed_setting(&self) -> (String, String) {
        match &self.payloads {
            Some(file) => ("payloads".into(), file.display().to_string()),
            None => ("seed".into(), self.seed.to_string()),
        }
    }

    /// What the command line alone tells to be wrong.
    pub fn check(&self, workspace: &Workspace) -> anyhow::Result<()> {
        match &self.entry {
            None => self.which.check(workspace, !self.no_limits)?,
            Some(_) => ensure!(self.wait > 0, "--wait is 0, and nothing answers at once"),
        }
        gatling::check(self.simulation.as_deref())?;
        // Any other simulation brings its own rates and durations.
        let unchanged = self.rate_factor == 1.0 && self.duration_factor() == 1.0;
        ensure!(
            unchanged || gatling::is_ours(self.simulation.as_deref()),
            "only Peleja's own simulation takes --rate-factor, --duration-factor and --quick"
        );
        let Some((file, terms)) = self.payloads.as_ref().zip(self.terms.as_ref()) else { return Ok(()) };
        std::fs::File::open(terms).with_context(|| format!("cannot read {}", terms.display()))?;
        let spoken = payloads::vocabulary(file)?.name();
        let asked = self.vocabulary().name();
        ensure!(spoken == asked, "{} is in the words of --vocabulary {spoken}, not {asked}", file.display());
        Ok(())
    }
}

/// Fights a bout. [`Exit::Good`] only if no request failed and exactly the people of the ceiling are stored.
///
/// # Errors
///
/// If there was no bout to judge.
pub fn run(arguments: &FightArgs) -> anyhow::Result<Exit> {
    let workspace = Workspace::find()?;
    if exit::accept(arguments.check(&workspace)).is_none() {
        return Ok(Exit::Usage);
    }
    if let Some(folder) = &arguments.entry {
        let Some(entry) = exit::accept(entry_in(folder, arguments.which.overlays())) else {
            return Ok(Exit::Usage);
        };
        return publish(arguments, &workspace, &entry::fight(arguments, &workspace, &entry)?);
    }
    let interrupted = exit::interruption()?;
    ensure!(
        arguments.which.running(&workspace)?.is_none(),
        "a stack runs already, and a bout wants one of its own; `cargo arena down` ends it"
    );

    arguments.which.check_machine(&workspace, !arguments.no_limits)?;
    let mut tools = vec![Tool::Jdk, Tool::Maven];
    if arguments.which.engine == Engine::Native {
        tools.extend([Tool::Postgres, Tool::Nginx]);
    }
    prerequisites::ensure(&tools, Install::unless(arguments.no_install))?;
    eprintln!("arena: building the load test and the contender");
    let simulation = gatling::prepare(&workspace, arguments.simulation.as_deref(), &interrupted)?;
    let files = files(arguments, &workspace)?;

    exit::fail_if_interrupted()?;
    eprintln!("arena: starting the stack ({})", arguments.which.engine.name());
    let guard = Guard::new(arguments, &workspace);
    let running = guard.up()?;
    let _ports = (arguments.which.engine == Engine::Docker).then(SoonFree::until_dropped);
    let mut database = Database::connect(&running.database)?;
    let mut feed = Feed::of_payloads(&files.payloads, arguments.vocabulary())?;
    let before = gather(arguments, &guard, &mut database, &mut feed)?;
    exit::fail_if_interrupted()?;
    eprintln!("arena: warming up");
    warmup::warm_up(&running.url, arguments.vocabulary(), &mut database, before)?;
    let durability = database.durability(running.database_folder.as_deref())?;
    let people_url = format!("{}{}", running.url, arguments.vocabulary().people_path());
    let durability = flushes::probe(&durability, &people_url, arguments.vocabulary(), &mut database)?;
    match before {
        0 => database.remove_everybody()?,
        _ => database.checkpoint()?,
    }

    exit::fail_if_interrupted()?;
    let id = history::new_id("fight");
    let settings = gatling::Settings {
        base_url: running.url.clone(),
        vocabulary: arguments.vocabulary().name().to_owned(),
        payloads: files.payloads.clone(),
        search_terms: files.terms.clone(),
        rate_factor: arguments.rate_factor,
        duration_factor: arguments.duration_factor(),
        results: workspace.path("runs").join(&id),
        html_report: !arguments.give_up,
        gives_up: arguments.give_up,
    };
    let bout = Bout { arguments, workspace: &workspace, running: &running, feed, before, id, durability };
    let run = bout.fight(&mut database, || gatling::run(&simulation, &settings, &interrupted))?;
    drop(guard);
    publish(arguments, &workspace, &run)
}

/// What is known before the first request.
struct Bout<'a> {
    arguments: &'a FightArgs,
    workspace: &'a Workspace,
    running: &'a Running,
    /// The rows that are sent, and what a correct server makes of them.
    feed: Feed,
    /// People who are stored and are not of the bout.
    before: u64,
    id: String,
    durability: Durability,
}

impl Bout<'_> {
    fn fight(&self, database: &mut Database, load: impl FnOnce() -> anyhow::Result<Fought>) -> anyhow::Result<Run> {
        let before = flushes::Before::look(database)?;
        let observer = Observer::start(self.running.observe.clone())?;
        let results = load();
        let observed = observer.stop();
        let Fought { results, cpu } = results?;
        // Gatling starts long before its first request, and writes reports long after the last: neither is the bout.
        let (services, service_series) = observed.during(results.started, results.seconds);
        let during = before.compare(database)?;
        let FightArgs { rate_factor, volatile, .. } = *self.arguments;
        let vocabulary = self.arguments.vocabulary();
        let punctuality = gatling::punctuality(&results, rate_factor, self.arguments.duration_factor(), cpu);

        let sent = |kind: &str| results.requests.iter().find(|r| r.kind == kind).map_or(0, |requests| requests.count);
        let census = Census::take(|| database.people())?;
        let people = People {
            stored: census.last.saturating_sub(self.before),
            ceiling: self.feed.ceiling().after(sent("create")),
            acknowledged: gatling::fetches_each(&results.simulation).then(|| sent("fetch")),
        };
        let (wrong, survey) = self.look_around(database, sent("create"))?;
        let durability = during.add_to(self.durability.clone());
        let people_url = format!("{}{}", self.running.url, vocabulary.people_path());
        // A stack that the load broke has been told of that already.
        let durability = flushes::probe(&durability, &people_url, vocabulary, database).unwrap_or(durability);
        let judged = verdict::of_bout(&verdict::Bout {
            requests: &results.requests,
            errors: &results.errors,
            people,
            census,
            wrong: &wrong,
            survey: &survey,
            durability: &durability,
            volatile,
            strain: punctuality.as_ref().map(|punctuality| punctuality.strain.clone()),
        });
        let judged = judged.held_to(self.running.budget_fault(&self.arguments.budget));
        let mut series = results.series;
        series.services = service_series;
        let mut versions = machine::versions(self.running);
        versions.insert("gatling".into(), results.version);
        versions.insert("postgresql".into(), database.version()?);
        Ok(Run {
            schema: SCHEMA,
            id: self.id.clone(),
            driver: Driver::Gatling,
            label: self.arguments.label.clone(),
            started: results.started.to_string(),
            seconds: results.seconds,
            commit: self.workspace.commit(),
            settings: self.settings(&results.simulation),
            budget: self.running.limits.clone(),
            versions,
            machine: machine::describe(self.running.cgroup),
            judged,
            requests: results.requests,
            services,
            durability: Some(durability),
            generator: punctuality.map(|punctuality| punctuality.generator),
            steps: Vec::new(),
            series,
        })
    }

    /// Holds everybody in the table against the rows that were sent, and has the API find some of them: Gatling looks at
    /// statuses alone.
    fn look_around(&self, database: &mut Database, creates: u64) -> anyhow::Result<(BTreeMap<Wrong, u64>, Survey)> {
        let vocabulary = self.arguments.vocabulary();
        let fates = (0..creates).map(|_| Fate::Unknown);
        let mut roll = Roll::call(&self.feed, fates, self.before == 0);
        let everybody = match self.before {
            0 => database.everybody()?,
            _ => database.bearers(&self.feed.nicknames())?,
        };
        everybody.iter().for_each(|person| roll.find(person));
        let mut wrong = BTreeMap::new();
        for mismatch in everybody.iter().filter_map(|person| roll.know(person).err()) {
            *wrong.entry(mismatch).or_default() += 1;
        }
        let base = self.running.url.parse().map_err(anyhow::Error::msg).context("the stack's URL")?;
        Ok((wrong, Survey::take(&Server::usual(&base, vocabulary)?, &roll)))
    }

    fn settings(&self, simulation: &str) -> Settings {
        let mut more = BTreeMap::from([("simulation".to_owned(), simulation.to_owned())]);
        more.extend([self.arguments.feed_setting()]);
        more.extend(self.running.settings());
        if self.before > 0 {
            more.insert("people before".into(), self.before.to_string());
        }
        Settings {
            engine: self.running.engine.name().to_owned(),
            vocabulary: self.arguments.vocabulary().name().to_owned(),
            profile: "event".to_owned(),
            target: self.running.url.clone(),
            rate_factor: self.arguments.rate_factor,
            duration_factor: self.arguments.duration_factor(),
            more,
        }
    }
}

/// The entry in a folder, with these files laid over its own.
fn entry_in(folder: &Path, overlays: &[PathBuf]) -> anyhow::Result<Entry> {
    let entry = Entry::at(folder)?.laid_over(overlays)?;
    entry.check()?;
    Ok(entry)
}

/// Keeps the run, makes its page and prints the verdict.
fn publish(arguments: &FightArgs, workspace: &Workspace, run: &Run) -> anyhow::Result<Exit> {
    let page = keep(run)?;
    if arguments.json {
        terminal::print_json(run)?;
    } else {
        terminal::print(&format!("\n{}\n", bout_table::table(run)))?;
    }
    eprintln!("arena: report    {}", page.display());
    eprintln!("arena: document  {}", page.with_extension("json").display());
    eprintln!("arena: Gatling   {}", workspace.path("runs").join(&run.id).display());
    Ok(verdict::exit(run.verdict().outcome))
}

/// Keeps the run and makes its page, and says where that is.
///
/// # Errors
///
/// If a file cannot be written.
pub fn keep(run: &Run) -> anyhow::Result<PathBuf> {
    let page = history::save(run)?.with_extension("html");
    report::write(std::slice::from_ref(run), &page)?;
    Ok(page)
}

/// Sees to it that those are there over whom the bout is to be, which is nobody unless the user says so; tells the feed of
/// them, and returns how many they are.
fn gather(arguments: &FightArgs, guard: &Guard, database: &mut Database, feed: &mut Feed) -> anyhow::Result<u64> {
    let kept = database.people()?;
    if kept > 0 {
        guard.keep_people();
    }
    let Some(over) = arguments.over else {
        ensure!(
            kept == 0,
            "{kept} people are stored from before; `cargo arena down` removes them, --over 0 begins over them, or give \
             another --data"
        );
        return Ok(0);
    };
    if over > 0 {
        eprintln!("arena: filling the table");
        database.fill(over)?;
    }
    feed.begin_over(&database.taken(&feed.nicknames())?);
    database.people()
}

fn files(arguments: &FightArgs, workspace: &Workspace) -> anyhow::Result<Files> {
    if let Some((payloads, terms)) = arguments.payloads.clone().zip(arguments.terms.clone()) {
        return Ok(Files { payloads, terms });
    }
    payloads::ensure(&workspace.path("target/payloads"), arguments.vocabulary(), payloads::ROWS, arguments.seed)
}

/// Ends the stack however the bout ends.
struct Guard<'a> {
    arguments: &'a FightArgs,
    workspace: &'a Workspace,
    erase: std::cell::Cell<bool>,
}

impl<'a> Guard<'a> {
    fn new(arguments: &'a FightArgs, workspace: &'a Workspace) -> Self {
        Self { arguments, workspace, erase: true.into() }
    }

    fn up(&self) -> anyhow::Result<Running> {
        let install = Install::unless(self.arguments.no_install);
        let start = Start { limits: !self.arguments.no_limits, restart: true, install, detours: None };
        self.arguments.which.up(self.workspace, start)
    }

    fn keep_people(&self) {
        self.erase.set(false);
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.arguments.keep_running {
            return;
        }
        if let Err(error) = self.arguments.which.down(self.workspace, self.erase.get()) {
            eprintln!("arena: ending the stack: {error:#}");
        }
    }
}
