//! Connections that each send one request after the other, and the tally of what came back.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, LOCATION};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use super::script::{Request, Script};
use super::{Row, Source, connect};
use crate::load::base_url::BaseUrl;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Between a failure and the next try, so that a dead target is not hammered.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// A load under way. It ends when this is dropped.
pub struct Load {
    tally: Rc<RefCell<Tally>>,
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
    /// Start of the request that each connection waits for.
    under_way: Vec<Option<Instant>>,
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
        let tally = Rc::new(RefCell::new(Tally { under_way: vec![None; connections], ..Tally::default() }));
        let tasks = (0..connections)
            .map(|index| {
                let connection = Connection { target: source.target.clone(), sender: None };
                spawn_local(drive(connection, Script::new(source), index, Rc::clone(&tally))).abort_handle()
            })
            .collect();
        Ok(Self { tally, since: Instant::now(), tasks })
    }

    /// What was completed since the last call.
    pub fn row(&mut self) -> Row {
        let now = Instant::now();
        let row = self.tally.borrow_mut().take_row(now, now - self.since);
        self.since = now;
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
        self.sent += 1;
        match failure {
            None => {
                self.completed += 1;
                self.latency += started.map_or(Duration::ZERO, |started| started.elapsed());
            }
            Some(failure) => {
                self.failed += 1;
                self.first_failure.get_or_insert(failure);
            }
        }
    }

    fn take_row(&mut self, now: Instant, elapsed: Duration) -> Row {
        let completed = std::mem::take(&mut self.completed);
        let latency = std::mem::take(&mut self.latency);
        let mean = if completed > 0 { latency.as_secs_f64() / completed as f64 } else { self.mean_wait(now) };
        Row {
            throughput: (completed as f64 / elapsed.as_secs_f64()).round() as u64,
            latency: (mean * 1_000.0).round() as u64,
        }
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
    sender: Option<SendRequest<Full<Bytes>>>,
}

async fn drive(mut connection: Connection, mut script: Script, index: usize, tally: Rc<RefCell<Tally>>) {
    loop {
        let request = script.request();
        tally.borrow_mut().begin(index);
        match connection.exchange(&request).await {
            Ok(location) => {
                tally.borrow_mut().end(index, None);
                if let Some(location) = location {
                    script.created(&location);
                }
            }
            Err(error) => {
                let failure = format!("{} {}: {error:#}", request.method, request.path);
                tally.borrow_mut().end(index, Some(failure));
                connection.sender = None;
                sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }
}

impl Connection {
    /// Sends `request`, reads the answer to its end and returns the `Location` of what it created.
    async fn exchange(&mut self, request: &Request) -> Result<Option<String>> {
        timeout(ANSWER_TIMEOUT, self.send(request))
            .await
            .with_context(|| format!("no answer within {ANSWER_TIMEOUT:?}"))?
    }

    async fn send(&mut self, request: &Request) -> Result<Option<String>> {
        let message = hyper::Request::builder()
            .method(&request.method)
            .uri(self.target.path(&request.path))
            .header(HOST, self.target.authority())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(request.body.clone())))?;
        let answer = self.ready().await?.send_request(message).await?;
        let (head, mut body) = answer.into_parts();
        // Nobody looks at what it holds, which may be more than fits into memory.
        while let Some(frame) = body.frame().await {
            frame?;
        }
        created(request, &Response::from_parts(head, ()))
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
}

/// The `Location` of a create, once the status is the right one.
fn created(request: &Request, answer: &Response<()>) -> Result<Option<String>> {
    let status = answer.status();
    match request.expected {
        Some(expected) => ensure!(status == expected, "{status} instead of {}", expected.as_u16()),
        None => ensure!(status.as_u16() < 400, "{status}"),
    }
    if request.expected != Some(StatusCode::CREATED) {
        return Ok(None);
    }
    match answer.headers().get(LOCATION).map(|location| location.to_str()) {
        Some(Ok(location)) => Ok(Some(location.to_owned())),
        _ => bail!("{status} without a Location"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_rate_and_a_mean() {
        let now = Instant::now();
        let mut tally = Tally { completed: 50, latency: Duration::from_millis(620), ..Tally::default() };
        let row = tally.take_row(now, Duration::from_millis(100));
        assert_eq!(row, Row { throughput: 500, latency: 12 });
        assert_eq!(tally.take_row(now, Duration::from_secs(1)), Row { throughput: 0, latency: 0 });
    }

    #[test]
    fn a_target_that_answers_nothing_shows_in_the_latency() {
        let start = Instant::now();
        let under_way = vec![Some(start), Some(start + Duration::from_secs(2)), None];
        let mut tally = Tally { under_way, ..Tally::default() };
        let row = tally.take_row(start + Duration::from_secs(4), Duration::from_secs(1));
        assert_eq!(row, Row { throughput: 0, latency: 3_000 });
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
