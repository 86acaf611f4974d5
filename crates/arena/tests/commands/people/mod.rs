//! A people API in memory, to see what a load sends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use arena::load::payloads::Oracle;
use arena::load::vocabulary::Vocabulary;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A server that runs until this is dropped.
pub struct People {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _runtime: Runtime,
}

/// How many requests of each kind came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub connections: u32,
    pub created: u32,
    pub fetched: u32,
    pub searched: u32,
    pub counted: u32,
    pub refused: u32,
}

struct State {
    vocabulary: Vocabulary,
    oracle: Oracle,
    /// What everything is answered with, instead of the truth.
    always: Option<u16>,
    seen: Seen,
}

impl People {
    pub fn start(vocabulary: &str, always: Option<u16>) -> Self {
        let vocabulary = if vocabulary == "users" { Vocabulary::Users } else { Vocabulary::Pessoas };
        let state = State { vocabulary, oracle: Oracle::new(vocabulary), always, seen: Seen::default() };
        let state = Arc::new(Mutex::new(state));
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, Arc::clone(&state)));
        Self { address, state, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> Seen {
        self.state.lock().unwrap().seen
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        state.lock().unwrap().seen.connections += 1;
        let state = Arc::clone(&state);
        let service = service_fn(move |request| answer(request, Arc::clone(&state)));
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut state = state.lock().unwrap();
    let people = state.vocabulary.people_path();
    let search = format!("{}=", state.vocabulary.search_parameter());
    let (status, location) = match (&head.method, head.uri.path(), head.uri.query()) {
        _ if state.always.is_some() => (state.always.unwrap(), None),
        (&Method::POST, path, None) if path == people => match state.oracle.create(&body) {
            201 => {
                state.seen.created += 1;
                (201, Some(format!("{people}/{}", state.oracle.people())))
            }
            status => (status, None),
        },
        (&Method::GET, path, Some(query)) if path == people && query.starts_with(&search) => {
            state.seen.searched += 1;
            (200, None)
        }
        (&Method::GET, path, None) if path.starts_with(people) => {
            let id: u64 = path[people.len() + 1..].parse().unwrap();
            assert!(id <= state.oracle.people());
            state.seen.fetched += 1;
            (200, None)
        }
        (&Method::GET, path, _) if path == state.vocabulary.count_path() => {
            state.seen.counted += 1;
            (200, None)
        }
        _ => (404, None),
    };
    state.seen.refused += u32::from(status >= 400);
    let mut response = Response::builder().status(status);
    if let Some(location) = location {
        response = response.header("Location", location);
    }
    Ok(response.body(Full::default()).unwrap())
}
