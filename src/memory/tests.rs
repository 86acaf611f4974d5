//! The memory against a plain model of it, with texts that are hard to keep and to find.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use super::fold::fold_into;
use super::*;

/// Whatever may go wrong between texts as they came, as they are folded, and the bytes between them.
const TEXTS: [&str; 28] = [
    "",
    " ",
    "a",
    "A",
    "ab",
    "Straße",
    "STRASSE",
    "STRAẞE",
    "Σίσυφος",
    "ΣΊΣΥΦΟΣ",
    "ς",
    "é",
    "e\u{301}",
    "É",
    "🥊",
    "🥊🥊",
    "İ",
    "ı",
    "K",
    "ŉ",
    "ǅ",
    "ÿ",
    "\u{fffd}",
    "\u{10ffff}",
    "null",
    "a\"b\\c\u{1}",
    "þý\u{7f}",
    "x",
];
const DATES: [&str; 7] =
    ["2000-01-01", "1987-12-31", "0001-01-01", "infinity", "-infinity", "0044-03-15 BC", "10000-01-01"];
const TERMS: [&str; 24] = [
    "a", "B", "ab", "ss", "ß", "strasse", "σ", "Σ", "φος", "é", "É", "\u{301}", "🥊", "i", "k", "null", "x", "word 1",
    "word 99", "\"", "zzz", "qx", "f7a", "",
];

#[derive(Clone, Debug, PartialEq)]
struct Somebody {
    id: Uuid,
    nickname: String,
    fullname: String,
    dob: &'static str,
    stack: Option<Vec<Option<String>>>,
    folded: Vec<String>,
}

impl Somebody {
    /// One of as many different people as there are seeds; the same seed with another version has the same id.
    fn new(seed: u32, version: u32) -> Self {
        let mut draws = Draws(u64::from(seed) << 32 | u64::from(version));
        draws.next(1);
        let id = Uuid::from_u64_pair(Draws(u64::from(seed)).next(u64::MAX), u64::from(seed));
        let (nickname, fullname, stack) = (draws.text(), draws.text(), draws.stack());
        let texts = [&nickname, &fullname].into_iter().chain(stack.iter().flatten().flatten());
        let folded = texts.map(|text| fold(text)).collect();
        Self { id, nickname, fullname, dob: DATES[draws.next(40).min(6) as usize], stack, folded }
    }

    fn stored(&self) -> Stored<'_> {
        let stack = self.stack.as_ref().map(|stack| stack.iter().map(Option::as_deref).collect());
        Stored { id: self.id, nickname: &self.nickname, fullname: &self.fullname, dob: self.dob, stack }
    }

    /// The term is folded.
    fn has(&self, term: &str) -> bool {
        self.folded.iter().any(|text| text.contains(term))
    }
}

fn fold(text: &str) -> String {
    let mut folded = Vec::new();
    fold_into(&mut folded, text);
    String::from_utf8(folded).unwrap()
}

/// SplitMix64: what proptest would draw for thousands of people, it would also keep and shrink.
struct Draws(u64);

impl Draws {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % below
    }

    fn text(&mut self) -> String {
        match self.next(40) {
            0 => (0..self.next(4)).map(|_| TEXTS[self.next(TEXTS.len() as u64) as usize]).collect(),
            1 => TEXTS[self.next(TEXTS.len() as u64) as usize].repeat(50),
            _ => format!("{:x}", self.next(1 << 40)),
        }
    }

    fn stack(&mut self) -> Option<Vec<Option<String>>> {
        match self.next(60) {
            0 => None,
            1 => Some(Vec::new()),
            2 => Some((0..self.next(700)).map(|_| Some(format!("word {}", self.next(20)))).collect()),
            3 => Some((0..self.next(4)).map(|_| (self.next(2) == 0).then(|| self.text())).collect()),
            4 => Some(vec![Some("long ".repeat(40)), Some(format!("word {}", self.next(1000)))]),
            _ => Some((0..self.next(9)).map(|_| Some(format!("word {}", self.next(12)))).collect()),
        }
    }
}

/// Something that happens to a memory.
#[derive(Clone, Debug)]
enum Event {
    /// These come, in their first version.
    Add(std::ops::Range<u32>),
    /// Every so manieth of those comes in a version of its own.
    Put(std::ops::Range<u32>, u32, u32),
    /// Every so manieth of those goes.
    Remove(std::ops::Range<u32>, u32),
    /// Everyone is asked for.
    Look,
    /// So many pieces of a search.
    Advance(usize),
}

const MOST: u32 = 30_000;

fn events() -> impl Strategy<Value = Vec<Event>> {
    let range = || (0..MOST, 1..9_000_u32).prop_map(|(from, count)| from..(from + count).min(MOST));
    let event = prop_oneof![
        4 => range().prop_map(Event::Add),
        2 => (range(), 1..4_u32, 0..3_u32).prop_map(|(range, step, version)| Event::Put(range, step, version)),
        3 => (range(), 1..4_u32).prop_map(|(range, step)| Event::Remove(range, step)),
        1 => Just(Event::Look),
        4 => (1..3_usize).prop_map(Event::Advance),
    ];
    prop::collection::vec(event, 1..25)
}

/// A search under way, and who must and who may be found by it.
struct Sought {
    term: String,
    search: Search,
    must: BTreeSet<Uuid>,
    may: BTreeSet<Uuid>,
}

#[derive(Default)]
struct Trial {
    memory: Memory,
    model: BTreeMap<Uuid, Somebody>,
    sought: Vec<Sought>,
}

impl Trial {
    fn happens(&mut self, event: &Event) {
        match event.clone() {
            Event::Add(seeds) => seeds.map(|seed| Somebody::new(seed, 0)).for_each(|person| {
                self.memory.add(&person.stored());
                self.model.entry(person.id).or_insert(person);
            }),
            Event::Put(seeds, step, version) => seeds.step_by(step as usize).for_each(|seed| {
                let person = Somebody::new(seed, version);
                let differs = self.model.get(&person.id) != Some(&person);
                assert_eq!(self.memory.put(&person.stored()), differs);
                self.model.insert(person.id, person);
            }),
            Event::Remove(seeds, step) => seeds.step_by(step as usize).for_each(|seed| {
                let id = Somebody::new(seed, 0).id;
                assert_eq!(self.memory.remove(id), self.model.remove(&id).is_some());
            }),
            Event::Look => self.everyone_is_there(),
            Event::Advance(pieces) => return self.advance(pieces),
        }
        self.note();
    }

    fn everyone_is_there(&self) {
        assert_eq!(self.memory.len(), self.model.len());
        for seed in 0..MOST {
            let id = Somebody::new(seed, 0).id;
            let known = self.model.get(&id);
            assert_eq!(self.memory.contains(id), known.is_some());
            assert_eq!(self.memory.get(id), known.map(|person| Record::new(&person.stored())));
        }
        for term in TERMS.map(fold) {
            let expected = self.model.values().filter(|person| person.has(&term)).count().min(MOST_FOUND);
            let found = self.memory.search(&term);
            let ids: BTreeSet<Uuid> = found.iter().map(Record::id).collect();
            assert_eq!((found.len(), ids.len()), (expected, expected), "{term}");
            for record in found {
                let person = &self.model[&record.id()];
                assert!(person.has(&term) && record == Record::new(&person.stored()), "{term}: {person:?}");
            }
        }
    }

    /// Whoever has gone, or has the term no longer, need not be found any more; whoever has it now may be.
    fn note(&mut self) {
        for Sought { term, must, may, .. } in &mut self.sought {
            let have = || self.model.values().filter(|person| person.has(term)).map(|person| person.id);
            may.extend(have());
            let have: BTreeSet<Uuid> = have().collect();
            must.retain(|id| have.contains(id));
        }
    }

    fn advance(&mut self, pieces: usize) {
        if self.sought.is_empty() {
            self.sought = TERMS.map(|term| self.begin(term)).into();
        }
        let memory = &self.memory;
        self.sought = std::mem::take(&mut self.sought)
            .into_iter()
            .filter_map(|mut sought| {
                for _ in 0..pieces {
                    if memory.advance(&mut sought.search) == Step::Done {
                        sought.end();
                        return None;
                    }
                }
                Some(sought)
            })
            .collect();
    }

    fn begin(&self, term: &str) -> Sought {
        let search = Search::new(term);
        let term = fold(term);
        let have = self.model.values().filter(|person| person.has(&term));
        let must: BTreeSet<Uuid> = have.map(|person| person.id).collect();
        Sought { term, search, may: must.clone(), must }
    }
}

impl Sought {
    fn end(self) {
        let full = self.search.is_full();
        let found = self.search.found();
        let ids: BTreeSet<Uuid> = found.iter().map(Record::id).collect();
        assert_eq!(ids.len(), found.len(), "{}: somebody twice", self.term);
        assert!(ids.is_subset(&self.may), "{}: somebody without it", self.term);
        assert!(full || self.must.is_subset(&ids), "{}: somebody is missed", self.term);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_memory_does_what_a_plain_list_does(events in events()) {
        let mut trial = Trial::default();
        events.iter().for_each(|event| trial.happens(event));
        trial.everyone_is_there();
        while !trial.sought.is_empty() {
            trial.advance(1);
        }
    }
}

/// Whoever has only a few left is moved, and what they took is given back.
#[test]
fn shelves_that_are_mostly_dead_are_given_back() {
    let mut memory = Memory::default();
    let people: Vec<Somebody> = (0..60_000).map(|seed| Somebody::new(seed, 0)).collect();
    people.iter().for_each(|person| memory.add(&person.stored()));
    let all = memory.bytes();
    people.iter().filter(|person| person.id.as_u128() % 16 > 0).for_each(|person| assert!(memory.remove(person.id)));
    assert!(memory.bytes() < all / 3, "{} of {all}", memory.bytes());
    people.iter().for_each(|person| assert_eq!(memory.contains(person.id), person.id.as_u128() % 16 == 0));
    people.iter().for_each(|person| memory.add(&person.stored()));
    assert_eq!(memory.len(), people.len());
    assert!(memory.bytes() < all * 5 / 4, "{} of {all}", memory.bytes());
}

/// What `text.rs` rests on.
#[test]
fn folding_leaves_alone_what_is_folded() {
    for character in '\0'..=char::MAX {
        let once = fold(character.encode_utf8(&mut [0; 4]));
        assert_eq!(fold(&once), once, "{character:?}");
    }
}

/// Somebody whose texts have all that a sieve knows of the term `abcd`; whether also the term itself, is told.
fn nearly(number: usize, has_term: bool) -> Somebody {
    let fullname = format!("{}{}", if has_term { "abcd" } else { "abc bcd" }, "x".repeat(90));
    let id = Uuid::from_u128(number as u128);
    Somebody { id, nickname: String::new(), fullname, dob: DATES[0], stack: None, folded: Vec::new() }
}

fn add(memory: &mut Memory, numbers: std::ops::Range<usize>) {
    numbers.for_each(|number| memory.add(&nearly(number, false).stored()));
}

/// A search that has come by the first shelves, and not by the last.
fn begun(memory: &Memory) -> Search {
    let mut search = Search::new("abcd");
    assert_eq!(memory.advance(&mut search), Step::More);
    search
}

fn found(memory: &Memory, mut search: Search) -> Vec<Uuid> {
    while memory.advance(&mut search) == Step::More {}
    search.found().iter().map(Record::id).collect()
}

#[test]
fn who_changes_after_being_found_is_found_once() {
    let mut memory = Memory::default();
    let somebody = nearly(1, true);
    memory.add(&somebody.stored());
    add(&mut memory, 2..10 * shelf::SHELF);
    let search = begun(&memory);
    assert!(memory.put(&Somebody { nickname: "changed".into(), ..somebody.clone() }.stored()));
    assert_eq!(found(&memory, search), [somebody.id]);
}

#[test]
fn who_moves_to_where_a_search_has_been_is_found() {
    const SHELF: usize = shelf::SHELF;
    let mut memory = Memory::default();
    let somebody = nearly(9 * SHELF, true);
    add(&mut memory, 0..9 * SHELF);
    memory.add(&somebody.stored());
    add(&mut memory, 9 * SHELF + 1..10 * SHELF);
    // The first place is empty, and is that of the next shelf to grow.
    (0..SHELF).for_each(|number| assert!(memory.remove(Uuid::from_u128(number as u128))));
    add(&mut memory, 10 * SHELF..11 * SHELF + 1);
    let search = begun(&memory);
    // Somebody's shelf is given up, and the one that they move to is sealed.
    (9 * SHELF + 1..10 * SHELF).for_each(|number| assert!(memory.remove(Uuid::from_u128(number as u128))));
    add(&mut memory, 11 * SHELF + 1..12 * SHELF + 1);
    assert_eq!(found(&memory, search), [somebody.id]);
}
