//! The rows that the benchmarks work on.

use arena::load::payloads::{self, HardCase};
use arena::load::vocabulary::Vocabulary;
use bytes::Bytes;
use peleja::json::{self, Body, Stored};
use peleja::memory::Record;
use peleja::person;
use peleja::vocabulary::ENGLISH;
use uuid::Uuid;

/// People that a correct server holds after the event.
pub const PEOPLE: usize = 46_576;

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

/// The first valid people of the event, each given to `take` as it would be stored.
pub fn for_each_person(count: usize, mut take: impl FnMut(Stored<'_>)) {
    let valid = payloads::people(payloads::SEED).filter(|row| row.status == 201);
    for (row, id) in valid.take(count).zip(1..) {
        let mut body = Body::from(Bytes::from(row.json(Vocabulary::Users)));
        let person = person::judge(json::read_draft(&mut body, &ENGLISH).unwrap()).unwrap();
        take(Stored {
            id: Uuid::from_u128(id),
            nickname: person.nickname,
            fullname: person.fullname,
            dob: person.dob,
            stack: person.stack.map(|stack| stack.into_iter().map(Some).collect()),
        });
    }
}

/// The same people, each owned, in order.
pub fn people(count: usize) -> Vec<Owned> {
    let mut people = Vec::with_capacity(count);
    for_each_person(count, |person| people.push(Owned::from(person)));
    people
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

/// The same people as they are answered.
pub fn records(count: usize) -> Vec<Record> {
    let mut records = Vec::with_capacity(count);
    for_each_person(count, |person| records.push(Record::new(&person)));
    records
}
