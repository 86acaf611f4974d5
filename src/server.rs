//! Accepts connections, bounds what they may take, and drains them at the end.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::{interval, sleep, timeout};

use crate::app::App;
use crate::config::Address;
use crate::routes;
use crate::socket;

/// Connections served at once; more wait in the listener's backlog.
const CONNECTIONS: usize = 2048;

/// A connection that sends no complete head in this time is closed, an idle one too. Whatever stands in front must
/// give up an idle connection sooner, or it will now and then send a request into a closing one.
const HEAD_PATIENCE: Duration = Duration::from_secs(60);

/// A bound socket.
pub enum Listener {
    /// Over TCP.
    Tcp(TcpListener),
    /// Over a Unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// Binds an address. A Unix socket that nobody listens on is replaced; anyone may connect to the new one, since
    /// nginx runs as another user: the folder that it stands in is what keeps others out.
    ///
    /// # Errors
    ///
    /// What the operating system says, and `AddrInUse` for a Unix socket that somebody listens on.
    pub async fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Address::Unix(path) => bind_unix(path).await.map(Self::Unix),
        }
    }
}

async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixStream::connect(path).await {
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o666))?;
    Ok(listener)
}

/// Serves until `shutdown` is done, then lets the requests under way finish for at most `grace`.
pub async fn run(listener: Listener, app: Arc<App>, shutdown: impl Future<Output = ()>, grace: Duration) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let ticks = tokio::spawn(tick());
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((Stream::Tcp(stream), place)) => {
                // An answer is one write; waiting to fill a segment would only delay it.
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, place, app.clone(), graceful.watcher()));
            }
            Ok((Stream::Unix(stream), place)) => {
                let gone = stream.gone();
                let served = serve(stream, place, app.clone(), graceful.watcher());
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        () = served => {}
                        () = gone => {}
                    }
                });
            }
            // Out of file descriptors, most likely: the next try may find one free.
            Err(error) => {
                eprintln!("peleja: accept: {error}");
                sleep(Duration::from_millis(20)).await;
            }
        }
        // This is the runtime's main task, which comes first at each of its turns: who has been accepted is served in between.
        yield_now().await;
    }
    drop(listener);
    ticks.abort();
    if timeout(grace, graceful.shutdown()).await.is_err() {
        eprintln!("peleja: connections were still open after {grace:?}");
    }
}

/// Keeps a timer that runs out sooner than a request's patience. Else each request would bring the next timer to run out,
/// and Tokio would wake its own driver for it, by a system call, to sleep a shorter time.
async fn tick() {
    const SOONER: Duration = Duration::from_millis(500);
    let mut ticks = interval(SOONER);
    loop {
        ticks.tick().await;
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(socket::Stream),
}

async fn accept(listener: &Listener, places: &Arc<Semaphore>) -> io::Result<(Stream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let stream = match listener {
        Listener::Tcp(listener) => Stream::Tcp(listener.accept().await?.0),
        Listener::Unix(listener) => Stream::Unix(socket::Stream::server(listener.accept().await?.0.into_std()?)?),
    };
    Ok((stream, place))
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    _place: OwnedSemaphorePermit,
    app: Arc<App>,
    watcher: Watcher,
) {
    let service = service_fn(|request| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(routes::answer(&app, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Who ends their own side behind a request waits for the answer all the same.
        .half_close(true)
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    // What ends a connection early is the client's affair, and its requests have been answered or not.
    let _ = watcher.watch(connection).await;
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream as Client;
    use std::task::Poll;

    use clap::Parser;

    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn who_has_been_accepted_is_answered_before_all_who_wait_are_accepted() {
        const WAITING: usize = 400;
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let listener = Listener::bind(&Address::Unix(socket.clone())).await.unwrap();
        let mut clients: Vec<_> = (0..WAITING).map(|_| Client::connect(&socket).unwrap()).collect();
        for client in &mut clients {
            client.write_all(b"GET /health/live HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
            client.set_nonblocking(true).unwrap();
        }
        let first = clients[0].try_clone().unwrap();
        let answered = poll_fn(move |context| {
            context.waker().wake_by_ref();
            let came = (&first).read(&mut [0]).is_ok();
            if came { Poll::Ready(()) } else { Poll::Pending }
        });
        let nowhere = format!("host={} user=nobody", folder.path().display());
        let app = Arc::new(App::start(&Config::parse_from(["peleja", "--database", &nowhere])).unwrap());
        run(listener, app, answered, Duration::from_secs(20)).await;
        let accepted = clients.iter().filter(|client| (&**client).read(&mut [0]).is_ok_and(|read| read > 0)).count();
        assert!(accepted < WAITING / 8, "{accepted} of {WAITING} were accepted before the first was answered");
    }
}
