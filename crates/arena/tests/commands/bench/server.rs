//! A small people API that does everything right, but for one fault that it is told to have.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arena::load::payloads::Oracle;
use arena::load::vocabulary::Vocabulary;
use serde_json::{Value, json};

/// What the server does wrong, or in a way that a client must cope with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// A fetch is answered with 500.
    Status,
    /// A fetch is answered after this many milliseconds.
    Slow(u64),
    /// A fetch is never answered.
    Mute,
    /// The connection of a fetch is closed without an answer.
    Close,
    /// It is closed in the middle of the answer.
    CloseInTheMiddle,
    /// A fetch is answered with what is no HTTP.
    Garbage,
    /// Answers are chunked, in pieces, with an interim answer before them.
    Chunked,
    /// Every connection is closed after one answer, and the answer has no length.
    OneAnswerEach,
    /// A fetch gives somebody else's name.
    WrongPerson,
    /// A search also finds somebody who does not match.
    WrongHit,
    /// A search without a term is fine.
    AcceptsAnySearch,
    /// A create that should be refused is accepted.
    AcceptsAnyone,
    /// What should be refused with 422 is refused with 400.
    OtherRefusals,
    /// Every tenth person that should be accepted is refused with 422.
    RefusesSome,
    /// Every tenth person that is acknowledged is not stored.
    Loses,
    /// A create is accepted without saying where the person is.
    NoLocation,
    /// It says so in these words, where `ID` is the person's id.
    Locates(&'static str),
    /// A connection that carried a request is closed when the next one comes, which nobody reads.
    ClosesIdle,
    /// More comes behind a fetch than its answer has said.
    Excess,
    /// Every nickname is taken twice.
    TakesTwice,
    /// Every valid person is refused with 422; that many strangers are there.
    RefusesEveryone {
        strangers: u64,
    },
    /// Every create is answered with 400.
    RefusesBlindly,
    /// Every valid person is refused with 422, and stored all the same.
    StoresRefused,
    /// A search finds nobody.
    FindsNobody,
    /// The first whom a search finds is left out.
    DropsFirstHit,
    /// A search finds fifty copies of one who does not exist.
    InventsFifty,
    /// A search finds one more, who does not exist.
    InventsOne,
    /// Five people more are there, once nobody has asked for a while.
    StoresLater,
    /// Everything but the count is answered with 500.
    FailsAll,
    /// Every second fetch is refused with 503 and `Retry-After`.
    RefusesInTime,
    /// The count is refused with 503 once people are there.
    CannotCount,
}

/// How long [`Fault::StoresLater`] waits.
const LATER: Duration = Duration::from_millis(1500);

/// The server, with what it saw. Its threads end with the test.
pub struct Server {
    pub address: SocketAddr,
    state: Arc<State>,
}

impl Server {
    pub fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::new(fault));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                state.connections.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, state }
    }

    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::Relaxed)
    }

    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }
}

struct State {
    fault: Fault,
    oracle: Mutex<Oracle>,
    people: Mutex<HashMap<u64, Value>>,
    created: AtomicU64,
    connections: AtomicU64,
    requests: AtomicU64,
    /// When the last request came that was not for the count.
    latest: Mutex<Instant>,
}

struct Answer {
    status: u16,
    location: Option<String>,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, location: None, body: body.into() }
    }
}

impl State {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            oracle: Mutex::new(Oracle::new(Vocabulary::Users)),
            people: Mutex::default(),
            created: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            latest: Mutex::new(Instant::now()),
        }
    }

    fn answer(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        match (method, path.split_once('?')) {
            ("POST", None) if path == "/users" => self.create(body),
            ("GET", None) if path == "/users" && self.fault == Fault::AcceptsAnySearch => Answer::new(200, "[]"),
            ("GET", None) if path == "/users" => Answer::new(400, "a term is missing"),
            ("GET", None) if path == "/users-count" && self.fault == Fault::CannotCount && self.count() > 0 => {
                Answer::new(503, "busy")
            }
            ("GET", None) if path == "/users-count" => Answer::new(200, self.count().to_string()),
            _ if self.fault == Fault::FailsAll => Answer::new(500, "out of order"),
            ("GET", None) => self.fetch(path),
            ("GET", Some(("/users", query))) => self.search(query.strip_prefix("q=").unwrap()),
            _ => Answer::new(404, ""),
        }
    }

    fn count(&self) -> u64 {
        let others = match self.fault {
            Fault::RefusesEveryone { strangers } => strangers,
            Fault::StoresLater if self.latest.lock().unwrap().elapsed() >= LATER => 5,
            _ => 0,
        };
        self.people.lock().unwrap().len() as u64 + others
    }

    fn create(&self, body: &[u8]) -> Answer {
        let is_valid = Oracle::new(Vocabulary::Users).create(body) == 201;
        let status = match self.oracle.lock().unwrap().create(body) {
            400 if self.fault == Fault::AcceptsAnyone => 201,
            422 if self.fault == Fault::OtherRefusals => 400,
            422 if self.fault == Fault::TakesTwice && is_valid => 201,
            201 if matches!(self.fault, Fault::RefusesEveryone { .. }) => 422,
            201 if self.fault == Fault::StoresRefused => {
                let id = self.created.fetch_add(1, Ordering::Relaxed);
                self.people.lock().unwrap().insert(id, serde_json::from_slice(body).unwrap());
                422
            }
            _ if self.fault == Fault::RefusesBlindly => 400,
            status => status,
        };
        if status != 201 {
            return Answer::new(status, "refused");
        }
        let id = self.created.fetch_add(1, Ordering::Relaxed);
        if self.fault == Fault::RefusesSome && id.is_multiple_of(10) {
            return Answer::new(422, "refused");
        }
        let is_lost = self.fault == Fault::Loses && id.is_multiple_of(10);
        if !is_lost {
            self.people.lock().unwrap().insert(id, serde_json::from_slice(body).unwrap());
        }
        let location = match self.fault {
            Fault::NoLocation => None,
            Fault::Locates(words) => Some(words.replace("ID", &id.to_string())),
            _ => Some(format!("/users/{id}")),
        };
        Answer { location, ..Answer::new(201, "") }
    }

    fn fetch(&self, path: &str) -> Answer {
        let id = path.trim_end_matches('/').rsplit('/').next().unwrap();
        let Some(mut person) = self.people.lock().unwrap().get(&id.parse().unwrap()).cloned() else {
            return Answer::new(404, "");
        };
        person["id"] = json!(id);
        match self.fault {
            Fault::Status => return Answer::new(500, "out of\norder"),
            Fault::RefusesInTime if self.requests.load(Ordering::Relaxed).is_multiple_of(2) => {
                return Answer::new(503, "busy");
            }
            Fault::WrongPerson => person["fullname"] = json!("Somebody Else"),
            _ => {}
        }
        Answer::new(200, person.to_string())
    }

    fn search(&self, term: &str) -> Answer {
        let term = term.replace('+', " ").to_lowercase();
        let people = self.people.lock().unwrap();
        let is_in = |text: &Value| text.as_str().is_some_and(|text| text.to_lowercase().contains(&term));
        let matches = |person: &Value| {
            let stack = person["stack"].as_array().into_iter().flatten();
            [&person["nickname"], &person["fullname"]].into_iter().chain(stack).any(is_in)
        };
        let with_id = |(id, person): (&u64, &Value)| {
            let mut person = person.clone();
            person["id"] = json!(id.to_string());
            person
        };
        let found = people.iter().filter(|(_, person)| matches(person)).take(50).map(with_id);
        let nobody = |nickname: &str| json!({"id": "nobody", "nickname": nickname, "fullname": "-", "dob": "2000-01-01", "stack": null});
        let hits: Vec<Value> = match self.fault {
            Fault::WrongHit => vec![nobody("-")],
            Fault::FindsNobody => Vec::new(),
            Fault::DropsFirstHit => found.skip(1).collect(),
            Fault::InventsFifty => vec![nobody(&term); 50],
            Fault::InventsOne => found.take(49).chain([nobody(&format!("{term}, junior"))]).collect(),
            _ => found.collect(),
        };
        Answer::new(200, Value::Array(hits).to_string())
    }
}

fn serve(mut stream: TcpStream, state: &State) {
    while let Some((head, body)) = receive(&mut stream) {
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        if path != "/users-count" {
            state.requests.fetch_add(1, Ordering::Relaxed);
            *state.latest.lock().unwrap() = Instant::now();
        }
        let answer = state.answer(method, path, &body);
        let is_fetch = path.starts_with("/users/");
        if send(&mut stream, &answer, state.fault, is_fetch).is_none() {
            return;
        }
        if state.fault == Fault::ClosesIdle {
            // What is not read when the connection is closed has it reset.
            let _ = stream.peek(&mut [0]);
            return;
        }
    }
}

/// Sends an answer as the fault wants it; `None` where the connection ends with it.
fn send(stream: &mut TcpStream, answer: &Answer, fault: Fault, is_fetch: bool) -> Option<()> {
    let location = answer.location.as_ref().map(|path| format!("Location: {path}\r\n")).unwrap_or_default();
    let retry_after = if fault == Fault::RefusesInTime && answer.status == 503 { "Retry-After: 1\r\n" } else { "" };
    let line = format!("HTTP/1.1 {} Whatever\r\n{location}{retry_after}", answer.status);
    let head = format!("{line}Content-Length: {}\r\n\r\n", answer.body.len());
    let whole = [head.as_bytes(), &answer.body].concat();
    match fault {
        Fault::Slow(milliseconds) if is_fetch => std::thread::sleep(Duration::from_millis(milliseconds)),
        Fault::Mute if is_fetch => loop {
            std::thread::park();
        },
        Fault::Close if is_fetch => return None,
        Fault::CloseInTheMiddle if is_fetch => {
            stream.write_all(&whole[..whole.len() - 1]).ok()?;
            return None;
        }
        Fault::Garbage if is_fetch => {
            stream.write_all(b"220 smtp.example.org ready\r\n").ok()?;
            return None;
        }
        Fault::Excess if is_fetch => return stream.write_all(&[&whole[..], b"and more"].concat()).ok(),
        Fault::Chunked => return send_chunked(stream, &line, &answer.body),
        Fault::OneAnswerEach => {
            stream.write_all(&[line.as_bytes(), b"\r\n", &answer.body].concat()).ok()?;
            return None;
        }
        _ => {}
    }
    stream.write_all(&whole).ok()
}

fn send_chunked(stream: &mut TcpStream, line: &str, body: &[u8]) -> Option<()> {
    let mut text = format!("HTTP/1.1 103 Early Hints\r\n\r\n{line}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(7) {
        text.extend(format!("{:x}\r\n", chunk.len()).bytes().chain(chunk.iter().copied()).chain(*b"\r\n"));
    }
    text.extend(b"0\r\n\r\n");
    text.chunks(50).try_for_each(|piece| stream.write_all(piece)).ok()
}

/// The next request: its head and its body.
fn receive(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut input = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        input.extend_from_slice(&buffer[..read]);
        let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(input[..end].to_vec()).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        if input.len() >= end + 4 + length {
            return Some((head, input[end + 4..end + 4 + length].to_vec()));
        }
    }
}
