//! What the users send: payload rows and search terms, in the order of their files, starting over at the end.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, bail};

use super::checks::{Person, Term};
use crate::load::payloads::{Ceiling, Oracle};
use crate::load::vocabulary::Vocabulary;

/// The status of a create whose nickname somebody has.
const TAKEN: u16 = 422;

/// What a correct server answers to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// 201, unless the nickname was there before the run.
    Created,
    /// 201, or 422 if a row with the same nickname came first.
    CreatedOrTaken,
    /// This status.
    Refused(u16),
}

/// The rows and terms of one run.
#[derive(Debug)]
pub struct Feed {
    text: Vec<u8>,
    rows: Vec<Row>,
    ceiling: Ceiling,
    terms: Vec<(String, Term)>,
}

#[derive(Debug)]
struct Row {
    range: Range<usize>,
    expected: Expected,
}

impl Row {
    /// The nickname that the row brings to a server on which nobody is.
    fn nickname(&self, text: &[u8]) -> Option<String> {
        let is_valid = !matches!(self.expected, Expected::Refused(_));
        let person = Person::parse(&text[self.range.clone()]).filter(|_| is_valid)?;
        Some(person.nickname().to_owned())
    }
}

impl Feed {
    /// Reads a file of payloads (header `payload`) and one of search terms (header `t`).
    ///
    /// # Errors
    ///
    /// A file cannot be read, has another header, or nothing after it.
    pub fn load(payloads: &Path, terms: &Path, vocabulary: Vocabulary) -> anyhow::Result<Self> {
        let term_text = fs::read(terms).with_context(|| format!("cannot read {}", terms.display()))?;
        let ranges =
            lines(&term_text, "t").with_context(|| format!("{} is no file of search terms", terms.display()))?;
        let term = |range: Range<usize>| {
            let term = String::from_utf8_lossy(&term_text[range]);
            (form_encoded(&term), Term::new(&term))
        };
        Ok(Self { terms: ranges.into_iter().map(term).collect(), ..Self::of_payloads(payloads, vocabulary)? })
    }

    /// The same without terms: for those who only ask what became of the rows.
    ///
    /// # Errors
    ///
    /// The file cannot be read, has another header, or nothing after it.
    pub fn of_payloads(payloads: &Path, vocabulary: Vocabulary) -> anyhow::Result<Self> {
        let text = fs::read(payloads).with_context(|| format!("cannot read {}", payloads.display()))?;
        let rows = lines(&text, "payload").with_context(|| format!("{} is no file of payloads", payloads.display()))?;
        let ceiling = Ceiling::of_rows(rows.iter().map(|row| &text[row.clone()]), vocabulary);
        let rows = expectations(&text, rows, vocabulary);
        Ok(Self { text, rows, ceiling, terms: Vec::new() })
    }

    /// The nicknames of the rows that a correct server accepts where nobody has them.
    pub fn nicknames(&self) -> HashSet<String> {
        self.rows.iter().filter_map(|row| row.nickname(&self.text)).collect()
    }

    /// Expects what a correct server answers where people have the nicknames of `taken` before the first create. Returns
    /// how many rows it must refuse for it.
    pub fn begin_over(&mut self, taken: &HashSet<String>) -> usize {
        let Self { text, rows, ceiling, .. } = self;
        let is_taken = |row: &Row| row.nickname(text).is_some_and(|nickname| taken.contains(&nickname));
        let mut refused = 0;
        for (number, row) in rows.iter_mut().enumerate().filter(|(_, row)| is_taken(row)) {
            row.expected = Expected::Refused(TAKEN);
            ceiling.keep_out(number);
            refused += 1;
        }
        refused
    }

    /// The body that the given create sends, counted from 0.
    pub fn payload(&self, create: u64) -> &[u8] {
        &self.text[self.row(create).range.clone()]
    }

    /// What a correct server answers to the given create that began with the people whom this feed knows of.
    pub fn expected(&self, create: u64) -> Expected {
        match self.row(create).expected {
            Expected::Created if create >= self.rows.len() as u64 => Expected::CreatedOrTaken,
            expected => expected,
        }
    }

    /// How many creates it takes until the rows come round again.
    pub fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    /// The term of the given search, encoded as a form is.
    pub fn query(&self, search: u64) -> &str {
        &self.terms[index(search, self.terms.len())].0
    }

    /// The term of the given search, to be looked for.
    pub fn term(&self, search: u64) -> &Term {
        &self.terms[index(search, self.terms.len())].1
    }

    /// How many people a correct server holds after some of the creates.
    pub fn ceiling(&self) -> &Ceiling {
        &self.ceiling
    }

    fn row(&self, create: u64) -> &Row {
        &self.rows[index(create, self.rows.len())]
    }
}

fn index(number: u64, length: usize) -> usize {
    (number % length as u64) as usize
}

/// The lines after a header, without their ends and without empty ones.
fn lines(text: &[u8], header: &str) -> anyhow::Result<Vec<Range<usize>>> {
    let mut start = 0;
    let mut lines = text.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let range = start..start + line.trim_ascii_end().len();
        start += line.len();
        range
    });
    let first = lines.next().map(|range| &text[range]);
    if first != Some(header.as_bytes()) {
        bail!("its first line is not {header:?}");
    }
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        bail!("it has no line after the first");
    }
    Ok(lines)
}

/// What each row must get, alone and among the others.
fn expectations(text: &[u8], ranges: Vec<Range<usize>>, vocabulary: Vocabulary) -> Vec<Row> {
    let alone = |range: &Range<usize>| Oracle::new(vocabulary).create(&text[range.clone()]);
    let statuses: Vec<u16> = ranges.iter().map(alone).collect();
    let nickname =
        |range: &Range<usize>| Person::parse(&text[range.clone()]).map(|person| person.nickname().to_owned());
    let mut bearers: HashMap<String, u32> = HashMap::new();
    let valid = ranges.iter().zip(&statuses).filter(|(_, status)| **status == 201);
    for name in valid.filter_map(|(range, _)| nickname(range)) {
        *bearers.entry(name).or_default() += 1;
    }
    let row = |(range, status): (Range<usize>, u16)| {
        let unique = || nickname(&range).is_some_and(|name| bearers.get(&name) == Some(&1));
        let expected = match status {
            201 if unique() => Expected::Created,
            201 => Expected::CreatedOrTaken,
            status => Expected::Refused(status),
        };
        Row { range, expected }
    };
    ranges.into_iter().zip(statuses).map(row).collect()
}

/// Encodes as `application/x-www-form-urlencoded` does (<https://url.spec.whatwg.org/#urlencoded-serializing>).
pub fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            byte => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(nickname: &str, month: u8) -> String {
        format!(r#"{{"nickname":"{nickname}","fullname":"b","dob":"2000-{month:02}-01","stack":null}}"#)
    }

    fn feed(rows: &[String]) -> Feed {
        let text = format!("payload\r\n{}\n\n", rows.join("\n"));
        let ranges = lines(text.as_bytes(), "payload").unwrap();
        let ceiling = Ceiling::of_rows(rows, Vocabulary::Users);
        let rows = expectations(text.as_bytes(), ranges, Vocabulary::Users);
        Feed { text: text.into_bytes(), rows, ceiling, terms: vec![] }
    }

    #[test]
    fn knows_what_each_row_must_get() {
        let rows = [person("a", 1), person("b", 13), person("c", 1), person("a", 2), "{}".to_owned()];
        let feed = feed(&rows);
        assert_eq!(feed.payload(2), rows[2].as_bytes());
        assert_eq!(feed.payload(7), rows[2].as_bytes());
        let expected: Vec<_> = (0..5).map(|row| feed.expected(row)).collect();
        let either = Expected::CreatedOrTaken;
        assert_eq!(expected, [either, Expected::Refused(400), Expected::Created, either, Expected::Refused(422)]);
        assert_eq!(feed.expected(7), either);
        assert_eq!([0, 1, 2, 3, 4, 5, 100].map(|creates| feed.ceiling().after(creates)), [0, 1, 1, 2, 2, 2, 2]);
    }

    #[test]
    fn whose_nickname_is_taken_from_before_is_refused() {
        let rows = [person("a", 1), person("b", 13), person("c", 1), person("a", 2)];
        let mut feed = feed(&rows);
        assert_eq!(feed.nicknames(), HashSet::from(["a".to_owned(), "c".to_owned()]));
        assert_eq!(feed.begin_over(&HashSet::from(["a".to_owned(), "b".to_owned(), "d".to_owned()])), 2);
        let expected: Vec<_> = (0..4).map(|row| feed.expected(row)).collect();
        let [refused, invalid] = [422, 400].map(Expected::Refused);
        assert_eq!(expected, [refused, invalid, Expected::Created, refused]);
        assert_eq!([2, 3, 4].map(|creates| feed.ceiling().after(creates)), [0, 1, 1]);
    }

    #[test]
    fn a_file_has_its_header_and_something_after_it() {
        assert!(lines(b"payload\n{}\n", "payload").is_ok());
        for text in ["", "payload", "payload\n\n", "t\n{}\n"] {
            assert!(lines(text.as_bytes(), "payload").is_err(), "{text:?}");
        }
    }

    #[test]
    fn queries_are_encoded_as_forms_are() {
        assert_eq!(form_encoded("C++ & é_%"), "C%2B%2B+%26+%C3%A9_%25");
    }
}
