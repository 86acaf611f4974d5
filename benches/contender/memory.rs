//! Remembering people, and finding them.

use std::hint::black_box;
use std::time::{Duration, Instant};

use arena::load::payloads;
use criterion::{BatchSize, BenchmarkId, Criterion};
use peleja::memory::{Memory, Record};

use crate::rows;

pub fn benchmarks(criterion: &mut Criterion) {
    remembering(criterion);
    finding(criterion);
}

fn remembering(criterion: &mut Criterion) {
    criterion.bench_function("memory/record", |bencher| {
        // A borrowed person lives no longer than the call that it is given to: this is the event's first.
        rows::for_each_person(1, |person| bencher.iter(|| Record::new(black_box(&person))));
    });
    let records = rows::records(rows::PEOPLE);
    criterion.bench_function("memory/add", |bencher| bencher.iter_custom(|count| time_to_add(&records, count)));
}

/// Everybody of the event comes to an empty memory, as often as it takes to have added so many.
fn time_to_add(records: &[Record], count: u64) -> Duration {
    let mut left = usize::try_from(count).unwrap();
    let mut time = Duration::ZERO;
    while left > 0 {
        let people = records[..left.min(records.len())].to_vec();
        left -= people.len();
        let mut memory = Memory::default();
        let start = Instant::now();
        people.into_iter().for_each(|person| memory.add(person));
        time += start.elapsed();
    }
    time
}

fn finding(criterion: &mut Criterion) {
    let mut memory = Memory::default();
    rows::records(rows::PEOPLE).into_iter().for_each(|record| memory.add(record));
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
