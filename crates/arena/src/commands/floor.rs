//! `arena floor`: the smallest budget that passes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args as ClapArgs;

use super::tuning::attempts::{Attempts, Load, Point};
use super::tuning::memory;
use super::tuning::question::Question;
use super::tuning::show;
use super::tuning::split::{self, Tested};
use super::tuning::subject::{Subject, size};
use super::tuning::{peaks, seen, seen_of_memory};
use crate::exit::{self, Exit};
use crate::read::report;
use crate::record::metric::{Unit, grouped};
use crate::record::run::{Limit, Outcome, Run};
use crate::record::search::{Aim, Attempt, Figure, Found, Search, cpus, memory_bytes};
use crate::record::threshold::{self, Threshold};
use crate::terminal;
use crate::workspace::Workspace;

/// The 99th percentile in milliseconds that every kind of request has to stay below, unless the user says otherwise.
const P99: f64 = 250.0;

/// Attempts that narrow a total down, as a rule.
const USUAL: [usize; 2] = [9, 18];

/// Attempts at full length, as a rule.
const USUAL_WHOLE: [usize; 2] = [4, 14];

/// Short attempts that find the memory, as a rule.
const USUAL_MEMORY: usize = 7;

/// Full-length attempts before memory that keeps failing is given up.
const MEMORY_ROUNDS: usize = 4;

/// Passes in a row by which a service passes nine times in ten, at 95 %.
const SURE: u32 = 29;

/// Arguments of `arena floor`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
What stands behind -- goes to the driver's command, `cargo arena bench` or `cargo arena fight`.

  cargo arena floor --rate 740 --seconds 30 --write floor.yml
  cargo arena floor --entry ../an-entry --driver gatling --duration-factor 0.5
  cargo arena floor --pass 'create.p99<50ms' --pass 'failed<=0' -- --keep-alive")]
pub struct Args {
    #[command(flatten)]
    question: Question,
    /// What passes, such as create.p99<50ms. May be repeated [default: p99 under 250 ms for every kind of request]. No request
    /// may fail, and the verdict must be clean, whatever this says
    #[arg(long, value_name = "THRESHOLD")]
    pass: Vec<Threshold>,
    /// Leave the memory as it is
    #[arg(long)]
    cpu_only: bool,
    /// Write what was found as a Compose file to lay over the stack's own
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// Searches, and prints what was tried and found. [`Exit::Good`] only if the floor was confirmed.
///
/// # Errors
///
/// If the user ends it, or there is nothing to search on.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let workspace = Workspace::find()?;
    let Some(subject) = exit::accept(subject(args, &workspace)) else { return Ok(Exit::Usage) };
    args.question.check_machine(&workspace)?;
    announce(args, &subject);
    let pass = format!("{:?}", args.pass.iter().map(Threshold::to_string).collect::<Vec<_>>());
    let asked = ("floor", pass, goal(args), Figure::P99);
    let mut floor = Floor {
        args,
        subject: &subject,
        attempts: Attempts::begin(&args.question, &workspace, &subject, Vec::new(), asked)?,
    };
    let found = floor.search()?;
    floor.attempts.take_down()?;
    floor.attempts.search.found = Some(found);
    let document = floor.attempts.save()?;
    if let Some(file) = &args.write {
        floor.write(file)?;
    }
    publish(args, &subject, &floor.attempts.search, &document)
}

fn subject(args: &Args, workspace: &Workspace) -> anyhow::Result<Subject> {
    args.write.as_deref().map(Question::writable).transpose()?;
    args.question.subject(workspace)
}

fn goal(args: &Args) -> String {
    let bounds = match args.pass.is_empty() {
        true => vec![format!("p99 under {P99} ms for every kind of request")],
        false => args.pass.iter().map(Threshold::to_string).collect(),
    };
    format!("a clean verdict, {}", bounds.join(", "))
}

fn announce(args: &Args, subject: &Subject) {
    let question = &args.question;
    let memory = if args.cpu_only { 0 } else { USUAL_MEMORY };
    let [least, most] = [0, 1].map(|nth| show::estimate(question, subject, USUAL[nth] + memory, USUAL_WHOLE[nth]));
    eprintln!(
        "arena: {} to {} attempts of {:.0} s and {} to {} of {:.0} s: {} to {}; passes: {}",
        USUAL[0] + memory,
        USUAL[1] + memory,
        question.seconds(question.short),
        USUAL_WHOLE[0],
        USUAL_WHOLE[1],
        question.seconds(1.0),
        show::minutes(least),
        show::minutes(most),
        goal(args),
    );
}

struct Floor<'a> {
    args: &'a Args,
    subject: &'a Subject,
    attempts: Attempts<'a>,
}

impl Floor<'_> {
    fn search(&mut self) -> anyhow::Result<Found> {
        let (all, memory) = self.subject.start_by_group();
        let pool = self.subject.pool();
        let narrowed = split::narrow(&pool, &all, |cpus, aim| {
            let attempt = self.attempt(aim, cpus, &memory)?;
            Ok(seen(self.subject, &attempt))
        })?;
        let Some(narrowed) = narrowed else {
            let why = self.attempts.search.attempts.first().map(|attempt| attempt.reasons.join("; "));
            return Ok(Found {
                limits: self.subject.start.clone(),
                remarks: vec![format!("it fails with all that it may use: {}", why.unwrap_or_default())],
                ..Found::default()
            });
        };
        let tested = split::confirm(&pool, narrowed, &all, |cpus, aim| {
            let attempt = self.attempt(aim, cpus, &memory)?;
            Ok(seen(self.subject, &attempt))
        })?;
        let mut found = Found {
            limits: self.subject.limits(&tested.cpus, &memory),
            is_confirmed: tested.is_confirmed,
            remarks: self.remarks(&tested),
            ..Found::default()
        };
        if !self.args.cpu_only && tested.is_confirmed {
            self.shrink_memory(&tested.cpus, &mut found)?;
        }
        Ok(found)
    }

    fn attempt(&mut self, aim: Aim, cpus: &[f64], memory: &[u64]) -> anyhow::Result<Attempt> {
        let is_whole = matches!(aim, Aim::Confirm | Aim::Below);
        self.attempt_for(aim, if is_whole { 1.0 } else { self.args.question.short }, is_whole, cpus, memory)
    }

    fn attempt_for(
        &mut self,
        aim: Aim,
        share: f64,
        is_fresh: bool,
        cpus: &[f64],
        memory: &[u64],
    ) -> anyhow::Result<Attempt> {
        let load = Load { words: self.args.question.load(share), is_fresh, gives_up: true };
        let point = Point { limits: self.subject.limits(cpus, memory), settings: BTreeMap::new() };
        self.attempts.make(aim, point, &load, |run| missed(run, &self.args.pass))
    }

    /// What is to be said of how a floor did in its test.
    fn remarks(&self, tested: &Tested) -> Vec<String> {
        let pool = self.subject.pool();
        let shown = |cpus: &[f64]| format!("{:.3} CPUs", pool.total(cpus));
        let wrong = tested.wrong.iter().map(|cpus| {
            format!("{} did not stand the test of {} passes in a row at full length", shown(cpus), split::PASSES)
        });
        let too_high = tested
            .too_high
            .iter()
            .map(|cpus| format!("{} was no floor: a tenth less stood the same test", shown(cpus)));
        let verdict = match tested.is_confirmed {
            true => format!(
                "{} passed {} times in a row at full length, each on a stack that was started with so much, and a tenth less \
                 failed{}",
                shown(&tested.cpus),
                split::PASSES,
                match tested.passes_below {
                    0 => String::new(),
                    1 => " after it had passed once".to_owned(),
                    passes => format!(" after it had passed {passes} times"),
                }
            ),
            false => format!(
                "none of {} tests confirmed a floor: near {} what passes once fails another time, and this machine, or the stack, is \
                 too noisy for {} passes to tell. {SURE} passes in a row would say at 95 % that nine in ten pass",
                split::ROUNDS,
                shown(&tested.cpus),
                split::PASSES
            ),
        };
        wrong.chain(too_high).chain([verdict]).collect()
    }

    /// Finds the least memory, with all CPUs, so that whatever fails fails for memory; then with the floor's, at full length.
    fn shrink_memory(&mut self, floor: &[f64], found: &mut Found) -> anyhow::Result<()> {
        let (all, enough) = self.subject.start_by_group();
        let needs: Vec<u64> = self.subject.groups.iter().map(|group| group.need).collect();
        let held = peaks(self.subject, self.attempts.search.attempts.iter());
        let short = self.args.question.short;
        let mut least = memory::shrink(&enough, &held, &needs, |tried| {
            let attempt = self.attempt_for(Aim::Memory, short, true, &all, tried)?;
            Ok(seen_of_memory(self.subject, &attempt))
        })?;
        for _ in 0..MEMORY_ROUNDS {
            let attempt = self.attempt_for(Aim::Memory, 1.0, true, floor, &least)?;
            if attempt.passed {
                found.limits = self.subject.limits(floor, &least);
                found.remarks.extend(self.memory_remarks(&needs, &least));
                return Ok(());
            }
            let killed = seen_of_memory(self.subject, &attempt).killed;
            let nobody = !killed.contains(&true);
            for ((least, enough), killed) in least.iter_mut().zip(&enough).zip(killed) {
                if killed || nobody {
                    *least = memory::whole(*least + *least / 10).min(*enough);
                }
            }
        }
        found.is_confirmed = false;
        found.remarks.push(format!("no memory below {} passed at full length", size(memory_bytes(&found.limits))));
        Ok(())
    }

    fn memory_remarks(&self, needs: &[u64], least: &[u64]) -> Vec<String> {
        let groups = self.subject.groups.iter().zip(needs).zip(least);
        let bound = groups.filter(|((_, need), least)| memory::whole(**need) == **least && **need > 0).map(
            |((group, _), least)| {
                format!(
                    "{} has {}, which its settings need: fewer shared_buffers would let it have less",
                    group.label(),
                    size(*least)
                )
            },
        );
        let kills = self.attempts.search.attempts.iter().flat_map(|attempt| {
            attempt.services.iter().filter(|cost| cost.memory_kills > 0).map(|cost| {
                let limit = attempt.limits.iter().find(|limit| limit.service == cost.service);
                let limit = limit.and_then(|limit| limit.memory_bytes).unwrap_or_default();
                let peak = cost.memory_peak_bytes.unwrap_or_default();
                format!("{} was killed with {}: it held {}", cost.service, size(limit), Unit::Bytes.show(peak as f64))
            })
        });
        bound.chain(kills).collect()
    }

    fn write(&self, file: &Path) -> anyhow::Result<()> {
        let search = &self.attempts.search;
        let found = search.found.as_ref().context("nothing was found")?;
        let head = format!(
            "# The smallest budget of `cargo arena floor`, search {}: {}\n# {}.\n",
            search.id,
            search.goal,
            found.remarks.join(".\n# ")
        );
        let point = Point { limits: found.limits.clone(), settings: found.settings.clone() };
        self.attempts.write_overlay(&point, file, &head)
    }
}

/// What a run missed that it should have kept to.
fn missed(run: &Run, pass: &[Threshold]) -> Vec<String> {
    let mut reasons = match run.verdict().outcome {
        Outcome::Clean | Outcome::Suspect => Vec::new(),
        outcome if run.verdict().reasons.is_empty() => vec![outcome.to_string()],
        _ => run.verdict().reasons.clone(),
    };
    let killed = run.services.iter().filter(|cost| cost.memory_kills > 0);
    reasons.extend(killed.map(|cost| {
        let peak =
            cost.memory_peak_bytes.map_or_else(String::new, |peak| format!(" at {}", Unit::Bytes.show(peak as f64)));
        format!("{} was killed: its memory did not suffice{peak}", cost.service)
    }));
    reasons.extend(threshold::missed(run, &[], pass));
    let slow = run.requests.iter().filter(|kind| pass.is_empty() && kind.count > 0 && kind.response.p99 >= P99);
    reasons.extend(slow.map(|kind| format!("{}.p99 is {} ms", kind.kind, grouped(kind.response.p99))));
    reasons
}

fn publish(args: &Args, subject: &Subject, search: &Search, document: &Path) -> anyhow::Result<Exit> {
    let page = document.with_extension("html");
    report::write_search(search, &page)?;
    let found = search.found.as_ref().context("nothing was found")?;
    match args.question.json {
        true => terminal::print_json(search)?,
        false => terminal::print(&format!("\n{}\n\n{}\n", show::table(subject, search), conclusion(subject, found)))?,
    }
    if let Some(file) = &args.write {
        eprintln!("arena: overlay   {}", file.display());
    }
    eprintln!("arena: page      {}", page.display());
    eprintln!("arena: document  {}", document.display());
    Ok(if found.is_confirmed { Exit::Good } else { Exit::Failed })
}

fn conclusion(subject: &Subject, found: &Found) -> String {
    let word = if found.is_confirmed { "FLOOR" } else { "NOT CONFIRMED" };
    let split: Vec<String> = found.limits.iter().map(share).collect();
    let mut text = format!(
        "**{word}** of {}: {:.3} CPUs and {} in all: {}",
        subject.name,
        cpus(&found.limits),
        size(memory_bytes(&found.limits)),
        split.join(", ")
    );
    found.remarks.iter().for_each(|remark| text.push_str(&format!("\n- {remark}")));
    text
}

fn share(limit: &Limit) -> String {
    let Limit { service, cpus, memory_bytes } = limit;
    format!("{service} {} {}", cpus.unwrap_or_default(), size(memory_bytes.unwrap_or_default()))
}
