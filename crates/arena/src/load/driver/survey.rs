//! What a server knows once the load is over: searches for people who were answered with 201 must find them, and nobody
//! whom nobody stored.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::checks::{self, MOST_HITS, Person, Term};
use super::entry::Entry;
use super::feed::form_encoded;
use super::probe;
use super::roll::{Known, Roll, Sought};

/// People who are looked for.
const MOST_ASKED: usize = 64;

/// Characters of a term. Among the event's names nobody shares so many with more than a few.
const TERM: usize = 16;

/// How long all searches together may take; what is left then is not asked.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the searches found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Searches that were sent.
    pub asked: u64,
    /// Searches that should have been.
    pub intended: u64,
    /// What was wrong with an answer, and with how many.
    pub faults: BTreeMap<String, u64>,
}

impl Survey {
    /// Asks a server for people of the roll.
    pub fn take(entry: &Entry, roll: &Roll<'_>) -> Self {
        let deadline = Instant::now() + PATIENCE;
        let sample = roll.sample(MOST_ASKED);
        let mut survey = Self { intended: sample.len() as u64, ..Self::default() };
        for sought in sample {
            if Instant::now() >= deadline {
                break;
            }
            survey.asked += 1;
            if let Err(fault) = look_for(entry, roll, sought) {
                *survey.faults.entry(fault).or_default() += 1;
            }
        }
        survey
    }
}

fn look_for(entry: &Entry, roll: &Roll<'_>, sought: Sought<'_>) -> Result<(), String> {
    let term = term(sought.name);
    let path = format!("{}?{}={}", entry.people_path, entry.search_parameter, form_encoded(&term));
    let (status, body) = probe::get(entry, &path).map_err(|error| format!("are not answered: {error:#}"))?;
    if status != 200 {
        return Err(format!("are answered with status {status}"));
    }
    let found = checks::found(&body, &Term::new(&term)).map_err(|fault| format!("get a wrong answer: {fault}"))?;
    for hit in &found {
        let known = roll.know(hit).map_err(|wrong| format!("find somebody {wrong}"))?;
        if known == Known::Stranger {
            ask_for(entry, hit)?;
        }
    }
    let is_there = found.iter().any(|hit| hit.nickname() == sought.nickname);
    match is_there || found.len() == MOST_HITS {
        true => Ok(()),
        false => Err("do not find the person they are for, who was answered with 201".to_owned()),
    }
}

/// The middle of a name as it was sent: not every server takes upper and lower case for the same, and one may take the
/// spaces around a term for nothing.
fn term(name: &str) -> String {
    let spare = name.chars().count().saturating_sub(TERM) / 2;
    let middle: String = name.chars().skip(spare).take(TERM).collect();
    match middle.trim() {
        "" => name.trim().to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

/// Whether somebody who may have been there before the load is there at all.
fn ask_for(entry: &Entry, stranger: &Person<'_>) -> Result<(), String> {
    let id = stranger.id().unwrap_or_default();
    let is_there = probe::get(entry, &format!("{}/{id}", entry.people_path))
        .is_ok_and(|(status, body)| status == 200 && Person::parse(&body).is_some_and(|stored| stored.same(stranger)));
    if is_there { Ok(()) } else { Err("find somebody whom nobody stored".to_owned()) }
}
