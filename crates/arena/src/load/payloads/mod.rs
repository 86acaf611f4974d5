//! `arena payloads`: the files that feed a bout, the same for the same seed everywhere, and what a correct server holds
//! after them.

mod event;
mod files;
mod hard;
mod oracle;
pub mod random;

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::Result;
use clap::builder::RangedU64ValueParser;
use serde::Serialize;

pub use event::{Person, people, terms};
pub use files::{Files, Written, ceiling, ensure, vocabulary};
pub use hard::{HardCase, hard_cases};
pub use oracle::Oracle;

use crate::exit::Exit;
use crate::load::vocabulary::Vocabulary;
use crate::terminal;
use crate::workspace::Workspace;

/// Rows of a payload file in the event.
pub const ROWS: u64 = 100_000;
/// Rows of a file of search terms in the event.
pub const TERMS: u64 = 5_000;
/// Creates that the event's simulation sends.
pub const EVENT_CREATES: u64 = 54_635;
/// The first seed whose ceiling after [`EVENT_CREATES`] rows is 46,576, that of the event's own file.
pub const SEED: u64 = 233;

const HARD_ROWS: u64 = 10_000;
const SCHEMA: u32 = 1;

/// Writes the payloads and search terms of a bout, or tells how many people a correct server holds after them.
///
/// The same seed gives the same bytes on every machine and in every version.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The words in which the API is spoken to, which also name the files: users-payloads.tsv and search-terms.tsv,
    /// or pessoas-payloads.tsv and termos-busca.tsv
    #[arg(long, value_enum, default_value_t)]
    vocabulary: Vocabulary,
    /// Payload rows to make [default: 100000, with --hard 10000]
    #[arg(long, value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    rows: Option<u64>,
    /// Search terms to make
    #[arg(long, default_value_t = TERMS, value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    terms: u64,
    /// What the rows and terms are made from; by default one whose ceiling is that of the event's file
    #[arg(long, default_value_t = SEED)]
    seed: u64,
    /// Directory to write to; made when missing [default: gatling/resources of the checkout]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write nothing; print how many people a correct server holds after this many rows were sent in order, starting
    /// over at the end of the file
    #[arg(long, value_name = "ROWS")]
    ceiling: Option<u64>,
    /// Tell the ceiling of this payload file, of either vocabulary, instead of the seed's
    #[arg(long, value_name = "TSV", requires = "ceiling", conflicts_with_all = ["rows", "seed", "vocabulary"])]
    file: Option<PathBuf>,
    /// Write VOCABULARY-hard.tsv instead: all that the event's data never had, each row with the status it must get
    /// when the rows are sent in order to an empty table. Columns: payload in base64 (rows hold line ends, NUL and
    /// bytes that are not UTF-8), status, name
    #[arg(long, conflicts_with_all = ["ceiling", "terms"])]
    hard: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Args {
    fn directory(&self) -> Result<PathBuf> {
        match &self.out {
            Some(directory) => Ok(directory.clone()),
            None => Ok(Workspace::find()?.path("gatling/resources")),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// A file cannot be read or written, or is not a payload file.
pub fn run(args: Args) -> Result<Exit> {
    match (args.ceiling, args.hard) {
        (Some(sent), _) => print_ceiling(&args, sent),
        (None, true) => write_hard(&args),
        (None, false) => write_event(&args),
    }?;
    Ok(Exit::Good)
}

fn print_ceiling(args: &Args, sent: u64) -> Result<()> {
    let people = match &args.file {
        Some(file) => ceiling(file, sent)?,
        None => seed_ceiling(args.seed, sent.min(args.rows.unwrap_or(ROWS))),
    };
    if args.json {
        return terminal::print_json(&CeilingDocument { schema: SCHEMA, rows_sent: sent, people });
    }
    terminal::print(&format!("{people}\n"))
}

fn write_hard(args: &Args) -> Result<()> {
    let written = files::write_hard(&args.directory()?, args.vocabulary, args.rows.unwrap_or(HARD_ROWS), args.seed)?;
    if args.json {
        let files = vec![written];
        return terminal::print_json(&FilesDocument { schema: SCHEMA, seed: args.seed, files, ceilings: Vec::new() });
    }
    terminal::print(&told(&written))
}

fn write_event(args: &Args) -> Result<()> {
    let rows = args.rows.unwrap_or(ROWS);
    let files = files::write_event(&args.directory()?, args.vocabulary, rows, args.terms, args.seed)?;
    let ceilings = [EVENT_CREATES, rows].map(|rows_sent| CeilingDocument {
        schema: SCHEMA,
        rows_sent,
        people: seed_ceiling(args.seed, rows_sent.min(rows)),
    });
    if args.json {
        return terminal::print_json(&FilesDocument {
            schema: SCHEMA,
            seed: args.seed,
            files,
            ceilings: ceilings.into(),
        });
    }
    let mut text: String = files.iter().map(told).collect();
    for CeilingDocument { rows_sent, people, .. } in ceilings {
        text.push_str(&format!("ceiling after {rows_sent} rows sent: {people} people\n"));
    }
    terminal::print(&text)
}

/// How many people a correct server holds after the first `rows` rows of a seed.
fn seed_ceiling(seed: u64, rows: u64) -> u64 {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    let nicknames: HashSet<String> =
        people(seed).take(rows).filter(|person| person.status == 201).map(|person| person.nickname).collect();
    nicknames.len() as u64
}

#[derive(Serialize)]
struct FilesDocument {
    schema: u32,
    seed: u64,
    files: Vec<Written>,
    ceilings: Vec<CeilingDocument>,
}

#[derive(Serialize)]
struct CeilingDocument {
    schema: u32,
    rows_sent: u64,
    people: u64,
}

fn told(written: &Written) -> String {
    let Written { path, rows, bytes, sha256 } = written;
    format!("{}: {rows} rows, {bytes} bytes, SHA-256 {sha256}\n", path.display())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Long enough for every rare kind of row to come up hundreds of times.
    const MANY: usize = 100_000;

    #[test]
    fn default_seed_is_the_first_with_the_ceiling_of_the_events_file() {
        assert_eq!(seed_ceiling(SEED, EVENT_CREATES), 46_576);
        assert!((0..3).all(|seed| seed_ceiling(seed, EVENT_CREATES) != 46_576));
    }

    #[test]
    fn oracle_agrees_with_what_is_known_of_the_events_rows() {
        for (vocabulary, rows) in [(Vocabulary::Users, MANY), (Vocabulary::Pessoas, MANY / 10)] {
            let mut oracle = Oracle::new(vocabulary);
            let mut taken = HashSet::new();
            for person in people(1).take(rows) {
                let body = person.json(vocabulary);
                let known = match person.status {
                    201 if !taken.insert(person.nickname) => 422,
                    status => status,
                };
                assert_eq!(oracle.create(body.as_bytes()), known, "{body}");
            }
            assert_eq!(oracle.people(), seed_ceiling(1, rows as u64));
        }
    }

    #[test]
    fn oracle_agrees_with_what_is_known_of_the_hard_cases() {
        for (vocabulary, rows) in [(Vocabulary::Users, 20_000), (Vocabulary::Pessoas, 5_000)] {
            let mut oracle = Oracle::new(vocabulary);
            for case in hard_cases(vocabulary, 2).take(rows) {
                let body = String::from_utf8_lossy(&case.body);
                assert_eq!(oracle.create(&case.body), case.status, "{}: {body}", case.name);
            }
        }
    }

    #[test]
    fn hard_cases_cover_every_status_often() {
        let mut count: HashMap<u16, usize> = HashMap::new();
        for case in hard_cases(Vocabulary::Users, 1).take(20_000) {
            *count.entry(case.status).or_default() += 1;
        }
        for (status, least) in [(201, 4_000), (400, 4_000), (413, 100), (422, 2_000)] {
            assert!(count[&status] >= least, "{status}: {count:?}");
        }
    }

    #[test]
    fn rows_are_distributed_as_the_events() {
        let rows: Vec<Person> = people(1).take(MANY).collect();
        let per_mille = |count: usize| count * 1_000 / MANY;
        let share = |test: &dyn Fn(&Person) -> bool| per_mille(rows.iter().filter(|row| test(row)).count());

        assert_eq!(share(&|row| row.nickname.len() == 35), 1_000 / 99);
        assert_eq!(share(&|row| row.fullname.len() == 120), 1_000 / 99);
        let months = |month: &str| share(&|row| row.json(Vocabulary::Users).contains(&format!("-{month}-")));
        assert_eq!(months("13"), 76, "98 in 99 times 1 in 13");
        assert_eq!(
            share(&|row| row.json(Vocabulary::Users).ends_with("\"stack\": null}")),
            70,
            "98 in 99 times 1 in 14"
        );
        let lengths: std::collections::BTreeSet<usize> = rows.iter().map(|row| row.nickname.len()).collect();
        assert!(lengths.into_iter().eq((1..=32).chain([35])));
        let lengths: std::collections::BTreeSet<usize> = rows.iter().map(|row| row.fullname.len()).collect();
        assert!(lengths.into_iter().eq((1..=100).chain([120])));
    }

    #[test]
    fn terms_are_stripped_and_never_empty() {
        for term in terms(1).take(5_000) {
            assert!((1..=50).contains(&term.len()));
            assert_eq!(term, term.trim());
        }
        assert!(terms(1).take(MANY).any(|term| term == "x"));
    }

    #[test]
    fn vocabularies_differ_in_keys_only() {
        let users: Vec<String> = people(3).take(100).map(|person| person.json(Vocabulary::Users)).collect();
        let pessoas = people(3).take(100).map(|person| {
            let json = person.json(Vocabulary::Pessoas);
            json.replace("\"apelido\"", "\"nickname\"")
                .replace("\"nome\"", "\"fullname\"")
                .replace("\"nascimento\"", "\"dob\"")
        });
        assert!(pessoas.eq(users));
    }
}
