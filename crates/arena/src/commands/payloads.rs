//! `arena payloads`: the files that feed a bout, the same for the same seed everywhere, and what a correct server holds
//! after them.

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::RangedU64ValueParser;
use serde::Serialize;

use crate::exit::Exit;
use crate::load::payloads::{self, Ceiling, EVENT_CREATES, ROWS, SEED, TERMS, Written};
use crate::load::vocabulary::Vocabulary;
use crate::terminal;
use crate::workspace::Workspace;

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
        Some(file) => payloads::ceiling(file, sent)?,
        None => Ceiling::of_seed(args.seed, sent.min(args.rows.unwrap_or(ROWS))).after(sent),
    };
    if args.json {
        return terminal::print_json(&CeilingDocument { schema: SCHEMA, rows_sent: sent, people });
    }
    terminal::print(&format!("{people}\n"))
}

fn write_hard(args: &Args) -> Result<()> {
    let written = payloads::write_hard(&args.directory()?, args.vocabulary, args.rows.unwrap_or(HARD_ROWS), args.seed)?;
    if args.json {
        let files = vec![written];
        return terminal::print_json(&FilesDocument { schema: SCHEMA, seed: args.seed, files, ceilings: Vec::new() });
    }
    terminal::print(&told(&written))
}

fn write_event(args: &Args) -> Result<()> {
    let rows = args.rows.unwrap_or(ROWS);
    let files = payloads::write_event(&args.directory()?, args.vocabulary, rows, args.terms, args.seed)?;
    let ceiling = Ceiling::of_seed(args.seed, rows);
    let ceilings = [EVENT_CREATES, rows].map(|rows_sent| CeilingDocument {
        schema: SCHEMA,
        rows_sent,
        people: ceiling.after(rows_sent),
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
