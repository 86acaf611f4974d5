//! Searching, piece by piece: an instance has one thread, and nobody may hold it for long.

use memchr::memmem::Finder;

use super::fold::fold_into;
use super::record::Record;

/// The most people that a search finds.
pub const MOST_FOUND: usize = 50;

/// People that one piece of a search may read.
pub(super) const PIECE: usize = 8192;

/// Whether a search goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There are people who have not been looked at.
    More,
    /// Everyone was looked at, or as many as may be were found.
    Done,
}

/// A search under way for at most [`MOST_FOUND`] people with a term in their nickname, fullname or one element of their
/// stack, without regard to case.
pub struct Search {
    pub(super) term: Term,
    pub(super) next: usize,
    found: Vec<Record>,
}

impl Search {
    /// A search of which nothing is done.
    pub fn new(term: &str) -> Self {
        Self { term: Term::new(term), next: 0, found: Vec::new() }
    }

    /// Whoever was found until then.
    pub fn found(self) -> Vec<Record> {
        self.found
    }

    /// Whether as many were found as a search may find.
    pub fn is_full(&self) -> bool {
        self.found.len() >= MOST_FOUND
    }

    /// Somebody who was found; perhaps again, if somebody changed them.
    pub(super) fn take(&mut self, person: &Record) {
        if self.found.iter().all(|found| found.id() != person.id()) {
            self.found.push(person.clone());
        }
    }
}

/// What is sought, without regard to case.
pub(super) struct Term(Finder<'static>);

impl Term {
    fn new(term: &str) -> Self {
        let mut folded = Vec::with_capacity(term.len());
        fold_into(&mut folded, term);
        Self(Finder::new(&folded).into_owned())
    }

    pub(super) fn is_in(&self, folded: &[u8]) -> bool {
        self.0.find(folded).is_some()
    }
}
