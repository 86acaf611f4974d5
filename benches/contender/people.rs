//! The people that the memory is measured with.

use arena::load::payloads;
use arena::load::vocabulary::Vocabulary;
use bytes::Bytes;
use peleja::json::{self, Body, Stored};
use peleja::person;
use peleja::vocabulary::ENGLISH;
use uuid::Uuid;

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
