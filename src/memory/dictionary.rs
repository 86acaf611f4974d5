//! What many people have in common is kept once: texts, each under the number of its place.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::text::{NULL, Texts, texts};

/// A dictionary that grows.
#[derive(Default)]
pub(super) struct Dictionary {
    texts: Texts,
    ends: Vec<u32>,
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Dictionary {
    /// The place of a text or a null, which is new if need be and there are fewer than `most`.
    pub(super) fn place(&mut self, text: Option<&str>, most: usize) -> Option<u32> {
        let key = text.map_or(&[NULL][..], str::as_bytes);
        let hash = self.hasher.hash_one(key);
        let entries = Entries { texts: self.texts.as_bytes(), ends: &self.ends };
        if let Some(place) = self.places.find(hash, |place| entries.raw(*place) == key) {
            return Some(*place);
        }
        if self.ends.len() >= most {
            return None;
        }
        let place = self.ends.len() as u32;
        self.places.insert_unique(hash, place, |place| self.hasher.hash_one(entries.raw(*place)));
        self.texts.push(text);
        self.texts.finish();
        self.ends.push(self.texts.as_bytes().len() as u32);
        Some(place)
    }

    pub(super) fn entries(&self) -> Entries<'_> {
        Entries { texts: self.texts.as_bytes(), ends: &self.ends }
    }

    pub(super) fn clear(&mut self) {
        self.texts.clear();
        self.ends.clear();
        self.places.clear();
    }

    /// What is taken from the allocator.
    pub(super) fn capacity(&self) -> usize {
        self.texts.capacity() + self.ends.capacity() * size_of::<u32>() + self.places.allocation_size()
    }
}

/// All that stands in a dictionary.
#[derive(Clone, Copy)]
pub(super) struct Entries<'a> {
    /// As [`Texts`] writes them.
    pub(super) texts: &'a [u8],
    /// Where each entry ends, with its folded copy.
    pub(super) ends: &'a [u32],
}

impl<'a> Entries<'a> {
    /// The text at a place; `None` for a null.
    pub(super) fn get(self, place: u32) -> Option<&'a [u8]> {
        texts(self.entry(place)).next().flatten()
    }

    /// The text at a place, or [`NULL`].
    fn raw(self, place: u32) -> &'a [u8] {
        self.get(place).unwrap_or(&[NULL])
    }

    fn entry(self, place: u32) -> &'a [u8] {
        let place = place as usize;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.texts[start as usize..self.ends[place] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_place_until_the_dictionary_is_full() {
        let mut dictionary = Dictionary::default();
        let mut place = |text| dictionary.place(text, 4);
        assert_eq!(
            [Some("a"), None, Some(""), Some("É"), Some("e")].map(&mut place),
            [Some(0), Some(1), Some(2), Some(3), None]
        );
        assert_eq!([Some("É"), None, Some("a"), Some("A")].map(place), [Some(3), Some(1), Some(0), None]);
        let texts = [0, 1, 2, 3].map(|place| dictionary.entries().get(place));
        assert_eq!(texts, [Some(&b"a"[..]), None, Some(b""), Some("É".as_bytes())]);
        dictionary.clear();
        assert_eq!(dictionary.place(Some("e"), 4), Some(0));
    }
}
