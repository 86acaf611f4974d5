//! The lines of `simulation.log`: tab-separated fields in the order in which Gatling 3.4 to 3.11 write them.

use std::io::BufRead;

use anyhow::{Context, bail};

/// One line of `simulation.log`. Times are milliseconds since 1970.
#[derive(Debug, PartialEq)]
pub enum Record<'a> {
    /// The run's header.
    Run {
        simulation: &'a str,
        version: &'a str,
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
    /// Reads one line, without its line end.
    ///
    /// # Errors
    ///
    /// A line of a known kind whose fields are not what Gatling 3.4 to 3.11 write.
    pub fn parse(line: &'a str) -> anyhow::Result<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        Ok(match fields[..] {
            ["RUN", simulation, _, _, _, version] => Self::Run { simulation, version: version.trim() },
            ["USER", _, "START", at] => Self::UserStart { at: millis(at)? },
            ["USER", _, "END", _] => Self::UserEnd,
            ["REQUEST", _, name, start, end, "OK", _] => {
                Self::Request { name, start: millis(start)?, end: millis(end)?, failure: None }
            }
            ["REQUEST", _, name, start, end, "KO", message] => {
                Self::Request { name, start: millis(start)?, end: millis(end)?, failure: Some(message.trim()) }
            }
            ["ERROR", message, _] => Self::Error { message: message.trim() },
            ["RUN" | "USER" | "REQUEST" | "ERROR", ..] => bail!("not as Gatling 3.4 to 3.11 write it: {line:?}"),
            _ => Self::Other,
        })
    }
}

/// Gives every whole line of a log to `take`; a last line without line end was cut off and is left out.
pub fn for_each_line(log: &mut impl BufRead, mut take: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        log.read_until(b'\n', &mut line)?;
        let Some(whole) = line.strip_suffix(b"\n") else {
            return Ok(());
        };
        take(&String::from_utf8_lossy(whole)).with_context(|| format!("line {number}"))?;
    }
    Ok(())
}

fn millis(field: &str) -> anyhow::Result<u64> {
    field.parse().with_context(|| format!("{field:?} is not a time in milliseconds"))
}
