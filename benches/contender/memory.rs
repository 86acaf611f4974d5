//! Remembering people, and finding them.

use std::hint::black_box;
use std::time::{Duration, Instant};

use arena::load::payloads;
use criterion::{BatchSize, BenchmarkId, Criterion};
use peleja::json::Stored;
use peleja::memory::{Memory, Record};
use peleja::vocabulary::ENGLISH;
use uuid::Uuid;

use crate::answer::ROOM;
use crate::people;

/// People that a correct server holds after the event.
pub const PEOPLE: usize = 46_576;

pub fn benchmarks(criterion: &mut Criterion) {
    remembering(criterion);
    finding(criterion);
}

fn remembering(criterion: &mut Criterion) {
    criterion.bench_function("memory/record", |bencher| {
        // A borrowed person lives no longer than the call that it is given to: this is the event's first.
        people::for_each_person(1, |person| bencher.iter(|| Record::new(black_box(&person))));
    });
    let mut people = Vec::with_capacity(PEOPLE);
    people::for_each_person(PEOPLE, |person| people.push(Owned::from(person)));
    criterion.bench_function("memory/add", |bencher| bencher.iter_custom(|count| time_to_add(&people, count)));
}

/// Everybody of the event comes to an empty memory, as often as it takes to have added so many.
fn time_to_add(people: &[Owned], count: u64) -> Duration {
    let mut left = usize::try_from(count).unwrap();
    let mut time = Duration::ZERO;
    while left > 0 {
        let people = &people[..left.min(people.len())];
        left -= people.len();
        let mut memory = Memory::default();
        let start = Instant::now();
        people.iter().for_each(|person| memory.add(&person.stored()));
        time += start.elapsed();
    }
    time
}

fn finding(criterion: &mut Criterion) {
    let mut memory = Memory::default();
    people::for_each_person(PEOPLE, |person| memory.add(&person));
    let mut turn = (0..PEOPLE).map(|turn| Uuid::from_u128((turn * 7919 % PEOPLE) as u128 + 1)).cycle();
    criterion.bench_function("memory/fetch", |bencher| {
        bencher.iter_batched_ref(
            || (turn.next().unwrap(), Vec::with_capacity(ROOM)),
            |(id, out)| memory.get(*id).unwrap().write(out, &ENGLISH),
            BatchSize::SmallInput,
        );
    });
    let mut group = criterion.benchmark_group("memory/search");
    let mut terms = payloads::terms(payloads::SEED).take(5_000).collect::<Vec<_>>().into_iter().cycle();
    group.bench_function("the event's terms", |bencher| {
        bencher.iter_batched_ref(|| terms.next().unwrap(), |term| memory.search(term).len(), BatchSize::SmallInput);
    });
    for (name, term) in [
        ("nobody has it", "nobody has this"),
        ("many have it", "postgres"),
        ("one letter", "e"),
        ("two letters", "qz"),
        ("three letters", "qzx"),
        ("four letters", "qzxk"),
        ("two letters that nobody has", "!?"),
    ] {
        group.bench_with_input(BenchmarkId::from_parameter(name), term, |bencher, term| {
            bencher.iter(|| memory.search(black_box(term)).len());
        });
    }
}

/// A person who is borrowed from again and again.
pub struct Owned {
    id: Uuid,
    nickname: String,
    fullname: String,
    dob: String,
    stack: Option<Vec<String>>,
}

impl From<Stored<'_>> for Owned {
    fn from(person: Stored<'_>) -> Self {
        let owned = |stack: Vec<Option<&str>>| stack.into_iter().flatten().map(str::to_owned).collect();
        Self {
            id: person.id,
            nickname: person.nickname.to_owned(),
            fullname: person.fullname.to_owned(),
            dob: person.dob.to_owned(),
            stack: person.stack.map(owned),
        }
    }
}

impl Owned {
    /// As the memory is given one.
    pub fn stored(&self) -> Stored<'_> {
        Stored {
            id: self.id,
            nickname: &self.nickname,
            fullname: &self.fullname,
            dob: &self.dob,
            stack: self.stack.as_ref().map(|stack| stack.iter().map(|element| Some(element.as_str())).collect()),
        }
    }
}
