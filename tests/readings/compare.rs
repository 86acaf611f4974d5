//! One reading held against the other; a difference panics.

use bytes::Bytes;
use peleja::json::{self, BODY_LIMIT, Body};
use peleja::person;
use peleja::routes::{self, Route};
use peleja::vocabulary::{self, Vocabulary};
use uuid::Uuid;

use super::reference::address::{self, Place};
use super::reference::json::Value;
use super::reference::rules::{self, Person};

/// A create's body, in both vocabularies.
pub fn body(bytes: &[u8]) {
    if bytes.len() > BODY_LIMIT {
        return;
    }
    for vocabulary in vocabulary::ALL {
        let mut body = Body::from(Bytes::copy_from_slice(bytes));
        let read = json::read_draft(&mut body, vocabulary).map_err(|_| 400);
        let judged =
            read.and_then(|draft| person::judge(draft).map_err(|fault| if fault.wrong_type { 400 } else { 422 }));
        let expected = rules::read(bytes, person_keys(vocabulary));
        assert_eq!(judged.as_ref().map(theirs).map_err(|status| *status), expected, "{}", shown(bytes));
        if let Ok(person) = &judged {
            assert_eq!(written_and_read(person, vocabulary), expected.ok(), "{}", shown(bytes));
        }
    }
}

/// What stands behind the question mark of a search.
pub fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for vocabulary in vocabulary::ALL {
        let term = routes::search_term(text, vocabulary.term).ok().map(|term| term.into_owned());
        assert_eq!(term, address::term(text, vocabulary.term), "{}", shown(bytes));
    }
}

/// A path.
pub fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let place = match routes::route(text) {
        None => Place::Nowhere,
        Some(Route::People(vocabulary)) => Place::People(vocabulary.collection),
        Some(Route::Person(vocabulary, id)) => Place::Person(vocabulary.collection, id.map(|id| id.as_u128())),
        Some(Route::Count) => Place::Count,
        Some(Route::Live | Route::Ready | Route::Metrics) => Place::OwnBusiness,
    };
    assert_eq!(place, address::place(text), "{}", shown(bytes));
}

fn person_keys(vocabulary: &Vocabulary) -> [&'static str; 4] {
    person::Field::ALL.map(|field| vocabulary.key(field))
}

fn theirs(person: &person::Person<'_>) -> Person {
    Person {
        texts: [person.nickname, person.fullname, person.dob].map(str::to_owned),
        stack: person.stack.as_ref().map(|stack| stack.iter().map(|element| (*element).to_owned()).collect()),
    }
}

/// A person as an answer has it, read again.
fn written_and_read(person: &person::Person<'_>, vocabulary: &Vocabulary) -> Option<Person> {
    let (mut values, mut out) = (Vec::new(), Vec::new());
    let texts = [person.nickname, person.fullname, person.dob].map(str::as_bytes);
    let stack = person.stack.as_ref().map(|stack| stack.iter().map(|element| Some(element.as_bytes())));
    let [a, b, c, d] = json::write_values(&mut values, texts, |out| json::write_stack(out, stack));
    let values = [&values[..a], &values[a..b], &values[b..c], &values[c..d]];
    json::write_object(&mut out, Uuid::nil(), values, vocabulary);
    assert!(matches!(Value::read(&out), Some(Value::Object(_))), "{}", shown(&out));
    rules::read(&out, person_keys(vocabulary)).ok()
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
