//! What a torment leaves: every request with its answer, every fault, and the table in the end.
//!
//! Kept as one file of lines, each a JSON document: what was asked for, then requests and faults in the order in which they
//! ended, then the rows. [`check`] says what is wrong with it, and can be asked again at any time.

pub mod check;
mod pieces;
pub mod recovery;
pub mod report;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

/// Of the file's format.
const SCHEMA: u32 = 1;

/// How many clients ask at the same time where nobody says otherwise.
pub const CLIENTS: u16 = 12;

/// What a header names as its engine where faults were brought about on the hosts of a cluster.
pub const CLUSTER: &str = "cluster";

/// Somebody as stored, or as an answer says. All texts are byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The server's id.
    pub id: String,
    /// What was sent of them.
    #[serde(flatten)]
    pub details: Details,
}

/// What a create sends of a person.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Details {
    /// Unique among all.
    pub nickname: String,
    /// Any text.
    pub fullname: String,
    /// `YYYY-MM-DD`.
    pub dob: String,
    /// Nothing, or at least one text.
    pub stack: Option<Vec<String>>,
}

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asked {
    /// To store somebody.
    Create(Details),
    /// For the person of an id.
    Fetch(String),
    /// For all whose texts contain a term.
    Search(String),
    /// For the number of people.
    Count,
}

impl Asked {
    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Fetch(_) => "fetch",
            Self::Search(_) => "search",
            Self::Count => "count",
        }
    }
}

/// What a successful answer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// The id of who was stored.
    Id(String),
    /// Who was found, in their order.
    People(Vec<Person>),
    /// How many there are.
    Number(u64),
    /// Something that is none of these; its beginning.
    Nonsense(String),
}

/// A request and what became of it. Times are microseconds of a monotonic clock since the load began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Which client sent it.
    pub client: u16,
    /// When it was about to be sent.
    pub begin: u64,
    /// When its answer was whole, or the client knew that there would be none.
    pub end: u64,
    /// What for.
    pub asked: Asked,
    /// The answer's status; none without an answer.
    pub status: Option<u16>,
    /// What a successful answer said.
    pub said: Option<Said>,
}

impl Request {
    /// Whether the service failed: it gave no answer, or said itself that it could not.
    pub fn failed(&self) -> bool {
        self.status.is_none_or(|status| status >= 500)
    }
}

/// A fault that was brought about. Times as those of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Its name, such as `kill-api1`.
    pub name: String,
    /// When it began.
    pub begin: u64,
    /// When it was undone; for a process that was killed or told to end, when it began.
    pub end: u64,
    /// When the process that was to come back was there again, ready.
    pub back: Option<u64>,
}

/// What was asked for, and over what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Of this format.
    pub schema: u32,
    /// A name of its own.
    pub id: String,
    /// The wall clock at the beginning.
    pub started: String,
    /// Of load and schedule.
    pub seed: u64,
    /// How long faults were to be brought about.
    pub seconds: f64,
    /// How many clients asked at the same time.
    #[serde(default = "clients")]
    pub clients: u16,
    /// What ran the services.
    pub engine: String,
    /// The commit that was checked out.
    pub commit: Option<String>,
    /// Faults that could not be tried there, with the reason.
    pub skipped: Vec<(String, String)>,
}

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// What was asked for.
    pub header: Header,
    /// Every request.
    pub requests: Vec<Request>,
    /// Every fault, in order.
    pub faults: Vec<Fault>,
    /// The table once all had come to rest.
    pub rows: Vec<Person>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Torment(Header),
    Request(Request),
    Fault(Fault),
    Row(Person),
}

impl Header {
    /// A header of this version's format, nothing said yet.
    pub fn new(id: String) -> Self {
        Self {
            schema: SCHEMA,
            id,
            started: jiff::Timestamp::now().to_string(),
            seed: 0,
            seconds: 0.0,
            clients: CLIENTS,
            engine: String::new(),
            commit: None,
            skipped: Vec::new(),
        }
    }
}

/// Of a header that does not say.
fn clients() -> u16 {
    CLIENTS
}

impl History {
    /// Writes the file; one that is there is replaced.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let folder = path.parent().context("a file has a folder")?;
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let mut out = BufWriter::new(file);
        let lines = std::iter::once(Line::Torment(self.header.clone()))
            .chain(self.requests.iter().cloned().map(Line::Request))
            .chain(self.faults.iter().cloned().map(Line::Fault))
            .chain(self.rows.iter().cloned().map(Line::Row));
        for line in lines {
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")?;
        }
        out.flush().with_context(|| path.display().to_string())
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is of another format; with the number of the line.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let (mut header, mut requests, mut faults, mut rows) = (None, Vec::new(), Vec::new(), Vec::new());
        for (line, number) in BufReader::new(file).lines().zip(1..) {
            let place = || format!("{}, line {number}", path.display());
            match serde_json::from_str(&line.with_context(place)?).with_context(place)? {
                Line::Torment(read) => header = Some(read),
                Line::Request(request) => requests.push(request),
                Line::Fault(fault) => faults.push(fault),
                Line::Row(row) => rows.push(row),
            }
        }
        let Some(header) = header else { bail!("{} does not say what was asked for", path.display()) };
        ensure!(header.schema == SCHEMA, "{} is of format {}, not {SCHEMA}", path.display(), header.schema);
        Ok(Self { header, requests, faults, rows })
    }
}
