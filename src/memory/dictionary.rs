//! What many people have in common is kept once: texts, each under the number of its place.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use memchr::memchr;

use super::text::{END, NULL, Texts};
use crate::json;

/// A dictionary that grows.
#[derive(Default)]
pub(super) struct Dictionary {
    texts: Texts,
    ends: Vec<u32>,
    json: Vec<u8>,
    json_ends: Vec<u32>,
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Dictionary {
    /// The place of a text or a null, which is new if need be and there are fewer than `most`.
    pub(super) fn place(&mut self, text: Option<&str>, most: usize) -> Option<u32> {
        let key = text.map_or(&[NULL][..], str::as_bytes);
        let hash = self.hasher.hash_one(key);
        if let Some(place) = self.places.find(hash, |place| self.entries().is(*place, key)) {
            return Some(*place);
        }
        if self.ends.len() >= most {
            return None;
        }
        let place = self.ends.len() as u32;
        let Self { texts, ends, json, json_ends, places, hasher } = self;
        let entries = Entries { texts: texts.as_bytes(), ends, json, json_ends };
        places.insert_unique(hash, place, |place| hasher.hash_one(entries.raw(*place)));
        texts.push(text);
        texts.finish();
        ends.push(texts.as_bytes().len() as u32);
        json::write_element(json, text.map(str::as_bytes));
        json_ends.push(json.len() as u32);
        Some(place)
    }

    pub(super) fn entries(&self) -> Entries<'_> {
        let Self { texts, ends, json, json_ends, .. } = self;
        Entries { texts: texts.as_bytes(), ends, json, json_ends }
    }

    pub(super) fn clear(&mut self) {
        self.texts.clear();
        self.ends.clear();
        self.json.clear();
        self.json_ends.clear();
        self.places.clear();
    }

    /// What is taken from the allocator.
    pub(super) fn capacity(&self) -> usize {
        let ends = self.ends.capacity() + self.json_ends.capacity();
        self.texts.capacity() + self.json.capacity() + ends * size_of::<u32>() + self.places.allocation_size()
    }
}

/// All that stands in a dictionary.
#[derive(Clone, Copy)]
pub(super) struct Entries<'a> {
    /// As [`Texts`] writes them.
    pub(super) texts: &'a [u8],
    /// Where each entry ends, with its folded copy.
    pub(super) ends: &'a [u32],
    /// The same as JSON, a comma before each.
    pub(super) json: &'a [u8],
    pub(super) json_ends: &'a [u32],
}

impl<'a> Entries<'a> {
    /// The text at a place; `None` for a null.
    pub(super) fn get(self, place: u32) -> Option<&'a [u8]> {
        Some(self.raw(place)).filter(|text| *text != [NULL])
    }

    /// The same as JSON, with a comma before it.
    pub(super) fn json(self, place: u32) -> &'a [u8] {
        between(self.json, self.json_ends, place)
    }

    /// The text at a place, or [`NULL`].
    fn raw(self, place: u32) -> &'a [u8] {
        let entry = between(self.texts, self.ends, place);
        &entry[..memchr(END, entry).unwrap_or_default()]
    }

    /// Whether that is what [`Self::raw`] has there.
    fn is(self, place: u32, text: &[u8]) -> bool {
        let entry = between(self.texts, self.ends, place);
        entry.strip_prefix(text).is_some_and(|rest| rest.first() == Some(&END))
    }
}

fn between<'a>(all: &'a [u8], ends: &[u32], place: u32) -> &'a [u8] {
    let place = place as usize;
    let start = place.checked_sub(1).map_or(0, |before| ends[before]);
    &all[start as usize..ends[place] as usize]
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
        let json = [0, 1, 2, 3].map(|place| dictionary.entries().json(place));
        assert_eq!(json, [&b",\"a\""[..], b",null", b",\"\"", ",\"É\"".as_bytes()]);
        dictionary.clear();
        assert_eq!(dictionary.place(Some("e"), 4), Some(0));
    }
}
