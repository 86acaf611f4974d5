//! Everything that the event's data never had, and what each must be answered.

use arena::load::payloads::{SEED, hard_cases};
use arena::load::vocabulary::Vocabulary;

use crate::http::post;
use crate::stack::Stack;

const CASES: usize = 3_000;

fn every_hard_case_gets_its_status(vocabulary: Vocabulary) {
    let stack = Stack::own();
    for case in hard_cases(vocabulary, SEED).take(CASES) {
        let answer = post(stack.address(), vocabulary.people_path(), &case.body);
        assert_eq!(answer.status, case.status, "{}: {}: {answer:?}", case.name, String::from_utf8_lossy(&case.body));
    }
}

#[test]
fn every_hard_case_gets_its_status_in_english() {
    every_hard_case_gets_its_status(Vocabulary::Users);
}

#[test]
fn every_hard_case_gets_its_status_in_the_event_s_words() {
    every_hard_case_gets_its_status(Vocabulary::Pessoas);
}
