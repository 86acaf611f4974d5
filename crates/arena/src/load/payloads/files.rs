//! The files on disk: written whole or not at all, kept when they already say the same.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::event::{TERMS, people, terms};
use super::hard::hard_cases;
use super::oracle::vocabulary_of;
use crate::load::vocabulary::Vocabulary;

const PAYLOADS_HEADER: &str = "payload";
const TERMS_HEADER: &str = "t";
const HARD_HEADER: &str = "payload\tstatus\tname";

/// Where the files of one vocabulary are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Header `payload`, then one row of JSON a line.
    pub payloads: PathBuf,
    /// Header `t`, then one search term a line.
    pub terms: PathBuf,
}

impl Files {
    /// The files' paths in `dir`, whether or not they are there.
    pub fn at(dir: &Path, vocabulary: Vocabulary) -> Self {
        let (payloads, terms) = match vocabulary {
            Vocabulary::Users => ("users-payloads.tsv", "search-terms.tsv"),
            Vocabulary::Pessoas => ("pessoas-payloads.tsv", "termos-busca.tsv"),
        };
        Self { payloads: dir.join(payloads), terms: dir.join(terms) }
    }
}

/// A file that was written, with what two people compare to know that they hold the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Where it is.
    pub path: PathBuf,
    /// Lines after the header.
    pub rows: u64,
    /// Size.
    pub bytes: u64,
    /// Of the whole file, in hexadecimal.
    pub sha256: String,
}

/// Sees to it that `dir` holds the payloads and search terms ([`TERMS`] of them) that `seed` stands for. Files that
/// already say the same are left as they are; others are replaced.
///
/// # Errors
/// The directory or a file cannot be read or written.
pub fn ensure(dir: &Path, vocabulary: Vocabulary, rows: u64, seed: u64) -> Result<Files> {
    let files = Files::at(dir, vocabulary);
    if !says(&files.payloads, payload_lines(vocabulary, rows, seed))? {
        write(&files.payloads, payload_lines(vocabulary, rows, seed))?;
    }
    if !says(&files.terms, term_lines(TERMS, seed))? {
        write(&files.terms, term_lines(TERMS, seed))?;
    }
    Ok(files)
}

/// In which words a payload file speaks of people.
///
/// # Errors
/// The file cannot be read or is not a payload file.
pub fn vocabulary(path: &Path) -> Result<Vocabulary> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(rows(path, &text)?.0)
}

/// The rows of a payload file, and in which words they speak.
pub(super) fn rows<'a>(path: &Path, text: &'a [u8]) -> Result<(Vocabulary, impl Iterator<Item = &'a [u8]> + Clone)> {
    let mut lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    if lines.next() != Some(PAYLOADS_HEADER.as_bytes()) {
        bail!("{} is not a payload file: its first line is not `{PAYLOADS_HEADER}`", path.display());
    }
    let rows = lines.filter(|line| !line.is_empty());
    let Some(vocabulary) = rows.clone().find_map(vocabulary_of) else {
        bail!("{} is not a payload file: no row has a `nickname` or an `apelido`", path.display());
    };
    Ok((vocabulary, rows))
}

/// Writes the payloads and the search terms that `seed` stands for, replacing what is there.
///
/// # Errors
/// The directory or a file cannot be written.
pub fn write_event(dir: &Path, vocabulary: Vocabulary, rows: u64, term_rows: u64, seed: u64) -> Result<Vec<Written>> {
    let files = Files::at(dir, vocabulary);
    Ok(vec![
        write(&files.payloads, payload_lines(vocabulary, rows, seed))?,
        write(&files.terms, term_lines(term_rows, seed))?,
    ])
}

/// Writes the hard cases that `seed` stands for, replacing what is there.
///
/// # Errors
/// The directory or the file cannot be written.
pub fn write_hard(dir: &Path, vocabulary: Vocabulary, rows: u64, seed: u64) -> Result<Written> {
    let path = dir.join(format!("{}-hard.tsv", vocabulary.name()));
    let lines = hard_cases(vocabulary, seed).map(|case| {
        let payload = BASE64_STANDARD.encode(&case.body);
        format!("{payload}\t{}\t{}", case.status, case.name)
    });
    write(&path, with_header(HARD_HEADER, rows, lines))
}

fn payload_lines(vocabulary: Vocabulary, rows: u64, seed: u64) -> impl Iterator<Item = String> {
    let lines = people(seed).map(move |person| person.json(vocabulary));
    with_header(PAYLOADS_HEADER, rows, lines)
}

fn term_lines(rows: u64, seed: u64) -> impl Iterator<Item = String> {
    with_header(TERMS_HEADER, rows, terms(seed))
}

fn with_header(header: &str, rows: u64, lines: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    std::iter::once(header.to_owned()).chain(lines.take(rows))
}

/// Whether the file is there and holds `lines`, no more and no fewer.
fn says(path: &Path, lines: impl Iterator<Item = String>) -> Result<bool> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let mut there = BufReader::new(file).split(b'\n');
    for line in lines {
        match there.next() {
            Some(Ok(same)) if same == line.as_bytes() => {}
            _ => return Ok(false),
        }
    }
    Ok(there.next().is_none())
}

/// Writes `lines` beside `path` and then renames, so that a reader sees the old file, the new one, or none.
fn write(path: &Path, lines: impl Iterator<Item = String>) -> Result<Written> {
    write_whole(path, lines).with_context(|| format!("cannot write {}", path.display()))
}

fn write_whole(path: &Path, lines: impl Iterator<Item = String>) -> Result<Written> {
    let dir = path.parent().unwrap_or(Path::new(""));
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    fs::create_dir_all(dir)?;
    // A temporary file is private by default, but a load tool in a container reads as somebody else.
    let mut file =
        tempfile::Builder::new().prefix(".payloads-").permissions(Permissions::from_mode(0o666)).tempfile_in(dir)?;

    let mut hash = Sha256::new();
    let mut rows = 0;
    let mut bytes = 0;
    let mut writer = BufWriter::new(&mut file);
    for mut line in lines {
        line.push('\n');
        writer.write_all(line.as_bytes())?;
        hash.update(&line);
        rows += 1;
        bytes += line.len() as u64;
    }
    writer.flush()?;
    drop(writer);
    file.persist(path)?;
    Ok(Written {
        path: path.to_owned(),
        rows: rows - 1,
        bytes,
        sha256: hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}
