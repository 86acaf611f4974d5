//! Which people may have a term in their texts, told from few bits: an inverted index, coarse on purpose.
//!
//! Every run of three bytes in a person's texts falls on one of [`SLOTS`] slots, and each slot has a bit for each
//! [`BLOCK`] of people. A term can only be in blocks whose bit is set in the slots of all its trigrams; what remains is
//! read. A slot may stand for several trigrams, which makes a block more to read and never a person less to find. What
//! is too short for that, or is rare although its slots are not, is told from all pairs of bytes that a shelf's texts
//! have: a shelf is read only if it has those of the term.

use memmap2::MmapMut;

use super::pages;
use super::text::END;

/// People that share a bit: few enough to be read at once, enough to keep the index at 32 bytes a person.
pub(super) const BLOCK: usize = 64;

/// Blocks of a shelf, one for each bit of a word.
pub(super) const BLOCKS: usize = u64::BITS as usize;

/// Shelves of a rack.
pub(super) const RACK: usize = 8;

const SLOTS: usize = 1 << 14;

/// A bit for each pair of bytes.
pub(super) const PAIRS: usize = (1 << 16) / u64::BITS as usize;

/// The sieve of one shelf, while people are added to it.
pub(super) struct Sieve {
    slots: Box<[u64; SLOTS]>,
    pairs: Box<[u64; PAIRS]>,
}

impl Default for Sieve {
    fn default() -> Self {
        Self { slots: bytemuck::zeroed_box(), pairs: bytemuck::zeroed_box() }
    }
}

impl Sieve {
    /// What it takes, however many are in it.
    pub(super) const BYTES: usize = (SLOTS + PAIRS) * size_of::<u64>();

    /// Enters a folded text of somebody in a block.
    pub(super) fn enter(&mut self, block: usize, text: &[u8]) {
        let bit = 1 << block;
        for trigram in text.windows(3) {
            self.slots[slot(trigram)] |= bit;
        }
        for pair in text.windows(2) {
            self.enter_pair(pair[0], pair[1]);
        }
        // Every byte is the first of some pair, so that single ones are told as well.
        if let Some(last) = text.last() {
            self.enter_pair(*last, END);
        }
    }

    fn enter_pair(&mut self, first: u8, second: u8) {
        let (word, bit) = place(first, second);
        self.pairs[word] |= bit;
    }

    pub(super) fn pairs(&self) -> &[u64] {
        self.pairs.as_slice()
    }

    pub(super) fn clear(&mut self) {
        self.slots.fill(0);
        self.pairs.fill(0);
    }
}

/// The slots of several shelves side by side: a search comes by all of them, and the memory's latency is what it pays.
pub(super) struct Rack(MmapMut);

impl Rack {
    /// What it takes, however many shelves are in it.
    pub(super) const BYTES: usize = SLOTS * RACK * size_of::<u64>();

    pub(super) fn new() -> Self {
        Self(pages::zeroed(Self::BYTES))
    }

    /// Puts a shelf's slots in place of whatever was at that place.
    pub(super) fn put(&mut self, place: usize, sieve: &Sieve) {
        let lines: &mut [[u64; RACK]] = bytemuck::cast_slice_mut(&mut self.0);
        for (line, word) in lines.iter_mut().zip(sieve.slots.iter()) {
            line[place] = *word;
        }
    }
}

/// A folded term, and what it leaves in a sieve.
pub(super) struct Trace {
    term: Vec<u8>,
    slots: Vec<usize>,
}

impl Trace {
    pub(super) fn of(term: Vec<u8>) -> Self {
        Self { slots: term.windows(3).map(slot).collect(), term }
    }

    pub(super) fn term(&self) -> &[u8] {
        &self.term
    }

    /// The blocks of a shelf that may have the term.
    pub(super) fn blocks(&self, sieve: &Sieve) -> u64 {
        self.slots.iter().fold(u64::MAX, |blocks, slot| blocks & sieve.slots[*slot])
    }

    /// The same for all shelves of a rack.
    pub(super) fn blocks_of_all(&self, rack: &Rack) -> [u64; RACK] {
        let lines: &[[u64; RACK]] = bytemuck::cast_slice(&rack.0);
        let mut blocks = [u64::MAX; RACK];
        for slot in &self.slots {
            let line = &lines[*slot];
            (0..RACK).for_each(|shelf| blocks[shelf] &= line[shelf]);
            if blocks == [0; RACK] {
                break;
            }
        }
        blocks
    }

    /// Whether a shelf with these pairs may have the term.
    pub(super) fn fits(&self, pairs: &[u64]) -> bool {
        if let [byte] = *self.term {
            let first = usize::from(byte) * PAIRS_OF_A_BYTE;
            return pairs[first..first + PAIRS_OF_A_BYTE].iter().any(|word| *word != 0);
        }
        self.term.windows(2).all(|pair| {
            let (word, bit) = place(pair[0], pair[1]);
            pairs[word] & bit != 0
        })
    }

    /// How many slots are looked at.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

/// Words that hold all pairs with the same first byte.
const PAIRS_OF_A_BYTE: usize = PAIRS >> 8;

/// Word and bit of a pair.
fn place(first: u8, second: u8) -> (usize, u64) {
    let second = usize::from(second);
    (usize::from(first) * PAIRS_OF_A_BYTE + second / u64::BITS as usize, 1 << (second % u64::BITS as usize))
}

/// Three digits of a number to base 26: trigrams of letters, of which there are a few more than slots, fall on all of them
/// evenly. Fibonacci hashing leaves almost half of the slots to none of them.
fn slot(trigram: &[u8]) -> usize {
    let digit = |index: usize| usize::from(trigram[index]);
    ((digit(0) * 26 + digit(1)) * 26 + digit(2)) % SLOTS
}

/// The numbers of the bits that are set, ascending.
pub(super) fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word = word.checked_sub(1)? & word;
        Some(bit as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_told_ascending() {
        assert_eq!(bits(0).count(), 0);
        assert_eq!(bits(1 << 63 | 0b101).collect::<Vec<_>>(), [0, 2, 63]);
        assert_eq!(bits(u64::MAX).count(), 64);
    }

    #[test]
    fn trigrams_of_letters_are_spread_evenly() {
        let mut people = vec![0; SLOTS];
        let letters = || b'a'..=b'z';
        letters().for_each(|a| letters().for_each(|b| letters().for_each(|c| people[slot(&[a, b, c])] += 1)));
        assert!(people.iter().all(|trigrams| (1..=2).contains(trigrams)));
    }

    #[test]
    fn a_term_is_only_sought_where_it_may_be() {
        let mut sieve = Sieve::default();
        for block in 0..BLOCKS {
            sieve.enter(block, format!("person {block}").as_bytes());
        }
        let mut rack = Rack::new();
        rack.put(3, &sieve);
        let blocks = |term: &str| {
            let trace = Trace::of(term.into());
            let blocks = trace.blocks(&sieve);
            assert_eq!(trace.blocks_of_all(&rack)[3], blocks);
            blocks
        };
        assert_eq!(blocks("person 41"), 1 << 41);
        assert_eq!(blocks("nobody"), 0);
        assert_eq!(blocks("pe"), u64::MAX);
        let fits = |term: &str| Trace::of(term.into()).fits(sieve.pairs());
        assert!(["p", "9", " ", "on", "n 6", "person"].into_iter().all(fits));
        assert!(!["x", "P", "op", "97", "n  "].into_iter().any(fits));
    }
}
