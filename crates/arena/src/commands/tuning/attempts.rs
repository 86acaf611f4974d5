//! Attempts: a load on a set of limits and settings, each told when it is over, kept, and used again where nothing changed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use super::question::{Driver, Question};
use super::subject::{Place, Setting, Subject, size, with_directive};
use crate::commands::again::Again;
use crate::commands::database::Database;
use crate::commands::fight::warmup::warm_up;
use crate::exit;
use crate::load::vocabulary::Vocabulary;
use crate::observe::Target;
use crate::record::history::{self, History};
use crate::record::metric::grouped;
use crate::record::run::{Limit, Outcome, Run};
use crate::record::search::{Aim, Attempt, Figure, SCHEMA, Search};
use crate::stack::Engine;
use crate::stack::prerequisites::Install;
use crate::stack::which::{Start, Which};
use crate::workspace::Workspace;

/// How often a load is driven again whose generator was the bottleneck.
const AGAIN: u32 = 2;

/// What is tried.
#[derive(Clone, Debug)]
pub struct Point {
    /// What each container may use.
    pub limits: Vec<Limit>,
    /// Settings that differ from the files', by name.
    pub settings: BTreeMap<String, String>,
}

/// What is driven, and how.
#[derive(Clone, Debug)]
pub struct Load {
    /// The words of the driver.
    pub words: Vec<String>,
    /// Whether the stack is to be started for it, under the limits of the attempt. Else it starts with all that it may use, and
    /// is held to the limits while it runs: empty, after a checkpoint, and only where the attempt before did not fail.
    pub is_fresh: bool,
    /// Whether it ends with the first request that fails.
    pub gives_up: bool,
}

/// All attempts of a search.
pub struct Attempts<'a> {
    question: &'a Question,
    workspace: &'a Workspace,
    subject: &'a Subject,
    /// Settings that are tried.
    known: Vec<Setting>,
    again: Again,
    /// Attempts of earlier searches that were not used again yet.
    earlier: Vec<Attempt>,
    /// The document, which is written after each attempt.
    pub search: Search,
    folder: PathBuf,
    standing: Option<Standing>,
}

/// A stack of this checkout that runs, for one attempt after the other.
struct Standing {
    which: Which,
    settings: BTreeMap<String, String>,
    /// Whether what it was asked last may still be under way in it.
    is_spoilt: bool,
    /// Whether it has served nobody yet.
    is_cold: bool,
}

impl<'a> Attempts<'a> {
    /// Begins a search, or goes on with one that was interrupted.
    ///
    /// # Errors
    ///
    /// If its folder or its files cannot be read.
    pub fn begin(
        question: &'a Question,
        workspace: &'a Workspace,
        subject: &'a Subject,
        known: Vec<Setting>,
        (command, asked, goal, figure): (&str, String, String, Figure),
    ) -> anyhow::Result<Self> {
        let folder = History::of_checkout()?.directory().join("searches");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let asked = format!("{command} {} {asked}", question.asked(subject));
        let state = format!("{} {}", subject.name, subject.state()?);
        let earlier = match question.anew {
            true => Vec::new(),
            false => Search::earlier(&folder, &asked, &state, question.resume),
        };
        let search = Search {
            schema: SCHEMA,
            id: history::new_id(command),
            asked,
            state,
            goal,
            figure,
            today: subject.start.clone(),
            attempts: Vec::new(),
            comparisons: Vec::new(),
            found: None,
        };
        let again = Again::on_signals()?;
        Ok(Self { question, workspace, subject, known, again, earlier, search, folder, standing: None })
    }

    /// Makes an attempt, or uses an earlier one again. `missed` says what a run missed that it should have kept to.
    ///
    /// # Errors
    ///
    /// If the user ends it, or the generator is the bottleneck time and again. What fails of the stack is an attempt that did
    /// not pass.
    pub fn make(
        &mut self,
        aim: Aim,
        point: Point,
        load: &Load,
        missed: impl Fn(&Run) -> Vec<String>,
    ) -> anyhow::Result<Attempt> {
        exit::fail_if_interrupted()?;
        let asked = Attempt {
            aim,
            load: [vec![self.question.driver.name().to_owned()], load.words.clone()].concat().join(" "),
            is_fresh: load.is_fresh || !self.stands(),
            limits: point.limits.clone(),
            settings: point.settings.clone(),
            ..Attempt::without_run(Vec::new())
        };
        let is_reused = self.earlier.iter().position(|earlier| earlier.is_like(&asked));
        let attempt = match is_reused {
            Some(nth) => Attempt { aim, ..self.earlier.remove(nth) },
            None => {
                self.announce(&asked);
                let seen = self.measure(&point, load, missed)?;
                let Attempt { limits, settings, load, is_fresh, .. } = asked;
                Attempt { aim, limits, settings, load, is_fresh, ..seen }
            }
        };
        self.search.attempts.push(attempt.clone());
        self.save()?;
        self.tell(&attempt, is_reused.is_some());
        Ok(attempt)
    }

    /// Writes the document, and says where.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn save(&self) -> anyhow::Result<PathBuf> {
        self.search.save(&self.folder)
    }

    /// The text of nginx's file with those of the settings that are made in it; none where there are none.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn nginx(&self, settings: &BTreeMap<String, String>) -> anyhow::Result<Option<(PathBuf, String)>> {
        let mut changed: Option<(PathBuf, String)> = None;
        for Setting { name, place } in &self.known {
            let (Place::Nginx(_, file), Some(value)) = (place, settings.get(name)) else { continue };
            let text = match changed.take() {
                Some((_, text)) => text,
                None => fs::read_to_string(file).with_context(|| file.display().to_string())?,
            };
            changed = Some((file.clone(), with_directive(&text, name, value)));
        }
        Ok(changed)
    }

    /// The Compose file that brings a point, and beside it nginx's own where it is to change; both called after `path`.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub fn write_overlay(&self, point: &Point, path: &Path, head: &str) -> anyhow::Result<()> {
        let nginx = self
            .nginx(&point.settings)?
            .map(|(_, text)| (std::path::absolute(path.with_extension("nginx.conf")), text));
        let nginx = match nginx {
            Some((file, text)) => {
                let file = file?;
                fs::write(&file, text).with_context(|| file.display().to_string())?;
                Some(file)
            }
            None => None,
        };
        let overlay = self.subject.overlay(&point.limits, &self.known, &point.settings, nginx.as_deref())?;
        fs::write(path, format!("{head}{overlay}")).with_context(|| path.display().to_string())
    }

    fn measure(&mut self, point: &Point, load: &Load, missed: impl Fn(&Run) -> Vec<String>) -> anyhow::Result<Attempt> {
        for _ in 0..=AGAIN {
            match self.drive(point, load) {
                Ok(run) if run.verdict().outcome == Outcome::Invalid => {
                    let reasons = run.verdict().reasons.join("; ");
                    eprintln!("arena: the generator was the bottleneck ({reasons}); once more");
                }
                Ok(run) => return Ok(Attempt::of_run(&run, missed(&run))),
                Err(_) if exit::is_interrupted() => bail!("interrupted; the same command goes on where it was"),
                Err(error) if self.search.attempts.is_empty() => return Err(error),
                Err(error) => return Ok(Attempt::without_run(vec![format!("{error:#}")])),
            }
        }
        bail!("the generator was the bottleneck {} times in a row: this machine cannot tell", AGAIN + 1)
    }

    fn drive(&mut self, point: &Point, load: &Load) -> anyhow::Result<Run> {
        let overlay = self.folder.join(format!("{}.yml", self.search.id));
        self.write_overlay(point, &overlay, "")?;
        let mut words: Vec<OsString> = vec![self.question.driver.command().into()];
        match &self.subject.entry {
            Some(entry) => {
                words.extend(["--entry".into(), entry.folder.clone().into_os_string()]);
                let overlays = self.question.which.laid_over(overlay.clone());
                words.extend(
                    overlays.overlays().iter().flat_map(|file| ["--overlay".into(), file.clone().into_os_string()]),
                );
            }
            None => words.extend(self.question.which.laid_over(overlay.clone()).words()),
        }
        if self.stands() {
            self.stand(point, load, &overlay)?;
        }
        words.extend(["--json", "--budget"].map(OsString::from));
        words.push(self.question.budget_words().into());
        words.extend(["--label".into(), OsString::from(&self.search.id)]);
        words.extend(load.gives_up.then(|| "--give-up".into()));
        words.extend(load.words.iter().map(OsString::from));
        words.extend(self.question.rest.iter().cloned());
        let run = self.again.run(&words, &self.folder.join(format!("{}.log", self.search.id)));
        if let Some(standing) = &mut self.standing {
            standing.is_spoilt = !run.as_ref().is_ok_and(|run| run.failed() == 0);
        }
        run
    }

    /// Whether attempts share a stack that stands: one of this checkout, which our own driver finds running.
    fn stands(&self) -> bool {
        self.subject.entry.is_none() && self.question.driver == Driver::Bench
    }

    /// Has a stack stand under the limits of an attempt, empty.
    fn stand(&mut self, point: &Point, load: &Load, overlay: &Path) -> anyhow::Result<()> {
        let can_stay = |standing: &Standing| !standing.is_spoilt && standing.settings == point.settings;
        if load.is_fresh || !self.standing.as_ref().is_some_and(can_stay) {
            self.take_down()?;
            self.start(point, load, overlay)?;
        } else {
            self.hold(&self.subject.start)?;
        }
        let which = &self.standing.as_ref().context("no stack stands")?.which;
        let running = which.running(self.workspace)?.context("the stack does not run any more")?;
        let mut database = Database::connect(&running.database)?;
        if self.standing.as_ref().is_some_and(|standing| standing.is_cold) {
            warm_up(&running.url, Vocabulary::default(), &mut database, 0)?;
            self.standing.iter_mut().for_each(|standing| standing.is_cold = false);
        }
        database.remove_everybody()?;
        database.checkpoint()?;
        if load.is_fresh { Ok(()) } else { self.hold(&point.limits) }
    }

    fn start(&mut self, point: &Point, load: &Load, overlay: &Path) -> anyhow::Result<()> {
        let mut under = overlay.to_owned();
        if !load.is_fresh {
            under = self.folder.join(format!("{}-start.yml", self.search.id));
            self.write_overlay(&Point { limits: self.subject.start.clone(), ..point.clone() }, &under, "")?;
        }
        let which = self.question.which.laid_over(under);
        // Before it is there: what is left of a start that fails goes too.
        self.standing =
            Some(Standing { which: which.clone(), settings: point.settings.clone(), is_spoilt: true, is_cold: true });
        // A service that dies is what the attempt came to.
        let install = Install::unless(self.question.no_install);
        which.up(self.workspace, Start { limits: true, restart: false, install, detours: None })?;
        Ok(())
    }

    /// Holds the stack that runs to other limits.
    fn hold(&self, limits: &[Limit]) -> anyhow::Result<()> {
        let which = &self.standing.as_ref().context("no stack stands")?.which;
        match which.engine {
            Engine::Native => which.native()?.hold(limits),
            Engine::Docker => {
                let running = which.running(self.workspace)?.context("the stack does not run any more")?;
                running.observe.iter().try_for_each(|(service, target)| hold_container(service, target, limits))
            }
        }
    }

    /// Ends the stack that stands, if one does.
    ///
    /// # Errors
    ///
    /// If something does not end.
    pub fn take_down(&mut self) -> anyhow::Result<()> {
        match self.standing.take() {
            Some(standing) => standing.which.down(self.workspace, true).map(drop),
            None => Ok(()),
        }
    }

    fn announce(&self, attempt: &Attempt) {
        if stderr().is_terminal() {
            let _ = write!(stderr(), "\r{:3} {} ...\x1b[K", self.search.attempts.len() + 1, self.head(attempt));
        }
    }

    fn head(&self, attempt: &Attempt) -> String {
        let (cpus, memory) = self.subject.by_group(&attempt.limits);
        let is_memory = attempt.aim == Aim::Memory;
        let shares = self.subject.groups.iter().zip(cpus).zip(memory).map(|((group, cpus), memory)| {
            let share = if is_memory { size(memory) } else { cpus.to_string() };
            format!("{} {share}", group.label())
        });
        let total = if is_memory { size(attempt.memory_bytes()) } else { format!("{:.3}", attempt.cpus()) };
        let settings = attempt.settings.iter().map(|(name, value)| format!("{name}={value}"));
        let parts: Vec<String> = shares.chain(settings).collect();
        format!("{:<7} {total:>6} ({})", attempt.aim, parts.join("; "))
    }

    fn tell(&self, attempt: &Attempt, is_reused: bool) {
        let start = if stderr().is_terminal() { "\r" } else { "" };
        let end = if stderr().is_terminal() { "\x1b[K" } else { "" };
        let reused = if is_reused { ", from before" } else { "" };
        let nth = self.search.attempts.len();
        eprintln!("{start}{nth:3} {}: {}{reused}{end}", self.head(attempt), told(attempt, self.search.figure));
    }
}

impl Drop for Attempts<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.take_down() {
            eprintln!("arena: ending the stack: {error:#}");
        }
        for end in [".yml", "-start.yml", ".nginx.conf", "-start.nginx.conf", ".log"] {
            // Most of them were never written.
            let _ = fs::remove_file(self.folder.join(format!("{}{end}", self.search.id)));
        }
    }
}

/// What came of an attempt, in a few words.
pub fn told(attempt: &Attempt, figure: Figure) -> String {
    let mut parts = vec![if attempt.passed { "passed" } else { "FAILED" }.to_owned()];
    parts.extend(attempt.p99.map(|p99| format!("p99 {} ms", grouped(p99))));
    if attempt.failed > 0 {
        parts.push(format!("{} of {} failed", grouped(attempt.failed as f64), grouped(attempt.requests as f64)));
    } else if let Some(reason) = attempt.reasons.first() {
        parts.push(reason.lines().next().unwrap_or_default().to_owned());
    }
    let other = figure.of(attempt).filter(|_| figure != Figure::P99);
    parts.extend(other.map(|value| format!("{} {}", grouped(value), figure.unit())));
    let throttled: Vec<String> =
        attempt.throttled().iter().map(|(service, share)| format!("{service} {share:.0} %")).collect();
    parts.extend((!throttled.is_empty()).then(|| format!("throttled {}", throttled.join(", "))));
    parts.join(", ")
}

fn hold_container(service: &str, target: &Target, limits: &[Limit]) -> anyhow::Result<()> {
    let limit = limits.iter().find(|limit| limit.service == *service);
    let (Target::Container(id), Some(cpus)) = (target, limit.and_then(|limit| limit.cpus)) else { return Ok(()) };
    let output = Command::new("docker").args(["update", "--cpus", &cpus.to_string(), id]).output();
    let output = output.context("starting docker; is it installed?")?;
    ensure!(output.status.success(), "docker update: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
