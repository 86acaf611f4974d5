//! Searching, piece by piece: an instance has one thread, and nobody may hold it for long.

use memchr::memmem::Finder;

use super::fold::fold_into;
use super::record::Record;
use super::shelf::Shelf;
use super::shelves::Shelves;
use super::sieve::{BLOCK, RACK, Trace, bits};

/// The most people that a search finds.
pub const MOST_FOUND: usize = 50;

/// Bytes that one piece of a search reads, before it comes to the next shelf. Takes about 0.1 ms.
const PIECE: usize = 512 << 10;

/// What a slot of a rack counts for: its latency is what it takes.
const SLOT: usize = 256;

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
///
/// It passes by all sealed shelves, and then by those that were sealed meanwhile, until there are none: whoever was
/// moved to the growing shelf comes by again. That one is looked at last and in one go.
pub struct Search {
    trace: Trace,
    /// Made for the first shelf that is read: most terms are nobody's.
    finder: Option<Finder<'static>>,
    /// The ages of shelves in this pass: above the first, up to the second.
    pass: (u64, u64),
    /// Where the next shelf stands.
    place: usize,
    /// Candidates in the rack of that place, once looked up.
    blocks: Option<[u64; RACK]>,
    found: Vec<Record>,
    buffer: Vec<u8>,
}

impl Search {
    /// A search of which nothing is done.
    pub fn new(term: &str) -> Self {
        let mut folded = Vec::with_capacity(term.len());
        fold_into(&mut folded, term);
        Self {
            trace: Trace::of(folded),
            finder: None,
            pass: (0, 0),
            place: usize::MAX,
            blocks: None,
            found: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Whoever was found until then.
    pub fn found(self) -> Vec<Record> {
        self.found
    }

    /// Whether as many were found as a search may find.
    pub fn is_full(&self) -> bool {
        self.found.len() >= MOST_FOUND
    }

    pub(super) fn advance(&mut self, shelves: &Shelves) -> Step {
        let before = self.found.len();
        let mut effort = 0;
        while !self.is_full() {
            if self.place >= shelves.places() && self.pass.1 == shelves.age() {
                let growing = shelves.growing();
                self.read(growing.shelf(), self.trace.blocks(growing.sieve()), before);
                return Step::Done;
            }
            if effort >= PIECE {
                return Step::More;
            }
            if self.place >= shelves.places() {
                self.pass = (self.pass.1, shelves.age());
                self.place = 0;
                self.blocks = None;
            }
            effort += self.read_next(shelves, before);
        }
        Step::Done
    }

    /// Comes by one shelf, and returns how much that took, as if in bytes read.
    fn read_next(&mut self, shelves: &Shelves, before: usize) -> usize {
        let place = self.place;
        self.place += 1;
        if place.is_multiple_of(RACK) {
            self.blocks = None;
        }
        let Some(sealed) = shelves.sealed(place).filter(|sealed| self.pass.0 < sealed.age && sealed.age <= self.pass.1)
        else {
            return 1;
        };
        let mut effort = 1;
        let blocks = match self.blocks {
            Some(blocks) => blocks,
            None => {
                effort += self.trace.len() * SLOT;
                *self.blocks.insert(shelves.rack(place).map_or([0; RACK], |rack| self.trace.blocks_of_all(rack)))
            }
        };
        match blocks[place % RACK] {
            0 => effort,
            blocks => effort + self.read(sealed.shelf(), blocks, before),
        }
    }

    /// Reads blocks of a shelf, and returns how many bytes that was. Those found before this piece of the search may be
    /// found again, if they were changed or moved.
    fn read(&mut self, shelf: Shelf<'_>, blocks: u64, before: usize) -> usize {
        let mut read = 1;
        if !self.trace.fits(shelf.pairs) {
            return read;
        }
        let finder = self.finder.get_or_insert_with(|| Finder::new(self.trace.term()).into_owned());
        let codes = shelf.codes_with(finder, &mut self.buffer);
        for block in bits(blocks).take_while(|block| block * BLOCK < shelf.ids.len()) {
            read += shelf.length(block);
            for bit in bits(shelf.search(block, finder, &codes, &mut self.buffer)) {
                if self.found.len() >= MOST_FOUND {
                    return read;
                }
                let position = block * BLOCK + bit;
                if self.found[..before].iter().all(|found| found.id() != shelf.ids[position]) {
                    self.found.push(shelf.record(position));
                }
            }
        }
        read
    }
}
