//! The checker of torments: histories that a correct server can have made pass, and each kind of fault, put in by hand, is told.

#![allow(clippy::unwrap_used, clippy::panic)]

use arena::record::torment::check::{Findings, check};
use arena::record::torment::{Asked, Details, Fault, Header, History, Person, Request, Said};
use proptest::collection::vec;
use proptest::prelude::*;

/// One request of a simulated history: what is asked, by and for whom, how it ends, and when it is done between its two ends.
#[derive(Clone, Debug)]
struct Step {
    kind: u8,
    who: u8,
    outcome: u8,
    gap: u64,
    lasts: u64,
    done: u64,
}

fn step() -> impl Strategy<Value = Step> {
    (0..8_u8, any::<u8>(), 0..6_u8, 0..20_u64, 2..60_u64, any::<u64>()).prop_map(
        |(kind, who, outcome, gap, lasts, done)| Step { kind, who, outcome, gap, lasts, done: 1 + done % (lasts - 1) },
    )
}

fn details(nickname: &str, nth: usize) -> Details {
    let stack = nth.is_multiple_of(3).then(|| vec![format!("É{nth}"), "Rust".to_owned()]);
    Details { nickname: nickname.into(), fullname: format!("full {nth}"), dob: "2000-02-29".into(), stack }
}

fn request(begin: u64, end: u64, asked: Asked, status: u16, said: Option<Said>) -> Request {
    let status = (status > 0).then_some(status);
    Request { client: 1, begin, end, asked, status, said }
}

/// What a server does that is correct, does one thing at a time, and sometimes does not answer.
fn simulate(steps: &[Step]) -> (Vec<Request>, Vec<Person>) {
    let mut begin = 0;
    let mut timed: Vec<(u64, u64, u64, usize, &Step)> = Vec::new();
    for (nth, step) in steps.iter().enumerate() {
        begin += step.gap;
        timed.push((begin + step.done, begin, begin + step.lasts, nth, step));
    }
    timed.sort_unstable_by_key(|(done, _, _, nth, _)| (*done, *nth));
    let mut stored: Vec<Person> = Vec::new();
    let mut requests = Vec::new();
    for (_, begin, end, nth, step) in timed {
        let failed = step.outcome < 2;
        let status = if step.outcome == 0 { 0 } else { 503 };
        let answer = match step.kind {
            0..4 => {
                let details = details(&format!("nick{}", step.who % 40), nth);
                let taken = stored.iter().any(|person| person.details.nickname == details.nickname);
                let asked = Asked::Create(details.clone());
                // Who is not answered may be stored or not.
                if !taken && (!failed || step.who.is_multiple_of(2)) {
                    stored.push(Person { id: format!("id{nth}"), details });
                }
                let said = (!failed && !taken).then(|| Said::Id(format!("id{nth}")));
                (
                    asked,
                    if failed {
                        status
                    } else if taken {
                        422
                    } else {
                        201
                    },
                    said,
                )
            }
            4 | 5 => {
                let id =
                    stored.get(usize::from(step.who) % stored.len().max(1)).map_or("none".into(), |p| p.id.clone());
                let found: Vec<Person> = stored.iter().filter(|person| person.id == id).cloned().collect();
                let right = if found.is_empty() { 404 } else { 200 };
                let said = (!failed && right == 200).then_some(Said::People(found));
                (Asked::Fetch(id), if failed { status } else { right }, said)
            }
            6 => {
                let term = ["nick1", "FULL", "é3", "rust"][usize::from(step.who) % 4].to_owned();
                let found = stored.iter().filter(|person| has(person, &term)).take(50).cloned().collect();
                (Asked::Search(term), if failed { status } else { 200 }, (!failed).then_some(Said::People(found)))
            }
            _ => {
                let number = Said::Number(stored.len() as u64);
                (Asked::Count, if failed { status } else { 200 }, (!failed).then_some(number))
            }
        };
        requests.push(request(begin, end, answer.0, answer.1, answer.2));
    }
    requests.sort_by_key(|request| request.end);
    (requests, stored)
}

fn has(person: &Person, term: &str) -> bool {
    let stack = person.details.stack.iter().flatten();
    let mut texts = [&person.details.nickname, &person.details.fullname].into_iter().chain(stack);
    texts.any(|text| text.to_lowercase().contains(&term.to_lowercase()))
}

/// A fault, put into a clean history with somebody acknowledged, and the kind that tells it.
type Injection = (&'static str, fn(&mut Vec<Request>, &mut Vec<Person>, &Person), fn(&Findings) -> &Vec<String>);

const INJECTIONS: [Injection; 16] = [
    ("a row is gone", |_, rows, of| rows.retain(|row| row != of), |f| &f.lost),
    ("a row has another text", |_, rows, of| row(rows, of).details.fullname.push(' '), |f| &f.lost),
    ("a row has another date", |_, rows, of| row(rows, of).details.dob = "2000-02-28".into(), |f| &f.lost),
    ("a row's stack is gone", |_, rows, of| row(rows, of).details.stack = Some(vec!["?".into()]), |f| &f.lost),
    ("a row has another id", |_, rows, of| row(rows, of).id = "other".into(), |f| &f.lost),
    (
        "somebody is seen who is gone in the end",
        |requests, _, _| {
            let asked = details("dirty", 900);
            let seen = Person { id: "dirty".into(), details: asked.clone() };
            requests.push(request(LATER, LATER + 1, Asked::Create(asked), 0, None));
            requests.push(request(
                LATER + 2,
                LATER + 3,
                Asked::Search("dirty".into()),
                200,
                Some(Said::People(vec![seen])),
            ));
        },
        |f| &f.lost,
    ),
    ("a nickname is stored twice", |_, rows, of| rows.push(Person { id: "twin".into(), ..of.clone() }), |f| &f.doubled),
    (
        "two creates get one id",
        |requests, _, of| {
            let asked = Asked::Create(details("second", 901));
            requests.push(request(LATER, LATER + 1, asked, 201, Some(Said::Id(of.id.clone()))));
        },
        |f| &f.doubled,
    ),
    (
        "a nickname is given twice",
        |requests, _, of| {
            let asked = Asked::Create(details(&of.details.nickname, 902));
            requests.push(request(LATER, LATER + 1, asked, 201, Some(Said::Id("id902".into()))));
        },
        |f| &f.doubled,
    ),
    (
        "a fetch does not find who is there",
        |requests, _, of| requests.push(request(LATER, LATER + 1, Asked::Fetch(of.id.clone()), 404, None)),
        |f| &f.stale,
    ),
    (
        "a search does not find who is there",
        |requests, _, of| {
            let asked = Asked::Search(of.details.fullname.to_uppercase());
            requests.push(request(LATER, LATER + 1, asked, 200, Some(Said::People(vec![]))));
        },
        |f| &f.stale,
    ),
    (
        "a count is behind",
        |requests, _, _| requests.push(request(LATER, LATER + 1, Asked::Count, 200, Some(Said::Number(0)))),
        |f| &f.stale,
    ),
    (
        "a count is ahead",
        |requests, _, _| requests.push(request(LATER, LATER + 1, Asked::Count, 200, Some(Said::Number(1_000)))),
        |f| &f.phantom,
    ),
    (
        "a row that nobody sent",
        |_, rows, _| rows.push(Person { id: "new".into(), details: details("nobody's", 903) }),
        |f| &f.phantom,
    ),
    (
        "somebody refused is stored",
        |requests, rows, of| {
            let asked = details(&format!("{}!", of.details.nickname), 904);
            requests.push(request(LATER, LATER + 1, Asked::Create(asked.clone()), 422, None));
            rows.push(Person { id: "id904".into(), details: asked });
        },
        |f| &f.phantom,
    ),
    (
        "somebody is refused for nobody's sake",
        |requests, _, _| {
            requests.push(request(LATER, LATER + 1, Asked::Create(details("free", 905)), 422, None));
        },
        |f| &f.unexplained,
    ),
];

/// Behind all that is simulated.
const LATER: u64 = 1_000_000;

fn row<'a>(rows: &'a mut [Person], of: &Person) -> &'a mut Person {
    rows.iter_mut().find(|row| *row == of).unwrap()
}

fn acknowledged(requests: &[Request], rows: &[Person]) -> Option<Person> {
    let ids = requests.iter().filter_map(|request| match &request.said {
        Some(Said::Id(id)) => Some(id),
        _ => None,
    });
    ids.filter_map(|id| rows.iter().find(|row| row.id == *id)).next().cloned()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn what_a_correct_server_does_passes_and_every_fault_put_into_it_is_told(steps in vec(step(), 1..80)) {
        let (requests, rows) = simulate(&steps);
        let clean = check(&requests, &rows);
        prop_assert!(clean.is_clean(), "{clean:?}");
        if let Some(of) = acknowledged(&requests, &rows) {
            for (what, inject, kind) in INJECTIONS {
                let (mut requests, mut rows) = (requests.clone(), rows.clone());
                inject(&mut requests, &mut rows, &of);
                let findings = check(&requests, &rows);
                prop_assert!(!kind(&findings).is_empty(), "{what}: {findings:?}");
            }
        }
    }
}

/// A create of somebody, acknowledged, and the row.
fn somebody() -> (Vec<Request>, Vec<Person>) {
    let asked = details("a", 1);
    let create = request(10, 20, Asked::Create(asked.clone()), 201, Some(Said::Id("1".into())));
    (vec![create], vec![Person { id: "1".into(), details: asked }])
}

fn only(findings: &Findings) -> Vec<&'static str> {
    findings.kinds().into_iter().filter(|(_, found)| !found.is_empty()).map(|(kind, _)| kind).collect()
}

/// Nobody can say which of two came first that were under way at the same time.
#[test]
fn what_was_under_way_at_the_same_time_may_have_come_in_either_order() {
    let (mut requests, rows) = somebody();
    requests.push(request(15, 25, Asked::Fetch("1".into()), 404, None));
    requests.push(request(20, 25, Asked::Search("a".into()), 200, Some(Said::People(vec![]))));
    requests.push(request(5, 30, Asked::Count, 200, Some(Said::Number(0))));
    requests.push(request(5, 11, Asked::Count, 200, Some(Said::Number(1))));
    let taken = Asked::Create(details("a", 2));
    requests.push(request(1, 12, taken, 422, None));
    assert_eq!(only(&check(&requests, &rows)), [] as [&str; 0]);
}

#[test]
fn who_comes_later_is_seen_by_nobody_before() {
    let (mut requests, rows) = somebody();
    let early = Said::People(rows.clone());
    requests.push(request(1, 9, Asked::Search("a".into()), 200, Some(early)));
    assert_eq!(only(&check(&requests, &rows)), ["phantom"]);
    let (mut requests, rows) = somebody();
    requests.push(request(1, 9, Asked::Create(details("a", 2)), 422, None));
    assert_eq!(only(&check(&requests, &rows)), ["unexplained"], "the nickname was free until then");
}

#[test]
fn what_an_answer_says_is_what_was_sent() {
    for (wrong, kind) in [
        (Person { id: "2".into(), details: details("a", 1) }, "phantom"),
        (Person { id: "1".into(), details: details("A", 1) }, "phantom"),
    ] {
        let (mut requests, rows) = somebody();
        requests.push(request(30, 40, Asked::Fetch("1".into()), 200, Some(Said::People(vec![wrong.clone()]))));
        assert_eq!(only(&check(&requests, &rows)), [kind], "{wrong:?}");
    }
    let (mut requests, rows) = somebody();
    let other = Said::People(rows.clone());
    requests.push(request(30, 40, Asked::Search("zz".into()), 200, Some(other)));
    requests.push(request(30, 40, Asked::Count, 200, Some(Said::Nonsense("<html>".into()))));
    let findings = check(&requests, &rows);
    assert_eq!((only(&findings), findings.phantom.len()), (vec!["phantom"], 2));
}

/// More than 50 are told of by no search, and who is not among them is not missed.
#[test]
fn a_search_that_is_full_misses_nobody() {
    let (mut requests, mut rows) = (Vec::new(), Vec::new());
    for nth in 0..60 {
        let asked = details(&format!("same {nth}"), nth);
        requests.push(request(10, 20, Asked::Create(asked.clone()), 201, Some(Said::Id(format!("{nth}")))));
        rows.push(Person { id: format!("{nth}"), details: asked });
    }
    let found = |number: usize| Some(Said::People(rows[..number].to_vec()));
    let search = |number| request(30, 40, Asked::Search("same".into()), 200, found(number));
    requests.push(search(50));
    assert_eq!(only(&check(&requests, &rows)), [] as [&str; 0]);
    requests.push(search(49));
    let findings = check(&requests, &rows);
    assert_eq!((only(&findings), findings.stale.len()), (vec!["stale"], 11));
}

#[test]
fn a_503_is_no_refusal_and_any_other_one_must_have_its_reason() {
    let (mut requests, rows) = somebody();
    requests.push(request(1, 9, Asked::Create(details("b", 2)), 503, None));
    requests.push(request(1, 9, Asked::Fetch("1".into()), 503, None));
    assert_eq!(only(&check(&requests, &rows)), [] as [&str; 0]);
    for refusal in [
        request(30, 40, Asked::Create(details("c", 3)), 400, None),
        request(30, 40, Asked::Search("a".into()), 400, None),
        request(30, 40, Asked::Count, 405, None),
    ] {
        let requests = [requests.clone(), vec![refusal.clone()]].concat();
        assert_eq!(only(&check(&requests, &rows)), ["unexplained"], "{refusal:?}");
    }
    // Of two that want one nickname neither may be refused while neither is stored.
    let rivals = [4, 5].map(|nth| request(30, 40, Asked::Create(details("d", nth)), 422, None));
    let findings = check(&[requests, rivals.to_vec()].concat(), &rows);
    assert_eq!((only(&findings), findings.unexplained.len()), (vec!["unexplained"], 2));
}

#[test]
fn a_history_is_kept_as_it_is_and_a_file_that_is_none_is_told_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("torments/one.jsonl");
    let (requests, rows) = somebody();
    let fault = Fault { name: "kill-db".into(), begin: 1, end: 1, back: Some(2) };
    let history = History { header: Header::new("one".into()), requests, faults: vec![fault], rows };
    history.write(&path).unwrap();
    assert_eq!(History::read(&path).unwrap(), history);
    std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "{\"request\":1}\n").unwrap();
    assert!(format!("{:#}", History::read(&path).unwrap_err()).contains("line 5"));
    std::fs::write(&path, "").unwrap();
    assert!(History::read(&path).is_err());
}
