//! Who may have a term, of many: by the pieces of three bytes that stand in their texts.

use std::collections::HashMap;

/// Bytes of a piece. What is shorter is not looked up.
const PIECE: usize = 3;

/// Numbers of those whose texts hold each piece, each once and in order.
#[derive(Default)]
pub struct Pieces(HashMap<[u8; PIECE], Vec<usize>>);

impl Pieces {
    /// Adds somebody, whose number is above all that were added.
    pub fn add(&mut self, number: usize, texts: &[String]) {
        for piece in texts.iter().flat_map(|text| pieces(text)) {
            let numbers = self.0.entry(piece).or_default();
            if numbers.last() != Some(&number) {
                numbers.push(number);
            }
        }
    }

    /// All who can have a term, and some who do not: those with its rarest piece. None where it is too short to tell.
    pub fn candidates(&self, term: &str) -> Option<&[usize]> {
        let have = |piece| self.0.get(&piece).map_or(&[][..], Vec::as_slice);
        pieces(term).map(have).min_by_key(|numbers| numbers.len())
    }
}

fn pieces(text: &str) -> impl Iterator<Item = [u8; PIECE]> {
    text.as_bytes().windows(PIECE).filter_map(|piece| piece.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_who_has_a_term_is_left_out_and_few_who_do_not_are_there() {
        let texts: Vec<String> = (0..500).map(|nth| format!("joão {}-{nth}.", nth % 7)).collect();
        let mut all = Pieces::default();
        for (number, text) in texts.iter().enumerate() {
            all.add(number, &[text.clone(), text.clone()]);
        }
        for term in ["joão 3-", "41", "ão ", "o 6-48.", "nobody", "0", ""] {
            let with = |number: &usize| texts[*number].contains(term);
            let found = all.candidates(term).map(|numbers| numbers.iter().copied().filter(with).collect::<Vec<_>>());
            let expected: Vec<usize> = (0..texts.len()).filter(with).collect();
            assert_eq!(found, (term.len() >= PIECE).then_some(expected), "{term:?}");
        }
        assert!(all.candidates("o 6-48.").is_some_and(|numbers| numbers.len() < 20));
    }
}
