//! What all servers of the lab have in common: where they listen, and how they end.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use futures_util::StreamExt;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Within this time a request is answered, whatever it waits for: a slow database is given up sooner, so that this is
/// for bodies that never come and for a database that neither answers nor fails.
const LONGEST: Duration = Duration::from_secs(120);

/// Within this time the whole body of a request has come.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// Longer than any body that a server of the lab takes, in bytes.
const MOST_BODY: usize = 256 * 1024;

/// A connection that sends no complete head in this time is closed, an idle one too.
const HEAD_PATIENCE: Duration = Duration::from_secs(60);

/// How long a server that was told to stop waits for the requests under way.
const GRACE: Duration = Duration::from_secs(10);

/// Where a server listens.
#[derive(clap::Args, Clone, Debug)]
pub struct Listen {
    /// Name or address to listen on; a name with several addresses means all of them. Use 0.0.0.0 in a container
    #[arg(long, env = "LAB_HOST", default_value = "localhost")]
    pub host: String,

    /// Where this server and the others are found
    #[command(flatten)]
    pub ports: Ports,

    /// What is asked of whoever wants more than to look and to load
    #[command(flatten)]
    pub word: Word,
}

/// What only who runs the class may do is asked for with a word.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Word {
    /// What empties, tries again or switches asks for this word; without one, whoever reaches the pages may
    #[arg(long = "word", value_name = "WORD", env = "LAB_WORD", hide_env_values = true)]
    word: Option<String>,
}

impl Word {
    /// Whether one was set.
    pub fn is_set(&self) -> bool {
        self.word.as_ref().is_some_and(|word| !word.is_empty())
    }

    /// Whether somebody who says this may.
    ///
    /// # Errors
    ///
    /// The answer to somebody who may not.
    pub fn check(&self, said: &str) -> Result<(), Refusal> {
        match &self.word {
            Some(word) if !word.is_empty() && word != said => {
                Err((StatusCode::FORBIDDEN, "this asks for the word that whoever started the lab has set\n"))
            }
            _ => Ok(()),
        }
    }
}

/// An answer that refuses, and says why.
pub type Refusal = (StatusCode, &'static str);

/// Where the servers of the lab listen, so that their pages can lead to each other.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Where the pages find the other servers")]
pub struct Ports {
    /// Of the blocking server
    #[arg(long, value_name = "PORT", env = "LAB_BLOCKING_PORT", default_value_t = Ports::default().blocking_port)]
    pub blocking_port: u16,
    /// Of the non-blocking server
    #[arg(long, value_name = "PORT", env = "LAB_NONBLOCKING_PORT", default_value_t = Ports::default().nonblocking_port)]
    pub nonblocking_port: u16,
    /// Of the forms
    #[arg(long, value_name = "PORT", env = "LAB_FORMS_PORT", default_value_t = Ports::default().forms_port)]
    pub forms_port: u16,
    /// Of the scarce resource
    #[arg(long, value_name = "PORT", env = "LAB_RESOURCE_PORT", default_value_t = Ports::default().resource_port)]
    pub resource_port: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { blocking_port: 8000, nonblocking_port: 8001, forms_port: 5000, resource_port: 4000 }
    }
}

impl Listen {
    /// Binds `port` on every address of the host that this machine has.
    ///
    /// # Errors
    ///
    /// When the host has no address here, or the port is taken on one of them.
    pub async fn bind(&self, port: u16) -> anyhow::Result<Vec<TcpListener>> {
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((self.host.as_str(), port))
            .await
            .with_context(|| format!("cannot resolve --host {}", self.host))?
            .collect();
        let mut listeners = Vec::new();
        for address in &addresses {
            match TcpListener::bind(address).await {
                Ok(listener) => listeners.push(listener),
                Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {}
                Err(error) => bail!("cannot listen on {address}: {error}"),
            }
        }
        if listeners.is_empty() {
            bail!("this machine has no address of --host {}", self.host);
        }
        Ok(listeners)
    }
}

/// Serves until `shutdown`, then answers the requests under way, for ten seconds at most.
///
/// # Errors
///
/// When a listener has no address.
pub async fn serve(
    name: &str,
    listen: &Listen,
    listeners: Vec<TcpListener>,
    router: Router,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    raise_file_limit();
    let router = bounded(router, LONGEST).layer(Extension(listen.ports)).layer(Extension(listen.word.clone()));
    let mut servers = JoinSet::new();
    for listener in listeners {
        println!("{name}: listening on http://{}/", listener.local_addr()?);
        servers.spawn(serve_connections(listener, router.clone(), shutdown.clone(), HEAD_PATIENCE));
    }
    tokio::select! {
        _ = servers.join_all() => {}
        () = grace_is_over(&shutdown) => {
            eprintln!("{name}: gave up on requests that took longer than {} s to end", GRACE.as_secs());
        }
    }
    Ok(())
}

/// What `axum::serve` does, with a bound on the wait for a request's head.
async fn serve_connections(listener: TcpListener, router: Router, shutdown: CancellationToken, patience: Duration) {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: the next try may find one free.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        // Only a slower answer is lost where the option cannot be set.
        let _ = stream.set_nodelay(true);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(patience);
        let service = TowerToHyperService::new(router.clone());
        // What ends a connection early is the client's affair.
        tokio::spawn(graceful.watch(http.serve_connection(TokioIo::new(stream), service)));
    }
    drop(listener);
    graceful.shutdown().await;
}

/// Says on standard error what goes wrong, once a second at most: under load a lost database fails thousands of requests.
pub fn complain(what: std::fmt::Arguments<'_>) {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.is_none_or(|last| last.elapsed() >= Duration::from_secs(1)) {
        *last = Some(Instant::now());
        eprintln!("{what}");
    }
}

/// A token that SIGTERM or SIGINT cancels.
///
/// # Errors
///
/// When the signals cannot be listened to.
pub fn shutdown_on_signal() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(token)
}

/// Middleware: waits for the whole body before a request is worked on and counted, so that one that never comes keeps
/// nobody. Of a body that is too long, as much is handed on as shows it.
pub async fn whole_body(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(BODY_PATIENCE, read(body)).await {
        Ok(Ok(body)) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Ok(Err(_)) => (StatusCode::BAD_REQUEST, "the body broke off\n").into_response(),
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the body did not come\n").into_response(),
    }
}

async fn read(body: Body) -> Result<Vec<u8>, axum::Error> {
    let mut data = body.into_data_stream();
    let mut whole = Vec::new();
    while let Some(part) = data.next().await {
        whole.extend_from_slice(&part?);
        if whole.len() > MOST_BODY {
            break;
        }
    }
    Ok(whole)
}

fn bounded(router: Router, longest: Duration) -> Router {
    router.layer(from_fn(move |request: Request, next: Next| async move {
        let answer = tokio::time::timeout(longest, next.run(request)).await;
        answer.unwrap_or_else(|_| (StatusCode::SERVICE_UNAVAILABLE, "the request took too long\n").into_response())
    }))
}

async fn grace_is_over(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

/// Thousands of connections need more descriptors than the usual soft limit of 1,024.
fn raise_file_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    if soft < hard {
        // With the old limit the server still works, for fewer connections.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(1 << 20), hard);
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    /// All that a server says to somebody who sends this much and no more.
    async fn answer_to(sent: &str, longest: Duration, patience: Duration) -> String {
        let router = bounded(Router::new().route("/", post(async |body: String| body)), longest);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(serve_connections(listener, router, CancellationToken::new(), patience));
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("a server");
        stream.write_all(sent.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(60), read).await.expect("an end").expect("text");
        answer
    }

    #[tokio::test]
    async fn a_body_that_never_comes_is_not_waited_for() {
        let half = "POST / HTTP/1.1\r\nhost: lab\r\ncontent-length: 9\r\n\r\nhalf";
        let answer = answer_to(half, SHORT, LONGEST).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }

    #[tokio::test]
    async fn a_head_that_never_ends_is_not_waited_for() {
        assert_eq!(answer_to("POST / HTTP/1.1\r\nhost: l", LONGEST, SHORT).await, "");
    }
}
