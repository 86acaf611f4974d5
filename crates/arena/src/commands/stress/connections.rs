//! Connections that each send one request after the other, and the tally of what came back.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, LOCATION};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use super::script::{Request, Script};
use super::{Row, Source, connect};
use crate::load::base_url::BaseUrl;
use crate::load::location::Origin;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Between a failure and the next try, so that a dead target is not hammered.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// A load under way. It ends when this is dropped.
pub struct Load {
    tally: Rc<RefCell<Tally>>,
    heard: Rc<Notify>,
    since: Instant,
    tasks: Vec<AbortHandle>,
}

/// What went wrong over a whole load.
pub struct Failures {
    /// Requests that got an answer or failed.
    pub sent: u64,
    /// Those that failed.
    pub failed: u64,
    /// Why the first of them did.
    pub first: Option<String>,
}

#[derive(Default)]
struct Tally {
    /// Since the last row.
    completed: u64,
    /// Of those, summed.
    latency: Duration,
    /// The end of the latest of them.
    last: Option<Instant>,
    /// Start of the request that each connection waits for.
    under_way: Vec<Option<Instant>>,
    /// Connections whose first request has not ended.
    silent: BTreeSet<usize>,
    sent: u64,
    failed: u64,
    first_failure: Option<String>,
}

impl Load {
    /// Starts the load. Must be called within a [`tokio::task::LocalSet`].
    ///
    /// # Errors
    /// The target takes no connection.
    pub async fn start(source: &Source) -> Result<Self> {
        connect::check(&source.target).await?;
        let connections = usize::from(source.connections);
        let tally =
            Tally { under_way: vec![None; connections], silent: (0..connections).collect(), ..Tally::default() };
        let (tally, heard) = (Rc::new(RefCell::new(tally)), Rc::new(Notify::new()));
        let origin = Origin::new(&source.target.authority(), &source.target.path(source.vocabulary.people_path()))?;
        let tasks = (0..connections)
            .map(|index| {
                let connection = Connection { target: source.target.clone(), origin: origin.clone(), sender: None };
                let reports = Reports { index, tally: Rc::clone(&tally), heard: Rc::clone(&heard) };
                spawn_local(drive(connection, Script::new(source), reports)).abort_handle()
            })
            .collect();
        Ok(Self { tally, heard, since: Instant::now(), tasks })
    }

    /// Is told once every connection has had its first answer, or failed to get one.
    pub fn heard(&self) -> Rc<Notify> {
        Rc::clone(&self.heard)
    }

    /// What was completed since the last call.
    pub fn row(&mut self) -> Row {
        let (row, end) = self.tally.borrow_mut().take_row(self.since, Instant::now());
        self.since = end;
        row
    }

    /// What went wrong so far.
    pub fn failures(&self) -> Failures {
        let tally = self.tally.borrow();
        Failures { sent: tally.sent, failed: tally.failed, first: tally.first_failure.clone() }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Tally {
    fn begin(&mut self, index: usize) {
        self.under_way[index] = Some(Instant::now());
    }

    fn end(&mut self, index: usize, failure: Option<String>) {
        let started = self.under_way[index].take();
        self.silent.remove(&index);
        self.sent += 1;
        match failure {
            None => {
                let now = Instant::now();
                self.completed += 1;
                self.latency += started.map_or(Duration::ZERO, |started| now - started);
                self.last = Some(now);
            }
            Some(failure) => {
                self.failed += 1;
                self.first_failure.get_or_insert(failure);
            }
        }
    }

    /// The row of what was completed since a moment, and the moment at which the next one begins.
    ///
    /// That is the end of the last request: those under way are the next row's. Only a target that has been silent for
    /// longer than an answer takes makes the row last until now.
    fn take_row(&mut self, since: Instant, now: Instant) -> (Row, Instant) {
        let completed = std::mem::take(&mut self.completed);
        let latency = std::mem::take(&mut self.latency);
        let mean = if completed > 0 { latency.as_secs_f64() / completed as f64 } else { self.mean_wait(now) };
        let last = self.last.filter(|last| completed > 0 && *last > since && (now - *last).as_secs_f64() < mean);
        let end = last.unwrap_or(now);
        let throughput = (completed as f64 / (end - since).as_secs_f64()).round() as u64;
        (Row { throughput, latency: (mean * 1e5).round() as u64 }, end)
    }

    /// For how many seconds the requests under way have waited on average.
    fn mean_wait(&self, now: Instant) -> f64 {
        let waits: Vec<f64> = self.under_way.iter().flatten().map(|start| (now - *start).as_secs_f64()).collect();
        waits.iter().sum::<f64>() / waits.len().max(1) as f64
    }
}

/// A connection that is opened when needed and kept as long as the target keeps it.
struct Connection {
    target: BaseUrl,
    origin: Origin,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// Where one connection tells what became of its requests.
struct Reports {
    index: usize,
    tally: Rc<RefCell<Tally>>,
    heard: Rc<Notify>,
}

impl Reports {
    fn begin(&self) {
        self.tally.borrow_mut().begin(self.index);
    }

    fn end(&self, failure: Option<String>) {
        let mut tally = self.tally.borrow_mut();
        tally.end(self.index, failure);
        if tally.silent.is_empty() {
            self.heard.notify_one();
        }
    }
}

async fn drive(mut connection: Connection, mut script: Script, reports: Reports) {
    loop {
        let request = script.request();
        reports.begin();
        match connection.exchange(&request).await {
            Ok(path) => {
                reports.end(None);
                if let Some(path) = path {
                    script.created(path);
                }
            }
            Err(error) => {
                reports.end(Some(format!("{} {}: {error:#}", request.method, request.path)));
                connection.sender = None;
                sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }
}

impl Connection {
    /// Sends `request`, reads the answer to its end and returns the path of what it created.
    async fn exchange(&mut self, request: &Request) -> Result<Option<String>> {
        timeout(ANSWER_TIMEOUT, self.send(request))
            .await
            .with_context(|| format!("no answer within {ANSWER_TIMEOUT:?}"))?
    }

    async fn send(&mut self, request: &Request) -> Result<Option<String>> {
        let message = hyper::Request::builder()
            .method(&request.method)
            .uri(&request.path)
            .header(HOST, self.target.authority())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(request.body.clone())))?;
        let answer = self.ready().await?.send_request(message).await?;
        let (head, mut body) = answer.into_parts();
        // Nobody looks at what it holds, which may be more than fits into memory.
        while let Some(frame) = body.frame().await {
            frame?;
        }
        self.created(request, &Response::from_parts(head, ()))
    }

    async fn ready(&mut self) -> Result<&mut SendRequest<Full<Bytes>>> {
        if let Some(sender) = &mut self.sender
            && sender.ready().await.is_err()
        {
            self.sender = None;
        }
        if self.sender.is_none() {
            let stream = TokioIo::new(connect::connect(&self.target).await?);
            let (sender, connection) = handshake(stream).await?;
            spawn_local(connection);
            self.sender = Some(sender);
        }
        self.sender.as_mut().context("the connection is gone")
    }

    /// The path of what a create has made, once the status is the right one.
    fn created(&self, request: &Request, answer: &Response<()>) -> Result<Option<String>> {
        let status = answer.status();
        match request.expected {
            Some(expected) => ensure!(status == expected, "{status} instead of {}", expected.as_u16()),
            None => ensure!(status.as_u16() < 400, "{status}"),
        }
        if request.expected != Some(StatusCode::CREATED) {
            return Ok(None);
        }
        let location = answer.headers().get(LOCATION);
        let path = location.and_then(|location| self.origin.locate(location.as_bytes()));
        Ok(Some(path.with_context(|| format!("{status} without a path in Location"))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn completed(completed: u64, latency: u64, last: Instant) -> Tally {
        Tally { completed, latency: completed as u32 * MS(latency), last: Some(last), ..Tally::default() }
    }

    #[test]
    fn a_row_is_a_rate_and_a_mean() {
        let start = Instant::now();
        let mut tally = Tally { latency: MS(625), ..completed(50, 0, start + MS(100)) };
        let (row, end) = tally.take_row(start, start + MS(100));
        assert_eq!(row, Row { throughput: 500, latency: 1_250 });
        assert_eq!(tally.take_row(end, end + MS(1_000)).0, Row { throughput: 0, latency: 0 });
    }

    #[test]
    fn a_row_ends_with_its_last_answer_unless_the_target_fell_silent() {
        let start = Instant::now();
        let end_of = |last: u64| {
            let mut tally = completed(12, 302, start + MS(last));
            let (row, end) = tally.take_row(start, start + MS(1_000));
            (row.throughput, end - start)
        };
        assert_eq!(end_of(906), (13, MS(906)), "what is under way is the next row's");
        assert_eq!(end_of(500), (12, MS(1_000)), "it takes longer than an answer does");
    }

    #[test]
    fn a_target_that_answers_nothing_shows_in_the_latency() {
        let start = Instant::now();
        let under_way = vec![Some(start), Some(start + Duration::from_secs(2)), None];
        let mut tally = Tally { under_way, ..Tally::default() };
        let now = start + Duration::from_secs(4);
        assert_eq!(tally.take_row(start, now), (Row { throughput: 0, latency: 300_000 }, now));
    }

    #[test]
    fn failures_do_not_count_as_completed() {
        let mut tally = Tally { under_way: vec![None], ..Tally::default() };
        for failure in [None, Some("a"), Some("b")] {
            tally.begin(0);
            tally.end(0, failure.map(str::to_owned));
        }
        assert_eq!((tally.completed, tally.failed, tally.sent), (1, 2, 3));
        assert_eq!(tally.first_failure.as_deref(), Some("a"));
    }
}
