//! The ceiling: how many people a correct server holds after the rows that were sent, which are the distinct nicknames
//! among the valid ones.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::{Context, Result};

use super::event::people;
use super::files;
use super::oracle::Oracle;
use crate::load::vocabulary::Vocabulary;

/// The ceiling of rows that are sent in order, starting over at the end, whatever their number.
#[derive(Clone, Debug)]
pub struct Ceiling {
    /// Of each row, whether it brings a nickname that no row before it brought.
    adds: Vec<bool>,
}

impl Ceiling {
    /// That of these rows.
    pub fn of_rows<Row: AsRef<[u8]>>(rows: impl IntoIterator<Item = Row>, vocabulary: Vocabulary) -> Self {
        let mut everyone = Oracle::new(vocabulary);
        Self { adds: rows.into_iter().map(|row| everyone.create(row.as_ref()) == 201).collect() }
    }

    /// That of the first `rows` rows of a seed, which is the same in either vocabulary.
    pub fn of_seed(seed: u64, rows: u64) -> Self {
        let vocabulary = Vocabulary::default();
        let rows = people(seed).take(usize::try_from(rows).unwrap_or(usize::MAX));
        Self::of_rows(rows.map(|person| person.json(vocabulary)), vocabulary)
    }

    /// How many people a correct server that began without any holds after that many creates. Rows that come round again
    /// find their nickname taken, or are as invalid as before.
    pub fn after(&self, creates: u64) -> u64 {
        let sent = usize::try_from(creates).unwrap_or(usize::MAX);
        self.adds.iter().take(sent).filter(|adds| **adds).count() as u64
    }

    /// Keeps out whoever comes with the row, because somebody has the nickname from before.
    pub fn keep_out(&mut self, row: usize) {
        if let Some(adds) = self.adds.get_mut(row) {
            *adds = false;
        }
    }

    /// How many people a correct server may hold after a run beyond those from before, where nobody knows whether `unknown`
    /// of them were stored. If there are `strangers` among those from before, nobody can tell whom they keep out, and it
    /// is those whom the server `acknowledged` with 201.
    pub fn of_run(&self, strangers: u64, creates: u64, acknowledged: u64, unknown: u64) -> RangeInclusive<u64> {
        match strangers {
            0 => self.after(creates).saturating_sub(unknown)..=self.after(creates),
            _ => acknowledged..=acknowledged + unknown,
        }
    }
}

/// How many people a correct server holds after the first `rows_sent` rows of a payload file of either vocabulary were
/// sent in order, starting over at the end.
///
/// # Errors
/// The file cannot be read or is not a payload file.
pub fn ceiling(path: &Path, rows_sent: u64) -> Result<u64> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (vocabulary, rows) = files::rows(path, &text)?;
    let sent = rows.take(usize::try_from(rows_sent).unwrap_or(usize::MAX));
    Ok(Ceiling::of_rows(sent, vocabulary).after(rows_sent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::payloads::{EVENT_CREATES, SEED};

    #[test]
    fn default_seed_is_the_first_with_the_ceiling_of_the_events_file() {
        let ceiling = |seed| Ceiling::of_seed(seed, EVENT_CREATES).after(EVENT_CREATES);
        assert_eq!(ceiling(SEED), 46_576);
        assert!((0..3).all(|seed| ceiling(seed) != 46_576));
    }

    #[test]
    fn rows_that_come_round_again_add_nobody() {
        let row = |nickname: &str| format!(r#"{{"nickname":"{nickname}","fullname":"b","dob":"2000-01-01"}}"#);
        let rows = [row("a"), "{}".to_owned(), row("b"), row("a")];
        let ceiling = Ceiling::of_rows(&rows, Vocabulary::Users);
        assert_eq!([0, 1, 2, 3, 4, 5, 100].map(|creates| ceiling.after(creates)), [0, 1, 1, 2, 2, 2, 2]);
    }

    #[test]
    fn who_was_there_before_leaves_only_the_servers_word() {
        let ceiling = Ceiling::of_seed(SEED, 10);
        let all = ceiling.after(10);
        assert_eq!(ceiling.of_run(0, 10, 3, 0), all..=all);
        assert_eq!(ceiling.of_run(0, 10, 3, 2), all - 2..=all);
        assert_eq!(ceiling.of_run(1, 10, 3, 2), 3..=5);
    }
}
