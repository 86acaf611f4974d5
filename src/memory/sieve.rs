//! Which people may have a term in their texts, told from few bits: an inverted index of trigrams, coarse on purpose.
//!
//! Every run of three bytes in a person's texts falls on one of [`SLOTS`] slots, and each slot has a bit for each
//! [`BLOCK`] of people. A term can only be in blocks whose bit is set in the slots of all its trigrams; what remains is
//! read. A slot may stand for several trigrams, which makes a block more to read and never a person less to find.

/// People that share a bit: few enough to be read at once, enough to keep the index at 32 bytes a person.
pub(super) const BLOCK: usize = 64;

const SLOT_BITS: u32 = 14;
const SLOTS: usize = 1 << SLOT_BITS;

/// Blocks in one word of a slot.
const BLOCKS: usize = u64::BITS as usize;

#[derive(Default)]
pub(super) struct Sieve {
    /// One for each `BLOCKS * BLOCK` people.
    shelves: Vec<Box<[u64]>>,
}

impl Sieve {
    /// Enters the texts of the person with that number, counted from 0 without gaps.
    pub(super) fn add(&mut self, number: usize, texts: &[u8]) {
        let block = number / BLOCK;
        let shelf = block / BLOCKS;
        if shelf == self.shelves.len() {
            self.shelves.push(vec![0; SLOTS].into());
        }
        let bit = 1 << (block % BLOCKS);
        for trigram in texts.windows(3) {
            self.shelves[shelf][slot(trigram)] |= bit;
        }
    }

    /// The numbers of all blocks that may hold the term, ascending. A term of fewer than three bytes may be anywhere.
    pub(super) fn blocks(&self, term: &[u8]) -> impl Iterator<Item = usize> {
        let slots: Vec<usize> = term.windows(3).map(slot).collect();
        let candidates = move |shelf: &[u64]| slots.iter().fold(u64::MAX, |blocks, slot| blocks & shelf[*slot]);
        let words = self.shelves.iter().map(move |shelf| candidates(shelf)).enumerate();
        words.flat_map(|(shelf, word)| bits(word).map(move |bit| shelf * BLOCKS + bit))
    }
}

/// Fibonacci hashing: the golden ratio spreads neighbours over all slots (Knuth, The Art of Computer Programming, 6.4).
fn slot(trigram: &[u8]) -> usize {
    let number = u32::from_le_bytes([trigram[0], trigram[1], trigram[2], 0]);
    (number.wrapping_mul(0x9e37_79b1) >> (u32::BITS - SLOT_BITS)) as usize
}

/// The numbers of the bits that are set, ascending.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
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
    fn a_term_is_only_sought_where_it_may_be() {
        let mut sieve = Sieve::default();
        for number in 0..BLOCK * BLOCKS * 2 {
            sieve.add(number, format!("person {}", number / BLOCK).as_bytes());
        }
        let blocks = |term: &str| sieve.blocks(term.as_bytes()).collect::<Vec<_>>();
        assert!(blocks("person 101").contains(&101));
        assert!(blocks("person 101").len() < 10);
        assert!(blocks("nobody").is_empty());
        assert_eq!(blocks("pe").len(), BLOCKS * 2);
    }
}
