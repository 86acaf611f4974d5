//! A shelf that is full, in one piece of memory that is exactly as large as it must be.

use bytemuck::cast_slice;
use memmap2::MmapMut;
use uuid::Uuid;

use super::dictionary::Entries;
use super::pages;
use super::shelf::{Living, Shelf};

/// Parts of a shelf, those of the largest units first, so that each begins where its units may.
const PARTS: usize = 15;

/// Nobody is added to it any more, but people may be taken away.
pub(super) struct Sealed {
    pages: MmapMut,
    ends: [u32; PARTS],
    living: Living,
    /// When it was sealed; a later one has a higher number.
    pub(super) age: u64,
}

impl Sealed {
    /// A copy of all that is on a shelf.
    pub(super) fn new(shelf: Shelf<'_>, age: u64) -> Self {
        let parts: [&[u8]; PARTS] = [
            cast_slice(shelf.ids),
            cast_slice(shelf.pairs),
            cast_slice(shelf.facts),
            cast_slice(shelf.ends),
            cast_slice(shelf.codes_from),
            cast_slice(shelf.words.ends),
            cast_slice(shelf.words.json_ends),
            cast_slice(shelf.dates.ends),
            cast_slice(shelf.dates.json_ends),
            shelf.words.texts,
            shelf.words.json,
            shelf.dates.texts,
            shelf.dates.json,
            shelf.texts,
            shelf.codes,
        ];
        let mut pages = pages::zeroed(parts.iter().map(|part| part.len()).sum());
        let mut end = 0;
        let ends = parts.map(|part| {
            pages[end..end + part.len()].copy_from_slice(part);
            end += part.len();
            end as u32
        });
        Self { pages, ends, living: shelf.living.clone(), age }
    }

    /// The first part alone, which is asked for most.
    pub(super) fn ids(&self) -> &[Uuid] {
        cast_slice(&self.pages[..self.ends[0] as usize])
    }

    pub(super) fn shelf(&self) -> Shelf<'_> {
        let mut from = 0;
        let parts = self.ends.map(|end| {
            let part = &self.pages[from..end as usize];
            from = end as usize;
            part
        });
        let [ids, pairs, facts, ends, codes_from, parts @ ..] = parts;
        let [word_ends, word_json_ends, date_ends, date_json_ends, parts @ ..] = parts;
        let [words, word_json, dates, date_json, texts, codes] = parts;
        let entries = |texts, ends, json, json_ends| Entries {
            texts,
            ends: cast_slice(ends),
            json,
            json_ends: cast_slice(json_ends),
        };
        Shelf {
            ids: cast_slice(ids),
            facts: cast_slice(facts),
            ends: cast_slice(ends),
            codes_from: cast_slice(codes_from),
            pairs: cast_slice(pairs),
            words: entries(words, word_ends, word_json, word_json_ends),
            dates: entries(dates, date_ends, date_json, date_json_ends),
            texts,
            codes,
            living: &self.living,
        }
    }

    /// Takes away somebody who is there.
    pub(super) fn remove(&mut self, position: usize) {
        self.living.remove(position);
    }

    /// Whether most of it serves nobody any more.
    pub(super) fn is_mostly_dead(&self) -> bool {
        self.living.people() * 2 < self.ids().len()
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> usize {
        pages::taken(self.pages.len())
    }
}
