//! `arena tune`: the best split of a budget, and settings that are better than those in the files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args as ClapArgs;
use clap::builder::RangedU64ValueParser;

use super::tuning::attempts::{Attempts, Load, Point};
use super::tuning::edit::{Edit, unified};
use super::tuning::pairs::compared;
use super::tuning::question::{Driver, Question};
use super::tuning::show;
use super::tuning::subject::{Place, Setting, Subject, size};
use super::tuning::{memory, seen, split};
use crate::exit::{self, Exit};
use crate::read::report;
use crate::record::metric::{Metric, grouped};
use crate::record::run::{Outcome, Run};
use crate::record::search::{Aim, Attempt, Compared, Figure, Found, Search, cpus, memory_bytes};
use crate::stack::compose::bytes;
use crate::terminal;
use crate::workspace::Workspace;

/// How much more is offered than the stack seems to carry, to see what it carries.
const MORE: f64 = 2.0;

/// Users per second beyond which the driver itself would be the bottleneck.
const MOST_OFFERED: f64 = 8000.0;

/// Short attempts that find a split.
const OF_SPLIT: usize = 4;

/// Which way a figure is better, in words.
fn goal(figure: Figure) -> &'static str {
    match figure {
        Figure::Rate => "more requests answered with success each second, offered more than it carries",
        Figure::P99 => "a lower 99th percentile, of the kind of request whose is the longest, and no failed request",
        Figure::Cost => "less CPU time for every thousand requests, and no failed request",
    }
}

/// The figure by whose rules values are compared.
fn metric(figure: Figure) -> anyhow::Result<Metric> {
    Metric::parse(match figure {
        Figure::Rate => "rate",
        Figure::P99 => "create.p99",
        Figure::Cost => "total.cpu_ms_per_thousand",
    })
}

/// The figure of an attempt; none where it says nothing.
fn told(figure: Figure, attempt: &Attempt) -> Option<f64> {
    figure.of(attempt).filter(|_| attempt.passed)
}

/// The same so that less is better, and what says nothing is the worst.
fn score(figure: Figure, attempt: &Attempt) -> f64 {
    let told = told(figure, attempt);
    match figure {
        Figure::Rate => told.map_or(f64::INFINITY, |goodput| -goodput),
        Figure::P99 | Figure::Cost => told.unwrap_or(f64::INFINITY),
    }
}

/// A setting and the values to try.
#[derive(Clone, Debug)]
struct Trial {
    name: String,
    values: Vec<String>,
}

impl std::str::FromStr for Trial {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("{text} is no setting to try; want NAME=A,B,...");
        let (name, values) = text.split_once('=').ok_or_else(wanted)?;
        let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        match !name.is_empty() && values.iter().all(|value| !value.is_empty()) {
            true => Ok(Self { name: name.trim().to_owned(), values }),
            false => Err(wanted()),
        }
    }
}

/// Arguments of `arena tune`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
What stands behind -- goes to the driver's command, `cargo arena bench` or `cargo arena fight`.

  cargo arena tune --rate 3000 --seconds 20
  cargo arena tune --for cost --rate 740 --try wal_sync_method=open_datasync,fdatasync --try PELEJA_CONNECTIONS=2,4,8
  cargo arena tune --entry ../an-entry --cpus 1.0 --driver gatling --apply")]
pub struct Args {
    #[command(flatten)]
    question: Question,
    /// CPUs to divide among the services [default: what the files give them]
    #[arg(long)]
    cpus: Option<f64>,
    /// Memory to divide among the services, such as 1g [default: what the files give them]
    #[arg(long, value_parser = memory_size)]
    memory: Option<u64>,
    /// What is to be better
    #[arg(long = "for", value_enum, default_value = "p99")]
    figure: Figure,
    /// A setting and values of it: an environment variable, a PostgreSQL setting, an nginx directive. environment:, postgres:
    /// or nginx: before the name says which it is where that is not plain. May be repeated
    #[arg(long = "try", value_name = "NAME=A,B,...")]
    trials: Vec<Trial>,
    /// Leave the split as it is
    #[arg(long)]
    no_split: bool,
    /// Pairs of runs at full length that decide
    #[arg(long, default_value_t = 4, value_parser = RangedU64ValueParser::<usize>::new().range(2..=100))]
    pairs: usize,
    /// Change the Compose file, and nginx's, to what is proposed
    #[arg(long)]
    apply: bool,
    /// Write what is proposed as a Compose file to lay over the stack's own
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

fn memory_size(text: &str) -> Result<u64, String> {
    bytes(&text.into()).filter(|bytes| *bytes > 0).ok_or_else(|| format!("{text} is no size; want one such as 1g"))
}

/// Searches, and prints what was tried and what is proposed. [`Exit::Good`] also where nothing is.
///
/// # Errors
///
/// If the user ends it, or there is nothing to search on.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let workspace = Workspace::find()?;
    let Some((subject, known, start)) = exit::accept(plan(args, &workspace)) else { return Ok(Exit::Usage) };
    args.question.check_machine(&workspace)?;
    announce(args, &subject);
    let trials: Vec<String> =
        args.trials.iter().map(|trial| format!("{}={}", trial.name, trial.values.join(","))).collect();
    let asked = format!(
        "for {:?} {:.3} {} {trials:?} {}",
        args.figure,
        cpus(&start.limits),
        size(memory_bytes(&start.limits)),
        args.pairs
    );
    let attempts = Attempts::begin(
        &args.question,
        &workspace,
        &subject,
        known.clone(),
        ("tune", asked, goal(args.figure).to_owned(), args.figure),
    )?;
    let mut tune = Tune { args, subject: &subject, known, attempts, offered: None };
    let found = tune.search(start)?;
    tune.attempts.take_down()?;
    tune.attempts.search.found = Some(found);
    let document = tune.attempts.save()?;
    tune.publish(&workspace, &document)
}

/// Whose limits and settings are searched, which settings are known, and where it starts.
fn plan(args: &Args, workspace: &Workspace) -> anyhow::Result<(Subject, Vec<Setting>, Point)> {
    args.write.as_deref().map(Question::writable).transpose()?;
    ensure!(args.figure != Figure::Rate || args.question.driver == Driver::Bench, "--for rate is for --driver bench");
    let subject = args.question.subject(workspace)?;
    let known = args.trials.iter().map(|trial| subject.setting(workspace, &trial.name)).collect::<Result<_, _>>()?;
    let (now, held) = subject.start_by_group();
    let pool = subject.pool();
    let wanted = args.cpus.unwrap_or(pool.total(&now));
    ensure!(
        wanted <= args.question.budget.cpus() + 1e-9,
        "--cpus {wanted} is more than the budget, {}",
        args.question.budget
    );
    let split = pool.scaled(&now, wanted);
    ensure!(pool.total(&split) <= wanted + 0.01, "{wanted} CPUs are too few: each service needs {}", split::LEAST);
    let memory = args.memory.map_or(Ok(held.clone()), |memory| divide_memory(&subject, &held, memory))?;
    let limits = subject.limits(&split, &memory);
    Ok((subject, known, Point { limits, settings: BTreeMap::new() }))
}

/// Memory in the proportions that it has, but for those whose settings need more.
fn divide_memory(subject: &Subject, held: &[u64], wanted: u64) -> anyhow::Result<Vec<u64>> {
    let containers: Vec<u64> = subject.groups.iter().map(|group| group.containers.len() as u64).collect();
    let need = |nth: usize| memory::whole(subject.groups[nth].need.max(memory::LEAST));
    let total: u64 = held.iter().zip(&containers).map(|(held, containers)| held * containers).sum();
    let share = |nth: usize| (held[nth] as f64 * wanted as f64 / total as f64) as u64;
    let is_needy = |nth: usize| share(nth) < need(nth);
    let sum = |of: &dyn Fn(usize) -> u64, needy: bool| -> u64 {
        (0..held.len()).filter(|nth| is_needy(*nth) == needy).map(|nth| of(nth) * containers[nth]).sum()
    };
    let left = wanted.checked_sub(sum(&need, true));
    let left = left.with_context(|| format!("{} is less than what the services' settings need", size(wanted)))?;
    let factor = left as f64 / sum(&share, false).max(1) as f64;
    let given = |nth: usize| match is_needy(nth) {
        true => need(nth),
        false => ((share(nth) as f64 * factor) as u64) >> 20 << 20,
    };
    let given: Vec<u64> = (0..held.len()).map(given).collect();
    match (0..held.len()).find(|nth| given[*nth] < need(*nth)) {
        Some(nth) => bail!("{} leaves {} less than it needs", size(wanted), subject.groups[nth].label()),
        None => Ok(given),
    }
}

fn announce(args: &Args, subject: &Subject) {
    let question = &args.question;
    let of_split = if args.no_split { 0 } else { OF_SPLIT };
    let short = of_split + args.trials.iter().map(|trial| trial.values.len() + 1).sum::<usize>();
    let decisions = args.trials.len() + usize::from(!args.no_split);
    let pairs = 2 * args.pairs * decisions;
    eprintln!(
        "arena: {short} attempts of {:.0} s, and up to {pairs} of {:.0} s in pairs: {} to {}; better: {}",
        question.seconds(question.short),
        question.seconds(1.0),
        show::minutes(show::estimate(question, subject, short, 0)),
        show::minutes(show::estimate(question, subject, short, pairs)),
        goal(args.figure),
    );
}

struct Tune<'a> {
    args: &'a Args,
    subject: &'a Subject,
    known: Vec<Setting>,
    attempts: Attempts<'a>,
    /// Users per second that are offered to see what is carried.
    offered: Option<f64>,
}

impl Tune<'_> {
    fn search(&mut self, start: Point) -> anyhow::Result<Found> {
        if self.args.figure == Figure::Rate {
            self.offered = Some(self.look_for_offer(&start)?);
        }
        let mut best = start.clone();
        if !self.args.no_split {
            let divided = self.divide(&best)?;
            if divided.limits != best.limits {
                let shown = |point: &Point| self.split_of(point);
                let values = [shown(&best), shown(&divided)];
                best = self.decide("split", values, best, divided)?;
            }
        }
        for (trial, setting) in self.args.trials.iter().zip(self.known.clone()) {
            let now = self.subject.value(&setting)?.unwrap_or_else(|| "not set".to_owned());
            let Some(value) = self.best_value(&best, &setting.name, trial, &now)? else { continue };
            let mut changed = best.clone();
            changed.settings.insert(setting.name.clone(), value.clone());
            best = self.decide(&setting.name, [now, value], best, changed)?;
        }
        let comparisons = &self.attempts.search.comparisons;
        let mut remarks: Vec<String> = comparisons.iter().map(remark).collect();
        if remarks.is_empty() {
            remarks.push("nothing that was tried was better in short runs than what is".to_owned());
        }
        Ok(Found {
            // Who asks for another budget is given its split, whether or not a better one was found than in proportion.
            is_confirmed: comparisons.iter().any(|compared| compared.is_better) || start.limits != self.subject.start,
            limits: best.limits,
            settings: best.settings,
            remarks,
        })
    }

    /// How many users per second to offer: more than would come if all could be used.
    fn look_for_offer(&mut self, start: &Point) -> anyhow::Result<f64> {
        let question = &self.args.question;
        let load = Load { words: question.load(question.short), is_fresh: false, gives_up: false };
        let attempt = self.attempts.make(Aim::Learn, start.clone(), &load, faults)?;
        let used = seen(self.subject, &attempt).used;
        let (limits, _) = self.subject.by_group(&start.limits);
        let fullest = used.iter().zip(&limits).map(|(used, limit)| used / limit).fold(0.0, f64::max);
        ensure!(fullest > 0.0, "what the services use cannot be told: {}", attempt.reasons.join("; "));
        Ok((MORE * question.peak() / fullest).min(MOST_OFFERED).round())
    }

    fn divide(&mut self, start: &Point) -> anyhow::Result<Point> {
        let (now, memory) = self.subject.by_group(&start.limits);
        let (subject, figure) = (self.subject, self.args.figure);
        let split = split::divide(&subject.pool(), &now, |cpus, aim| {
            let point = Point { limits: subject.limits(cpus, &memory), ..start.clone() };
            let attempt = self.attempt(aim, point)?;
            Ok((seen(subject, &attempt), score(figure, &attempt)))
        })?;
        Ok(Point { limits: subject.limits(&split, &memory), ..start.clone() })
    }

    /// The value that was the best in short; none where that is what is.
    fn best_value(&mut self, start: &Point, name: &str, trial: &Trial, now: &str) -> anyhow::Result<Option<String>> {
        let mut best = (None, score(self.args.figure, &self.attempt(Aim::Narrow, start.clone())?));
        for value in trial.values.iter().filter(|value| *value != now) {
            let mut point = start.clone();
            point.settings.insert(name.to_owned(), value.clone());
            let tried = score(self.args.figure, &self.attempt(Aim::Narrow, point)?);
            if tried < best.1 {
                best = (Some(value.clone()), tried);
            }
        }
        Ok(best.0)
    }

    /// Measures both in pairs, each pair in the other order than the one before, and gives the new one only where it is better.
    fn decide(&mut self, what: &str, values: [String; 2], base: Point, new: Point) -> anyhow::Result<Point> {
        let mut figures = [Vec::new(), Vec::new()];
        let mut failed = [0, 0];
        for pair in 0..self.args.pairs {
            let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
            for side in order {
                let attempt = self.attempt(Aim::Pair, [&base, &new][side].clone())?;
                match told(self.args.figure, &attempt) {
                    Some(figure) => figures[side].push(figure),
                    None => failed[side] += 1,
                }
            }
        }
        if failed != [0, 0] {
            let pairs = self.args.pairs;
            // A side that fails cannot be the better one, and what is left of its figures says nothing.
            let compared = Compared {
                what: format!("{what} ({} of {pairs} failed before, {} after)", failed[0], failed[1]),
                values,
                pairs,
                means: [0.0, 0.0],
                percent: 0.0,
                interval: None,
                is_better: failed[1] == 0 && failed[0] == pairs,
                would_do: None,
            };
            let better = compared.is_better;
            self.attempts.search.comparisons.push(compared);
            return Ok(if better { new } else { base });
        }
        let is_in_milliseconds = self.args.question.driver == Driver::Gatling && self.args.figure == Figure::P99;
        let resolution = if is_in_milliseconds { 1.0 } else { 0.0 };
        let compared = compared(what, values, [&figures[0], &figures[1]], &metric(self.args.figure)?, resolution);
        eprintln!("arena: {}", remark(&compared));
        let is_better = compared.is_better;
        self.attempts.search.comparisons.push(compared);
        self.attempts.save()?;
        Ok(if is_better { new } else { base })
    }

    fn attempt(&mut self, aim: Aim, point: Point) -> anyhow::Result<Attempt> {
        let question = &self.args.question;
        let share = if aim == Aim::Pair { 1.0 } else { question.short };
        let words = match self.offered {
            None => question.load(share),
            Some(offered) => vec![
                "--ramp".into(),
                format!("{offered}..{offered}"),
                "--past-knee".into(),
                "--step-seconds".into(),
                question.seconds(share).to_string(),
            ],
        };
        let load = Load { words, is_fresh: aim == Aim::Pair, gives_up: false };
        self.attempts.make(aim, point, &load, faults)
    }

    fn split_of(&self, point: &Point) -> String {
        let (cpus, _) = self.subject.by_group(&point.limits);
        let shares = self.subject.groups.iter().zip(cpus).map(|(group, cpus)| format!("{} {cpus}", group.label()));
        shares.collect::<Vec<_>>().join("; ")
    }

    fn publish(&self, workspace: &Workspace, document: &Path) -> anyhow::Result<Exit> {
        let search = &self.attempts.search;
        let found = search.found.as_ref().context("nothing was found")?;
        let page = document.with_extension("html");
        report::write_search(search, &page)?;
        // What was measured is not lost because a file is written in a way of its own.
        let changes = if found.is_confirmed { self.changes(workspace, found) } else { Ok(Vec::new()) };
        let changes = changes
            .inspect_err(|error| eprintln!("arena: no difference can be told: {error:#}; --write leaves an overlay"));
        let changes = changes.unwrap_or_default();
        match self.args.question.json {
            true => terminal::print_json(search)?,
            false => terminal::print(&format!(
                "\n{}\n\n{}\n",
                show::table(self.subject, search),
                conclusion(self.subject, search, found, &changes)
            ))?,
        }
        if let Some(file) = &self.args.write {
            let point = Point { limits: found.limits.clone(), settings: found.settings.clone() };
            let head =
                format!("# What `cargo arena tune` proposes, search {}: {}.\n", search.id, found.remarks.join(".\n# "));
            self.attempts.write_overlay(&point, file, &head)?;
            eprintln!("arena: overlay   {}", file.display());
        }
        for change in changes.iter().filter(|_| self.args.apply) {
            fs::write(&change.file, &change.after).with_context(|| change.file.display().to_string())?;
            eprintln!("arena: changed   {}", change.file.display());
        }
        eprintln!("arena: page      {}", page.display());
        eprintln!("arena: document  {}", document.display());
        Ok(Exit::Good)
    }

    /// What the proposal changes in which files.
    fn changes(&self, workspace: &Workspace, found: &Found) -> anyhow::Result<Vec<Change>> {
        let files = self
            .subject
            .entry
            .as_ref()
            .map_or_else(|| vec![workspace.path("docker-compose.yml")], |entry| entry.files());
        let file = files.first().context("no Compose file")?;
        let mut edit = Edit::of(file)?;
        let before = edit.text().to_owned();
        let (cpus, memory) = self.subject.by_group(&found.limits);
        for ((group, cpus), memory) in self.subject.groups.iter().zip(cpus).zip(memory) {
            edit.limit(&group.services, cpus, memory)?;
        }
        for setting in &self.known {
            let Some(value) = found.settings.get(&setting.name) else { continue };
            match &setting.place {
                Place::Environment(services) => edit.environment(services, &setting.name, value)?,
                Place::Postgres(service) => edit.postgres(service, &setting.name, value)?,
                Place::Nginx(..) => {}
            }
        }
        let mut changes = vec![Change { file: file.clone(), before, after: edit.text().to_owned() }];
        if let Some((file, after)) = self.attempts.nginx(&found.settings)? {
            changes.push(Change { before: fs::read_to_string(&file)?, file, after });
        }
        changes.retain(|change| change.before != change.after);
        Ok(changes)
    }
}

/// What becomes of a file.
struct Change {
    file: PathBuf,
    before: String,
    after: String,
}

/// What speaks against a run, whatever its figures.
fn faults(run: &Run) -> Vec<String> {
    match run.verdict().outcome {
        Outcome::Clean | Outcome::Suspect => Vec::new(),
        outcome if run.verdict().reasons.is_empty() => vec![outcome.to_string()],
        _ => run.verdict().reasons.clone(),
    }
}

fn remark(compared: &Compared) -> String {
    let Compared { what, values: [before, after], pairs, means, percent, interval, is_better, would_do } = compared;
    let noise = interval.map_or_else(String::new, |[low, high]| format!(", truly {low:+.1} to {high:+.1} %"));
    let verdict = match (is_better, would_do) {
        (true, _) => "better".to_owned(),
        (false, Some(would_do)) => {
            format!("within the noise; about {would_do} pairs would tell a difference of this size")
        }
        (false, None) => "not better".to_owned(),
    };
    format!(
        "{what} from {before} to {after}: {verdict} ({} and {}, {percent:+.1} %{noise}, {pairs} pairs)",
        grouped(means[0]),
        grouped(means[1])
    )
}

fn conclusion(subject: &Subject, search: &Search, found: &Found, changes: &[Change]) -> String {
    let word = if found.is_confirmed { "PROPOSAL" } else { "NO PROPOSAL" };
    let mut text = format!("**{word}** for {}; better is {}", subject.name, search.goal);
    found.remarks.iter().for_each(|remark| text.push_str(&format!("\n- {remark}")));
    for Change { file, before, after } in changes {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        text.push_str(&format!("\n\n{}", unified(&name, before, after)));
    }
    text
}
