//! The lines of `simulation.log`: tab-separated fields in the order in which Gatling 3.4 to 3.11 write them.

use std::io::BufRead;

use anyhow::{Context, bail, ensure};

/// One line of `simulation.log`. Times are milliseconds since 1970.
#[derive(Debug, PartialEq)]
pub enum Record<'a> {
    /// The run's header.
    Run {
        simulation: &'a str,
        version: &'a str,
        at: u64,
    },
    UserStart {
        at: u64,
    },
    UserEnd,
    Request {
        name: &'a str,
        start: u64,
        end: u64,
        failure: Option<&'a str>,
    },
    /// Something that went wrong outside of a request, such as one that could not be built.
    Error {
        message: &'a str,
    },
    /// A line that says nothing about requests or users.
    Other,
}

impl<'a> Record<'a> {
    /// Reads one line, without its line end. A message may hold tabs of its own.
    ///
    /// # Errors
    ///
    /// A line of a known kind whose fields are not what Gatling 3.4 to 3.11 write.
    pub fn parse(line: &'a str) -> anyhow::Result<Self> {
        let fields: Vec<&str> = line.splitn(7, '\t').collect();
        Ok(match fields[..] {
            ["RUN", simulation, _, at, _, version] => {
                Self::Run { simulation, version: version.trim(), at: millis(at)? }
            }
            ["USER", _, "START", at] => Self::UserStart { at: millis(at)? },
            ["USER", _, "END", _] => Self::UserEnd,
            ["REQUEST", _, name, start, end, result @ ("OK" | "KO"), message] => {
                let (start, end) = (millis(start)?, millis(end)?);
                ensure!(start <= end, "a request that ended before it started: {line:?}");
                Self::Request { name, start, end, failure: (result == "KO").then(|| message.trim()) }
            }
            ["ERROR", _, _, ..] => {
                let (message, _) = line.rsplit_once('\t').unwrap_or_default();
                Self::Error { message: message.trim_start_matches("ERROR").trim() }
            }
            ["RUN" | "USER" | "REQUEST" | "ERROR", ..] => bail!("not as Gatling 3.4 to 3.11 write it: {line:?}"),
            _ => Self::Other,
        })
    }

    fn times(&self) -> [Option<u64>; 2] {
        match self {
            Self::UserStart { at } => [Some(*at), None],
            Self::Request { start, end, .. } => [Some(*start), Some(*end)],
            _ => [None, None],
        }
    }
}

/// What of a log could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Lines that could not be read.
    lines: u64,
    /// The number of the first of them, and what is wrong with it.
    first: Option<String>,
    /// Whether the last line has no end.
    torn: bool,
}

impl Missing {
    /// What is missing, and how often.
    pub fn errors(self) -> impl Iterator<Item = (String, u64)> {
        let lines = self.lines;
        let unreadable =
            self.first.map(|first| (format!("a line of Gatling's log cannot be read, first {first}"), lines));
        let torn = self.torn.then(|| ("Gatling's log ends in the middle of a line".to_owned(), 1));
        unreadable.into_iter().chain(torn)
    }
}

/// Gives every record of a log to `take`, and passes over what cannot be read: lines that are none of Gatling's, a last
/// line without its end, and times further than `span` milliseconds from the run's start.
///
/// # Errors
///
/// The log cannot be read at all.
pub fn for_each_record(log: &mut impl BufRead, span: u64, mut take: impl FnMut(&Record)) -> anyhow::Result<Missing> {
    let mut missing = Missing::default();
    let mut line = Vec::new();
    let mut run_at = None;
    for number in 1.. {
        line.clear();
        log.read_until(b'\n', &mut line)?;
        let Some(whole) = line.strip_suffix(b"\n") else { break };
        let text = String::from_utf8_lossy(whole);
        let record = Record::parse(&text).and_then(|record| {
            if let Record::Run { at, .. } = record {
                run_at.get_or_insert(at);
            }
            let is_near = |at: u64| run_at.is_none_or(|run| at.abs_diff(run) <= span);
            ensure!(record.times().into_iter().flatten().all(is_near), "at another time than the run: {text:?}");
            Ok(record)
        });
        match record {
            Ok(record) => take(&record),
            Err(error) => {
                missing.lines += 1;
                missing.first.get_or_insert_with(|| format!("line {number}: {error:#}"));
            }
        }
    }
    missing.torn = !line.is_empty();
    Ok(missing)
}

fn millis(field: &str) -> anyhow::Result<u64> {
    field.parse().with_context(|| format!("{field:?} is not a time in milliseconds"))
}
