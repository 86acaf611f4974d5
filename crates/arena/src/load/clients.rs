//! Clients that ask one thing after another and write down all of it: creates, fetches and searches for people just created,
//! counts, and nicknames that are taken.
//!
//! Unlike [`super::driver`] they wait for their answers: what is wanted is not a rate but a history that can be checked.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, LOCATION};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::payloads::random::Random;
use crate::record::torment::recovery::KINDS;
use crate::record::torment::{Asked, Details, Person, Request, Said};

/// Longer than a service that works lets anybody wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// Milliseconds between an answer and the next request of a client, from and to.
const PAUSE: (u64, u64) = (10, 50);

/// Behind a connection that could not be made: there is nothing to be learned from trying at once.
const PAUSE_WITHOUT_ANSWER: Duration = Duration::from_millis(100);

/// People of whom fetches and searches choose, the newest of all.
const REMEMBERED: usize = 400;

/// What people work with, in their stacks.
const TECHNOLOGIES: [&str; 8] = ["Rust", "Go", "Elixir", "C#", "Node", "PostgreSQL", "Kotlin", "PHP 8 é"];

/// A load that goes on until it is ended.
pub struct Clients {
    origin: Instant,
    shared: Arc<Shared>,
    thread: JoinHandle<Vec<Request>>,
}

/// What the clients and whoever started them tell each other.
#[derive(Default)]
struct Shared {
    ending: AtomicBool,
    /// When a request was last known to have failed.
    last_failure: AtomicU64,
    /// When the latest request of each kind was sent that was answered well.
    served: [AtomicU64; KINDS.len()],
}

impl Clients {
    /// So many start to ask the server at an address, which has nobody stored; every second one keeps its connection.
    ///
    /// # Errors
    ///
    /// If the operating system gives no thread.
    pub fn start(address: SocketAddr, count: u16, seed: u64) -> anyhow::Result<Self> {
        let origin = Instant::now();
        let shared = Arc::<Shared>::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("clients".into()).spawn(move || {
            let all = Rc::new(All::new(address, origin, theirs));
            let local = tokio::task::LocalSet::new();
            for number in 0..count {
                local.spawn_local(Client::new(number, seed, all.clone()).run());
            }
            runtime.block_on(local);
            all.requests.take()
        });
        Ok(Self { origin, shared, thread: thread.context("starting the clients")? })
    }

    /// The moment of a history that is now, in microseconds.
    pub fn now(&self) -> u64 {
        micros(self.origin)
    }

    /// Whether requests of each kind were answered well that were sent behind a moment and the last failure, and that one is
    /// long enough past for others of its time to have failed too.
    pub fn are_served_since(&self, moment: u64, quiet: Duration) -> bool {
        let last_failure = self.shared.last_failure.load(Ordering::Relaxed);
        let from = moment.max(last_failure);
        let quiet = Duration::from_micros(self.now().saturating_sub(from)) >= quiet;
        quiet && self.shared.served.iter().all(|served| served.load(Ordering::Relaxed) > from)
    }

    /// Lets all that is under way come to its end, and returns every request in the order in which they ended.
    pub fn end(self) -> Vec<Request> {
        self.shared.ending.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn micros(origin: Instant) -> u64 {
    u64::try_from(origin.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// What all clients share.
struct All {
    address: SocketAddr,
    origin: Instant,
    shared: Arc<Shared>,
    requests: RefCell<Vec<Request>>,
    people: RefCell<Vec<Person>>,
}

impl All {
    fn new(address: SocketAddr, origin: Instant, shared: Arc<Shared>) -> Self {
        Self { address, origin, shared, requests: RefCell::default(), people: RefCell::default() }
    }

    fn remember(&self, person: Person) {
        let mut people = self.people.borrow_mut();
        if people.len() == REMEMBERED {
            people.remove(0);
        }
        people.push(person);
    }
}

/// A connection that may be used again.
type Connection = SendRequest<Full<Bytes>>;

/// One client, which asks one thing at a time.
struct Client {
    number: u16,
    random: Random,
    created: u64,
    all: Rc<All>,
    connection: Option<Connection>,
}

impl Client {
    fn new(number: u16, seed: u64, all: Rc<All>) -> Self {
        let random = Random::new(seed ^ (u64::from(number) << 48));
        Self { number, random, created: 0, all, connection: None }
    }

    async fn run(mut self) {
        while !self.all.shared.ending.load(Ordering::Relaxed) {
            let asked = self.next();
            let answered = self.ask(asked).await;
            let pause = Duration::from_millis(self.random.between(PAUSE.0, PAUSE.1));
            tokio::time::sleep(if answered { pause } else { PAUSE_WITHOUT_ANSWER }).await;
        }
    }

    /// What to ask next.
    fn next(&mut self) -> Asked {
        let somebody = self.somebody();
        match (self.random.below(100), somebody) {
            (0..40, _) | (_, None) => Asked::Create(self.create(None)),
            (40..46, Some(person)) => Asked::Create(self.create(Some(person.details.nickname))),
            (46..68, Some(person)) => Asked::Fetch(person.id),
            (68..92, Some(person)) => Asked::Search(self.term(&person)),
            _ => Asked::Count,
        }
    }

    /// Somebody who was acknowledged, mostly one of the latest.
    fn somebody(&mut self) -> Option<Person> {
        let people = self.all.people.borrow();
        let reach = if self.random.once_in(3) { people.len() } else { people.len().min(3) };
        let back = self.random.below(reach.max(1) as u64) as usize;
        people.iter().rev().nth(back).cloned()
    }

    /// Somebody new, under a nickname of their own or of another.
    fn create(&mut self, nickname: Option<String>) -> Details {
        self.created += 1;
        let (client, number) = (self.number, self.created);
        let random = &mut self.random;
        let stack: Vec<String> = (0..random.below(4))
            .map(|_| (*random.pick(&TECHNOLOGIES)).to_owned())
            .chain([format!("{client}/{number}")])
            .collect();
        Details {
            nickname: nickname.unwrap_or_else(|| format!("João {client}-{number}.")),
            fullname: format!("\"{client}\\{number}\" dos Santos, {:06x}\u{1f980}", random.below(1 << 24)),
            dob: format!("{}-{:02}-{:02}", random.between(1940, 2020), random.between(1, 12), random.between(1, 28)),
            stack: (!random.once_in(4)).then_some(stack),
        }
    }

    /// What a person can be searched for by, and now and then what many have.
    fn term(&mut self, person: &Person) -> String {
        let details = &person.details;
        let term = match (self.random.below(20), &details.stack) {
            (0, _) => (*self.random.pick(&TECHNOLOGIES)).to_owned(),
            (1..6, Some(stack)) => stack.last().cloned().unwrap_or_default(),
            (6..12, _) => details.fullname.clone(),
            _ => details.nickname.clone(),
        };
        if self.random.once_in(2) { term.to_uppercase() } else { term }
    }

    /// Asks, and writes down what came of it. Returns whether there was an answer.
    async fn ask(&mut self, asked: Asked) -> bool {
        let begin = micros(self.all.origin);
        let answer = tokio::time::timeout(PATIENCE, self.exchange(&asked)).await;
        let answer = answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time")));
        let end = micros(self.all.origin);
        if answer.is_err() {
            self.connection = None;
        }
        let (status, said) = answer.ok().unzip();
        let request = Request { client: self.number, begin, end, asked, status, said: said.flatten() };
        self.tell(&request);
        if let (Asked::Create(details), Some(Said::Id(id))) = (&request.asked, &request.said) {
            self.all.remember(Person { id: id.clone(), details: details.clone() });
        }
        self.all.requests.borrow_mut().push(request);
        status.is_some()
    }

    fn tell(&self, request: &Request) {
        let shared = &self.all.shared;
        if request.failed() {
            shared.last_failure.store(request.end, Ordering::Relaxed);
        } else if let Some(kind) = KINDS.iter().position(|kind| *kind == request.asked.kind()) {
            shared.served[kind].fetch_max(request.begin, Ordering::Relaxed);
        }
    }

    async fn exchange(&mut self, asked: &Asked) -> anyhow::Result<(u16, Option<Said>)> {
        let keeps = self.number.is_multiple_of(2);
        let mut connection = match self.connection.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => connect(self.all.address).await?,
        };
        connection.ready().await?;
        let response = connection.send_request(request(asked, self.all.address, keeps)?).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        if keeps {
            self.connection = Some(connection);
        }
        let location = head.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        Ok((head.status.as_u16(), head.status.is_success().then(|| understand(asked, head.status, location, &body))))
    }
}

async fn connect(address: SocketAddr) -> anyhow::Result<Connection> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (connection, driver) = handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(driver);
    Ok(connection)
}

fn request(asked: &Asked, address: SocketAddr, keeps: bool) -> anyhow::Result<hyper::Request<Full<Bytes>>> {
    let (method, path, body) = match asked {
        Asked::Create(details) => (Method::POST, "/users".to_owned(), serde_json::to_vec(details)?),
        Asked::Fetch(id) => (Method::GET, format!("/users/{id}"), Vec::new()),
        Asked::Search(term) => (Method::GET, format!("/users?q={}", percent_encoded(term)), Vec::new()),
        Asked::Count => (Method::GET, "/users-count".to_owned(), Vec::new()),
    };
    let mut request = hyper::Request::builder().method(method).uri(path).header(HOST, address.to_string());
    if !body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    if !keeps {
        request = request.header(CONNECTION, "close");
    }
    Ok(request.body(Full::new(body.into()))?)
}

fn percent_encoded(term: &str) -> String {
    term.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn understand(asked: &Asked, status: StatusCode, location: Option<&str>, body: &[u8]) -> Said {
    let text = || String::from_utf8_lossy(body);
    let said = match asked {
        Asked::Create(_) if status == StatusCode::CREATED => {
            location.and_then(|location| location.rsplit_once('/')).map(|(_, id)| Said::Id(id.to_owned()))
        }
        Asked::Create(_) => None,
        Asked::Fetch(_) => serde_json::from_slice(body).ok().map(|person| Said::People(vec![person])),
        Asked::Search(_) => serde_json::from_slice(body).ok().map(Said::People),
        Asked::Count => text().parse().ok().map(Said::Number),
    };
    said.unwrap_or_else(|| Said::Nonsense(format!("{status}: {}", text().chars().take(100).collect::<String>())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(seed: u64) -> Client {
        let all = All::new("127.0.0.1:1".parse().unwrap(), Instant::now(), Arc::default());
        Client::new(3, seed, Rc::new(all))
    }

    #[test]
    fn what_is_asked_for_is_valid_and_hangs_on_the_seed_alone() {
        let stream = |seed| {
            let mut client = client(seed);
            (0..200).map(|_| client.create(None)).collect::<Vec<_>>()
        };
        assert_eq!(stream(7), stream(7));
        assert_ne!(stream(7), stream(8));
        for details in stream(7) {
            assert!(details.nickname.chars().count() <= 32 && details.fullname.chars().count() <= 100, "{details:?}");
            assert!(details.stack.iter().flatten().all(|element| element.chars().count() <= 32), "{details:?}");
        }
    }

    #[test]
    fn answers_that_are_none_are_told_apart() {
        let ok = StatusCode::OK;
        assert_eq!(understand(&Asked::Count, ok, None, b"12"), Said::Number(12));
        let create = Asked::Create(client(1).create(None));
        let created = understand(&create, StatusCode::CREATED, Some("/users/1"), b"");
        assert_eq!(created, Said::Id("1".into()));
        let person = br#"{"id":"1","nickname":"n","fullname":"f","dob":"2000-01-01","stack":null}"#;
        assert!(
            matches!(understand(&Asked::Fetch("1".into()), ok, None, person), Said::People(people) if people.len() == 1)
        );
        for (asked, body) in
            [(Asked::Count, "many"), (Asked::Search("t".into()), "{}"), (Asked::Fetch("1".into()), "[]")]
        {
            assert!(matches!(understand(&asked, ok, None, body.as_bytes()), Said::Nonsense(_)), "{asked:?}");
        }
    }
}
