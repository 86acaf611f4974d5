//! From what is known to a body's bytes.

use criterion::{BatchSize, Criterion};
use peleja::error::Error;
use peleja::memory::Record;
use peleja::vocabulary::ENGLISH;

use crate::people;

/// What `routes` makes room for.
pub const ROOM: usize = 512;

pub fn benchmarks(criterion: &mut Criterion) {
    let mut records = Vec::new();
    people::for_each_person(1_000, |person| records.push(Record::new(&person)));
    let mut turn = records.iter().cycle();
    criterion.bench_function("answer/person", |bencher| {
        bencher.iter_batched_ref(
            || (turn.next().unwrap(), Vec::with_capacity(ROOM)),
            |(record, out)| record.write(out, &ENGLISH),
            BatchSize::SmallInput,
        );
    });
    let error = Error::Unprocessable("nickname", "is longer than 32 characters".into());
    criterion.bench_function("answer/problem", |bencher| bencher.iter(|| error.response()));
}
