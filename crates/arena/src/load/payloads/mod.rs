//! The rows that feed a load, the same for the same seed everywhere, and what a correct server makes of them.

mod ceiling;
mod event;
mod files;
mod hard;
mod oracle;
pub mod random;
mod stored;

pub use ceiling::{Ceiling, ceiling};
pub use event::{EVENT_CREATES, Person, ROWS, SEED, TERMS, people, terms};
pub use files::{Files, Written, ensure, vocabulary, write_event, write_hard};
pub use hard::{HardCase, hard_cases};
pub use oracle::Oracle;
pub use stored::stored;

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::load::vocabulary::Vocabulary;

    /// Long enough for every rare kind of row to come up hundreds of times.
    const MANY: usize = 100_000;

    #[test]
    fn oracle_agrees_with_what_is_known_of_the_events_rows() {
        for (vocabulary, rows) in [(Vocabulary::Users, MANY), (Vocabulary::Pessoas, MANY / 10)] {
            let mut oracle = Oracle::new(vocabulary);
            let mut taken = HashSet::new();
            for person in people(1).take(rows) {
                let body = person.json(vocabulary);
                let known = match person.status {
                    201 if !taken.insert(person.nickname) => 422,
                    status => status,
                };
                assert_eq!(oracle.create(body.as_bytes()), known, "{body}");
            }
            assert_eq!(oracle.people(), taken.len() as u64);
            assert_eq!(Ceiling::of_seed(1, rows as u64).after(rows as u64), taken.len() as u64);
        }
    }

    #[test]
    fn oracle_agrees_with_what_is_known_of_the_hard_cases() {
        for (vocabulary, rows) in [(Vocabulary::Users, 20_000), (Vocabulary::Pessoas, 5_000)] {
            let mut oracle = Oracle::new(vocabulary);
            for case in hard_cases(vocabulary, 2).take(rows) {
                let body = String::from_utf8_lossy(&case.body);
                assert_eq!(oracle.create(&case.body), case.status, "{}: {body}", case.name);
            }
        }
    }

    #[test]
    fn hard_cases_cover_every_status_often() {
        let mut count: HashMap<u16, usize> = HashMap::new();
        for case in hard_cases(Vocabulary::Users, 1).take(20_000) {
            *count.entry(case.status).or_default() += 1;
        }
        for (status, least) in [(201, 4_000), (400, 4_000), (413, 100), (422, 2_000)] {
            assert!(count[&status] >= least, "{status}: {count:?}");
        }
    }

    #[test]
    fn rows_are_distributed_as_the_events() {
        let rows: Vec<Person> = people(1).take(MANY).collect();
        let per_mille = |count: usize| count * 1_000 / MANY;
        let share = |test: &dyn Fn(&Person) -> bool| per_mille(rows.iter().filter(|row| test(row)).count());

        assert_eq!(share(&|row| row.nickname.len() == 35), 1_000 / 99);
        assert_eq!(share(&|row| row.fullname.len() == 120), 1_000 / 99);
        let months = |month: &str| share(&|row| row.json(Vocabulary::Users).contains(&format!("-{month}-")));
        assert_eq!(months("13"), 76, "98 in 99 times 1 in 13");
        assert_eq!(
            share(&|row| row.json(Vocabulary::Users).ends_with("\"stack\": null}")),
            70,
            "98 in 99 times 1 in 14"
        );
        let lengths: std::collections::BTreeSet<usize> = rows.iter().map(|row| row.nickname.len()).collect();
        assert!(lengths.into_iter().eq((1..=32).chain([35])));
        let lengths: std::collections::BTreeSet<usize> = rows.iter().map(|row| row.fullname.len()).collect();
        assert!(lengths.into_iter().eq((1..=100).chain([120])));
    }

    #[test]
    fn terms_are_stripped_and_never_empty() {
        for term in terms(1).take(5_000) {
            assert!((1..=50).contains(&term.len()));
            assert_eq!(term, term.trim());
        }
        assert!(terms(1).take(MANY).any(|term| term == "x"));
    }

    #[test]
    fn vocabularies_differ_in_keys_only() {
        let users: Vec<String> = people(3).take(100).map(|person| person.json(Vocabulary::Users)).collect();
        let pessoas = people(3).take(100).map(|person| {
            let json = person.json(Vocabulary::Pessoas);
            json.replace("\"apelido\"", "\"nickname\"")
                .replace("\"nome\"", "\"fullname\"")
                .replace("\"nascimento\"", "\"dob\"")
        });
        assert!(pessoas.eq(users));
    }
}
