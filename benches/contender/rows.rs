//! The rows that the benchmarks work on.

use arena::load::payloads::{self, HardCase};
use arena::load::vocabulary::Vocabulary;
use bytes::Bytes;
use peleja::json::{self, Body};
use peleja::vocabulary::ENGLISH;

/// Enough rows for every kind of fault to have its share.
const SAMPLE: usize = 1_000;

/// Bodies as the event sends them, a few of them faulty.
pub fn event() -> Vec<Bytes> {
    let rows = payloads::people(payloads::SEED).take(SAMPLE);
    rows.map(|row| row.json(Vocabulary::Users).into()).collect()
}

/// Bodies of everything that the event never sent, as far as they are read at all.
pub fn hard() -> Vec<Bytes> {
    let cases = payloads::hard_cases(Vocabulary::Users, payloads::SEED);
    let read = cases.filter(|case: &HardCase| case.body.len() <= json::BODY_LIMIT);
    read.take(SAMPLE).map(|case| case.body.into()).collect()
}

/// Those of the bodies from which a draft can be read.
pub fn readable(bodies: Vec<Bytes>) -> Vec<Body> {
    bodies.into_iter().filter(is_readable).map(Body::from).collect()
}

fn is_readable(body: &Bytes) -> bool {
    json::read_draft(&mut Body::from(body.clone()), &ENGLISH).is_ok()
}
