//! Remembering people, and finding them.

use std::hint::black_box;
use std::time::{Duration, Instant};

use arena::load::payloads;
use criterion::{BatchSize, BenchmarkId, Criterion};
use peleja::memory::{Memory, Record};

use crate::rows::{self, Owned};

pub fn benchmarks(criterion: &mut Criterion) {
    remembering(criterion);
    finding(criterion);
}

fn remembering(criterion: &mut Criterion) {
    criterion.bench_function("memory/record", |bencher| {
        // A borrowed person lives no longer than the call that it is given to: this is the event's first.
        rows::for_each_person(1, |person| bencher.iter(|| Record::new(black_box(&person))));
    });
    let people = rows::people(rows::PEOPLE);
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
    rows::for_each_person(rows::PEOPLE, |person| memory.add(&person));
    let mut group = criterion.benchmark_group("memory/search");
    let mut terms = payloads::terms(payloads::SEED).take(5_000).collect::<Vec<_>>().into_iter().cycle();
    group.bench_function("the event's terms", |bencher| {
        bencher.iter_batched_ref(|| terms.next().unwrap(), |term| memory.search(term).len(), BatchSize::SmallInput);
    });
    for (name, term) in [
        ("nobody has it", "nobody has this"),
        ("many have it", "postgres"),
        ("two letters", "qz"),
        ("two letters that nobody has", "!?"),
    ] {
        group.bench_with_input(BenchmarkId::from_parameter(name), term, |bencher, term| {
            bencher.iter(|| memory.search(black_box(term)).len());
        });
    }
}
