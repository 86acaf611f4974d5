//! People on a shelf, as they are read, whether it grows or is sealed.

use memchr::memmem::Finder;
use uuid::Uuid;

use super::date;
use super::dictionary::Entries;
use super::record::Record;
use super::sieve::{BLOCK, BLOCKS, bits};
use super::text::texts;
use crate::json::{self, Stored};

/// The most people on a shelf.
pub(super) const SHELF: usize = BLOCK * BLOCKS;

/// Everything on a shelf. A person is told by their position, counted from 0.
#[derive(Clone, Copy)]
pub(super) struct Shelf<'a> {
    pub(super) ids: &'a [Uuid],
    /// One for each person, see [`Facts`].
    pub(super) facts: &'a [u32],
    /// Where each person's texts end.
    pub(super) ends: &'a [u32],
    /// Where the codes of each block begin.
    pub(super) codes_from: &'a [u32],
    /// The pairs of bytes that the sieve knows.
    pub(super) pairs: &'a [u64],
    /// What the codes stand for: elements of stacks.
    pub(super) words: Entries<'a>,
    /// Dates that are not packed.
    pub(super) dates: Entries<'a>,
    /// Nickname, fullname, and the elements of a stack that is spelled.
    pub(super) texts: &'a [u8],
    /// The stacks that are not, a byte for each element.
    pub(super) codes: &'a [u8],
    pub(super) living: &'a Living,
}

impl<'a> Shelf<'a> {
    /// The person there as an answer shows them.
    pub(super) fn record(&self, position: usize) -> Record {
        let mut fields = texts(self.text(position));
        let mut text = || fields.next().flatten().unwrap_or_default();
        let (nickname, fullname) = (text(), text());
        self.with_date(position, |dob| {
            Record::from_texts(self.ids[position], [nickname, fullname, dob], |out| self.write_stack(position, out))
        })
    }

    /// Lends the person there as they once came.
    pub(super) fn lend(&self, position: usize, take: impl FnOnce(&Stored<'_>)) {
        let mut fields = texts(self.text(position));
        let mut text = || utf8(fields.next().flatten().unwrap_or_default());
        let (nickname, fullname) = (text(), text());
        let stack = self.stack(position).map(|stack| stack.map(|element| element.map(utf8)).collect());
        self.with_date(position, |dob| {
            take(&Stored { id: self.ids[position], nickname, fullname, dob: utf8(dob), stack });
        });
    }

    /// The positions of those in a block who have the term in a text, or one of the codes; a bit for each.
    pub(super) fn search(&self, block: usize, term: &Finder<'_>, codes: &Codes, buffer: &mut Vec<u8>) -> u64 {
        let mut found = if codes.is_empty() { 0 } else { self.with_codes(block, codes) };
        let first = block * BLOCK;
        let (from, to) = self.extent(block);
        lower_into(buffer, &self.texts[from..to]);
        let (mut position, mut at) = (first, 0);
        while at < buffer.len()
            && let Some(hit) = term.find(&buffer[at..])
        {
            let hit = from + at + hit;
            while self.ends[position] as usize <= hit {
                position += 1;
            }
            found |= 1 << (position - first);
            at = self.ends[position] as usize - from;
            position += 1;
        }
        found & self.living.block(block)
    }

    /// The codes of those elements that have the term.
    pub(super) fn codes_with(&self, term: &Finder<'_>, buffer: &mut Vec<u8>) -> Codes {
        let mut codes = Codes::default();
        lower_into(buffer, self.words.texts);
        for hit in term.find_iter(buffer) {
            codes.insert(self.words.ends.partition_point(|end| *end as usize <= hit) as u8);
        }
        codes
    }

    /// How many bytes of texts a block has.
    pub(super) fn length(&self, block: usize) -> usize {
        let (from, to) = self.extent(block);
        to - from
    }

    fn with_codes(&self, block: usize, codes: &Codes) -> u64 {
        let mut rest = &self.codes[self.codes_from[block] as usize..];
        let mut found = 0;
        for (position, facts) in self.facts.iter().skip(block * BLOCK).take(BLOCK).enumerate() {
            let (own, others) = rest.split_at(Facts(*facts).coded());
            rest = others;
            found |= u64::from(own.iter().any(|code| codes.contains(*code))) << position;
        }
        found
    }

    fn write_stack(&self, position: usize, out: &mut Vec<u8>) {
        if let Stack::Coded(_) = Facts(self.facts[position]).stack() {
            let codes = self.codes_of(position);
            return json::write_elements(out, |out| {
                codes.iter().for_each(|code| out.extend_from_slice(self.words.json(u32::from(*code))));
            });
        }
        json::write_stack(out, self.stack(position));
    }

    fn stack(&self, position: usize) -> Option<impl Iterator<Item = Option<&'a [u8]>>> {
        let stack = Facts(self.facts[position]).stack();
        if stack == Stack::Null {
            return None;
        }
        let coded = self.codes_of(position).iter().map(move |code| self.words.get(u32::from(*code)));
        let spelled = (stack == Stack::Spelled).then(|| texts(self.text(position)).skip(2)).into_iter().flatten();
        Some(coded.chain(spelled))
    }

    fn codes_of(&self, position: usize) -> &'a [u8] {
        let block = position / BLOCK;
        let before: usize = self.facts[block * BLOCK..position].iter().map(|facts| Facts(*facts).coded()).sum();
        let from = self.codes_from[block] as usize + before;
        &self.codes[from..from + Facts(self.facts[position]).coded()]
    }

    fn with_date<T>(&self, position: usize, take: impl FnOnce(&[u8]) -> T) -> T {
        let packed = Facts(self.facts[position]).date();
        match packed.checked_sub(date::PLAIN) {
            None => take(&date::unpack(packed)),
            Some(place) => take(self.dates.get(place).unwrap_or_default()),
        }
    }

    fn text(&self, position: usize) -> &'a [u8] {
        &self.texts[self.start(position)..self.ends[position] as usize]
    }

    fn extent(&self, block: usize) -> (usize, usize) {
        let first = block * BLOCK;
        let last = self.ids.len().min(first + BLOCK);
        (self.start(first), self.start(last))
    }

    fn start(&self, position: usize) -> usize {
        position.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }
}

fn lower_into(buffer: &mut Vec<u8>, texts: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(texts);
    buffer.make_ascii_lowercase();
}

/// All texts came as such.
fn utf8(text: &[u8]) -> &str {
    str::from_utf8(text).unwrap_or_default()
}

/// A packed date in the low bits, and above how the stack stands.
#[derive(Clone, Copy)]
pub(super) struct Facts(pub(super) u32);

/// How the stack of somebody stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stack {
    /// In so many codes, at most [`MOST_CODED`].
    Coded(usize),
    /// There is none.
    Null,
    /// As texts behind the fullname.
    Spelled,
}

/// The most elements of a stack that is kept in codes.
pub(super) const MOST_CODED: usize = 253;

impl Facts {
    const DATE_BITS: u32 = 23;

    pub(super) fn new(date: u32, stack: Stack) -> Self {
        let stack = match stack {
            Stack::Coded(elements) => elements as u32,
            Stack::Null => MOST_CODED as u32 + 1,
            Stack::Spelled => MOST_CODED as u32 + 2,
        };
        Self(stack << Self::DATE_BITS | date)
    }

    fn date(self) -> u32 {
        self.0 & ((1 << Self::DATE_BITS) - 1)
    }

    fn stack(self) -> Stack {
        match (self.0 >> Self::DATE_BITS) as usize {
            elements @ 0..=MOST_CODED => Stack::Coded(elements),
            elements if elements == MOST_CODED + 1 => Stack::Null,
            _ => Stack::Spelled,
        }
    }

    /// How many codes there are.
    fn coded(self) -> usize {
        // Without a jump, so that those of many people are summed up in one step.
        let number = self.0 >> Self::DATE_BITS;
        number as usize * usize::from(number <= MOST_CODED as u32)
    }
}

/// Codes of elements.
#[derive(Clone, Default)]
pub(super) struct Codes([u64; 4]);

impl Codes {
    /// Whether the code is new.
    pub(super) fn insert(&mut self, code: u8) -> bool {
        let before = self.contains(code);
        self.0[usize::from(code >> 6)] |= 1 << (code & 63);
        !before
    }

    pub(super) fn contains(&self, code: u8) -> bool {
        self.0[usize::from(code >> 6)] >> (code & 63) & 1 == 1
    }

    pub(super) fn clear(&mut self) {
        self.0 = [0; 4];
    }

    fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }
}

/// Who of a shelf is still there.
#[derive(Clone)]
pub(super) struct Living {
    blocks: [u64; BLOCKS],
    people: usize,
}

impl Default for Living {
    fn default() -> Self {
        Self { blocks: [0; BLOCKS], people: 0 }
    }
}

impl Living {
    pub(super) fn insert(&mut self, position: usize) {
        self.blocks[position / BLOCK] |= 1 << (position % BLOCK);
        self.people += 1;
    }

    /// Takes away somebody who is there.
    pub(super) fn remove(&mut self, position: usize) {
        self.blocks[position / BLOCK] &= !(1 << (position % BLOCK));
        self.people -= 1;
    }

    pub(super) fn people(&self) -> usize {
        self.people
    }

    pub(super) fn positions(&self) -> impl Iterator<Item = usize> {
        self.blocks.iter().enumerate().flat_map(|(block, word)| bits(*word).map(move |bit| block * BLOCK + bit))
    }

    fn block(&self, block: usize) -> u64 {
        self.blocks[block]
    }
}
