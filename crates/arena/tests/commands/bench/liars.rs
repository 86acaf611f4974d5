//! Servers that lie, each in one way, and what the judge says of them. `docs/JUDGE.md` shows this table.

use std::fs;
use std::path::Path;

use arena::record::run::{Outcome, Run};
use tempfile::TempDir;

use crate::Bench;
use crate::server::{Fault, Server};

/// One lie, and the words by which the verdict must name it.
struct Liar {
    what: &'static str,
    fault: Fault,
    load: &'static [&'static str],
    reason: &'static str,
}

const SHORTLY: &[&str] = &["--rate", "200", "--seconds", "1"];
const UNCOUNTED: &[&str] = &["--rate", "200", "--seconds", "1", "--no-count", "--any-refusal"];
const RAMP: &[&str] = &["--ramp", "50..100", "--step-seconds", "0.5"];
const PATIENT_RAMP: &[&str] = &["--ramp", "50..100", "--step-seconds", "0.5", "--until", "create.p99>9s"];

/// Every nickname is sent twice, by different people.
const LIARS: [Liar; 14] = [
    Liar {
        what: "takes every nickname twice",
        fault: Fault::TakesTwice,
        load: SHORTLY,
        reason: "creates were answered with 201 for a nickname that was taken",
    },
    Liar {
        what: "takes every nickname twice, and stores both",
        fault: Fault::TakesTwice,
        load: SHORTLY,
        reason: "people should not have been stored",
    },
    Liar {
        what: "refuses both of every pair of equal nicknames with 422",
        fault: Fault::RefusesEveryone { strangers: 0 },
        load: SHORTLY,
        reason: "valid people was taken",
    },
    Liar {
        what: "refuses everyone, with one person there before",
        fault: Fault::RefusesEveryone { strangers: 1 },
        load: SHORTLY,
        reason: "valid people was taken",
    },
    Liar {
        what: "answers 400 to every create, with `--no-count --any-refusal`",
        fault: Fault::RefusesBlindly,
        load: UNCOUNTED,
        reason: "valid people was taken",
    },
    Liar {
        what: "answers 422 and stores all the same",
        fault: Fault::StoresRefused,
        load: SHORTLY,
        reason: "people are stored whom nobody was told of",
    },
    Liar {
        what: "says that a person is stored who is not",
        fault: Fault::Loses,
        load: SHORTLY,
        reason: "people are lost: they were answered with 201 and are not stored",
    },
    Liar {
        what: "finds nobody, whatever the search",
        fault: Fault::FindsNobody,
        load: SHORTLY,
        reason: "do not find the person they are for, who was answered with 201",
    },
    Liar {
        what: "leaves the first out of what a search finds",
        fault: Fault::DropsFirstHit,
        load: SHORTLY,
        reason: "do not find the person they are for, who was answered with 201",
    },
    Liar {
        what: "finds fifty copies of an invented person",
        fault: Fault::InventsFifty,
        load: SHORTLY,
        reason: "answer has a person twice",
    },
    Liar {
        what: "finds an invented person beside the others",
        fault: Fault::InventsOne,
        load: SHORTLY,
        reason: "find somebody whom nobody sent",
    },
    Liar {
        what: "stores five people more 1.5 s after the last answer",
        fault: Fault::StoresLater,
        load: SHORTLY,
        reason: "after the last answer",
    },
    Liar {
        what: "answers 500 to everything, under a ramp",
        fault: Fault::FailsAll,
        load: RAMP,
        reason: "the first step failed already",
    },
    Liar {
        what: "answers every fetch with somebody else, under a ramp that waits for something else",
        fault: Fault::WrongPerson,
        load: PATIENT_RAMP,
        reason: "answer is not what was sent",
    },
];

#[test]
fn no_liar_passes() {
    let folder = TempDir::new().unwrap();
    let pairs = folder.path().join("pairs.tsv");
    fs::write(&pairs, payloads()).unwrap();
    std::thread::scope(|scope| {
        for liar in &LIARS {
            scope.spawn(|| assert_caught(liar, &pairs));
        }
    });
}

fn assert_caught(liar: &Liar, payloads: &Path) {
    let server = Server::start(liar.fault);
    let ended = Bench::sending(server.address, payloads).with(liar.load).output();
    let run = ended.run();
    let verdict = run.verdict();
    assert_eq!((ended.status(), verdict.outcome), (1, Outcome::Failed), "{}: {verdict:?}", liar.what);
    let is_named = verdict.reasons.iter().any(|reason| reason.contains(liar.reason));
    assert!(is_named, "{}: {verdict:?}", liar.what);
}

#[test]
fn the_same_load_upon_a_right_server_is_clean() {
    let folder = TempDir::new().unwrap();
    let pairs = folder.path().join("pairs.tsv");
    fs::write(&pairs, payloads()).unwrap();
    for load in [SHORTLY, UNCOUNTED, RAMP, PATIENT_RAMP] {
        let run = Bench::sending(Server::start(Fault::None).address, &pairs).with(load).output().run();
        crate::assert_clean(&run);
    }
}

#[test]
fn a_document_that_calls_lost_people_clean_is_not_taken_at_its_word() {
    let run = Bench::against(&Server::start(Fault::None)).with(SHORTLY).output().run();
    let mut document = serde_json::to_value(&run).unwrap();
    let ceiling = run.people().unwrap().ceiling;
    for (stored, outcome) in
        [(ceiling, run.verdict().outcome), (ceiling - 1, Outcome::Failed), (ceiling + 1, Outcome::Failed)]
    {
        document["people"]["stored"] = stored.into();
        let read: Run = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(read.verdict().outcome, outcome, "{stored} of {ceiling}");
    }
}

#[test]
fn the_document_shows_every_liar() {
    let document = include_str!("../../../../../docs/JUDGE.md");
    for Liar { what, reason, .. } in &LIARS {
        let row = format!("| {what} | {reason} |");
        assert!(document.contains(&row), "docs/JUDGE.md lacks this row:\n{row}");
    }
}

/// 150 nicknames, one after the other, each twice.
fn payloads() -> String {
    let person = |number: u32, fullname: &str| {
        format!(
            r#"{{"nickname":"nickname {number}","fullname":"{fullname} {number}","dob":"2000-01-01","stack":["Rust"]}}"#
        )
    };
    let rows = (0..150).flat_map(|number| [person(number, "The First Of Two"), person(number, "The Other One")]);
    std::iter::once("payload".to_owned()).chain(rows).map(|row| row + "\n").collect()
}
