//! `arena league`: several entries of the contest in turn, each in a fresh state, and who stands where.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::fight::{self, FightArgs};
use crate::exit::{self, Exit};
use crate::read::report;
use crate::read::standings::{self, Standing};
use crate::record::history::{self, History};
use crate::record::league::{Bout, League, SCHEMA};
use crate::stack::entry::Entry;
use crate::terminal;
use crate::workspace::Workspace;

/// What this checkout's own stack is called.
const OWN: &str = "peleja";

/// Arguments of `arena league`.
#[derive(Debug, Args)]
pub struct LeagueArgs {
    /// Directories of entries; . is this checkout's own stack
    #[arg(required = true, value_name = "ENTRY")]
    entries: Vec<PathBuf>,
    /// How often each entry fights; its middle bout counts
    #[arg(long, default_value_t = 1, value_parser = RangedU64ValueParser::<u32>::new().range(1..=99))]
    rounds: u32,
    /// Begin anew, where the same league was interrupted before
    #[arg(long)]
    anew: bool,
    #[command(flatten)]
    fight: FightArgs,
}

/// Has the entries fight in turns, and prints the ranking. A league that was interrupted goes on where it was.
///
/// # Errors
///
/// If the user ends it, or something of the arena's own fails. What fails of an entry is a row of the ranking.
pub fn run(arguments: &LeagueArgs) -> anyhow::Result<Exit> {
    let workspace = Workspace::find()?;
    let Some(entries) = exit::accept(entries(arguments, &workspace)) else { return Ok(Exit::Usage) };
    exit::interruption()?;
    let folder = History::of_checkout()?.directory().join("leagues");
    let mut league = league(arguments, &entries, &folder);
    for round in 1..=arguments.rounds {
        for entry in entries.iter().filter(|entry| !league.has(&entry.name, round)).collect::<Vec<_>>() {
            eprintln!("arena: round {round} of {}: {}", arguments.rounds, entry.name);
            league.bouts.push(bout(arguments, &workspace, entry, round)?);
            league.save(&folder)?;
        }
    }
    let standings = standings(&league)?;
    league.ranking = standings.iter().map(|standing| standing.name.clone()).collect();
    publish(arguments, &league, &standings, &folder)
}

fn entries(arguments: &LeagueArgs, workspace: &Workspace) -> anyhow::Result<Vec<Entry>> {
    let unwanted = arguments.fight.entry.is_some() || arguments.fight.label.is_some();
    ensure!(!unwanted, "--entry and --label are for a single bout; a league takes the directories as they are");
    let entry = |folder: &PathBuf| match folder == Path::new(".") {
        true => Ok(Entry::at(workspace.root())?.called(OWN)),
        false => Entry::at(folder),
    };
    let entries: Vec<Entry> = arguments.entries.iter().map(entry).collect::<anyhow::Result<_>>()?;
    let mut names = BTreeSet::new();
    for entry in &entries {
        ensure!(
            names.insert(&entry.name),
            "two entries are called {}: an entry is called as its directory",
            entry.name
        );
        arguments.fight.against(entry).check(workspace)?;
    }
    Ok(entries)
}

/// The league that was interrupted, or a new one.
fn league(arguments: &LeagueArgs, entries: &[Entry], folder: &Path) -> League {
    let folders: Vec<String> = entries.iter().map(|entry| entry.folder.display().to_string()).collect();
    let asked = format!("{} rounds of {}: {}", arguments.rounds, folders.join(" "), arguments.fight.asked());
    if let Some(league) = League::unfinished(folder, &asked).filter(|_| !arguments.anew) {
        eprintln!("arena: going on after {} bouts of {} (--anew begins anew)", league.bouts.len(), league.id);
        return league;
    }
    League {
        schema: SCHEMA,
        id: history::new_id("league"),
        asked,
        entries: entries.iter().map(|entry| entry.name.clone()).collect(),
        rounds: arguments.rounds,
        bouts: Vec::new(),
        ranking: Vec::new(),
    }
}

fn bout(arguments: &LeagueArgs, workspace: &Workspace, entry: &Entry, round: u32) -> anyhow::Result<Bout> {
    let name = entry.name.clone();
    match fight::entry::fight(&arguments.fight.against(entry), workspace, entry) {
        Ok(run) => {
            fight::keep(&run)?;
            Ok(Bout { entry: name, round, run: Some(run.id), reason: None })
        }
        Err(_) if exit::is_interrupted() => bail!("interrupted; the same command goes on where it was"),
        Err(error) => {
            eprintln!("arena: {name}: {error:#}");
            Ok(Bout { entry: name, round, run: None, reason: Some(format!("{error:#}")) })
        }
    }
}

fn standings(league: &League) -> anyhow::Result<Vec<Standing>> {
    let mut standings = Vec::new();
    for name in &league.entries {
        let bouts: Vec<&Bout> = league.bouts.iter().filter(|bout| bout.entry == *name).collect();
        let runs = bouts.iter().filter_map(|bout| bout.run.as_ref()).map(|id| history::load(id));
        let reasons = bouts.iter().filter_map(|bout| bout.reason.clone()).collect();
        standings.push(Standing::new(name.clone(), runs.collect::<Result<_, _>>()?, reasons));
    }
    standings::rank(&mut standings);
    Ok(standings)
}

fn publish(arguments: &LeagueArgs, league: &League, standings: &[Standing], folder: &Path) -> anyhow::Result<Exit> {
    let document = league.save(folder)?;
    let page = document.with_extension("html");
    report::write_league(standings, &page)?;
    match arguments.fight.json {
        true => terminal::print_json(league)?,
        false => terminal::print(&format!("\n{}\n", standings::table(standings)))?,
    }
    eprintln!("arena: page      {}", page.display());
    eprintln!("arena: document  {}", document.display());
    let any = standings.iter().any(|standing| standing.run.is_some());
    Ok(if any { Exit::Good } else { Exit::Failed })
}
