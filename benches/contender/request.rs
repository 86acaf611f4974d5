//! From a body's bytes to a person.

use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use peleja::json::{self, Body};
use peleja::person;
use peleja::vocabulary::ENGLISH;

use crate::rows;

/// The largest exponent that no double can hold, and a number that makes the parser begin again.
const HUGE_NUMBER: &str = r#"{"nickname":"n","fullname":"f","dob":"2000-01-01","stack":null,"height":1e999}"#;

pub fn benchmarks(criterion: &mut Criterion) {
    for (name, rows) in [("event", rows::event()), ("hard", rows::hard())] {
        validation(criterion, name, rows.clone());
        reading(criterion, name, rows);
    }
    reading(criterion, "huge number", vec![Bytes::from_static(HUGE_NUMBER.as_bytes())]);
}

/// A draft to a person, or to the reason why it is none.
fn validation(criterion: &mut Criterion, name: &str, rows: Vec<Bytes>) {
    let mut bodies = rows::readable(rows);
    let drafts: Vec<_> = bodies.iter_mut().map(|body| json::read_draft(body, &ENGLISH).unwrap()).collect();
    let mut turn = drafts.iter().cycle();
    criterion.bench_function(&format!("judge/{name}"), |bencher| {
        bencher.iter_batched(|| turn.next().unwrap().clone(), person::judge, BatchSize::SmallInput);
    });
}

/// What hyper hands over to what simd-json may write in, and that to a draft.
fn reading(criterion: &mut Criterion, name: &str, rows: Vec<Bytes>) {
    let mut turn = rows.iter().cycle();
    let mut group = criterion.benchmark_group("body");
    group.bench_function(format!("take/{name}"), |bencher| {
        bencher.iter_batched(|| turn.next().unwrap().clone(), Body::from, BatchSize::SmallInput);
    });
    group.bench_function(format!("read/{name}"), |bencher| {
        bencher.iter_batched_ref(
            || Body::from(turn.next().unwrap().clone()),
            |body| json::read_draft(body, &ENGLISH).is_ok(),
            BatchSize::SmallInput,
        );
    });
}
