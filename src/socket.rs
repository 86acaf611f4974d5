//! Unix sockets that wake nobody for nothing.
//!
//! A process that reads from a Unix socket frees room in it, and the kernel tells the one that wrote, whether or not it
//! waits for room (a TCP socket tells only who does). nginx and Tokio both ask epoll for writability all the time, and so
//! each request would wake each of them once more than there is work to do, for a tenth of all the processor time of a
//! bout. Hence two habits here:
//!
//! - Writability is asked for only while a write is stuck.
//! - A server's side only peeks at a request, and takes it out of the socket when it has answered: nginx then wakes once,
//!   for the answer. See SO_PEEK_OFF in socket(7). What is read in several pieces is taken piece by piece: the kernel
//!   counts a whole buffer for the smallest write, and who sends byte by byte would soon wait for room.

use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// A connection.
pub struct Stream {
    readable: Arc<AsyncFd<UnixStream>>,
    /// The same socket once more, while a write is stuck.
    writable: Option<AsyncFd<UnixStream>>,
    /// Bytes that were read and are still in the socket.
    peeked: usize,
    peeks: bool,
}

impl Stream {
    /// The client's side: what arrives is taken at once.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn client(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let readable = Arc::new(register(stream, Interest::READABLE)?);
        Ok(Self { readable, writable: None, peeked: 0, peeks: false })
    }

    /// The server's side: what arrives stays in the socket until something is written, where the kernel can peek.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn server(stream: UnixStream) -> io::Result<Self> {
        let peeks = peek_from_where_the_last_peek_ended(&stream).is_ok();
        Ok(Self { peeks, ..Self::client(stream)? })
    }

    /// Waits until the other side is closed, for both directions: nobody is there to be answered. Who only says that
    /// nothing more will come is still there.
    pub fn gone(&self) -> impl Future<Output = ()> + use<> {
        let socket = self.readable.clone();
        async move {
            // Never writable, for that is not asked for: what remains is closed. It fails only with the runtime.
            let _ = socket.ready(Interest::WRITABLE).await;
        }
    }

    /// Takes out of the socket what was peeked at.
    fn take_peeked(&mut self) -> io::Result<()> {
        let mut scratch = [MaybeUninit::uninit(); 4096];
        while self.peeked > 0 {
            let most = self.peeked.min(scratch.len());
            match SockRef::from(self.readable.get_ref()).recv(&mut scratch[..most])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                taken => self.peeked -= taken,
            }
        }
        Ok(())
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        send: impl Fn(&UnixStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let outcome = loop {
            let outcome = match &self.writable {
                None => send(self.readable.get_ref()),
                Some(writable) => {
                    match ready!(writable.poll_write_ready(context))?.try_io(|socket| send(socket.get_ref())) {
                        Ok(outcome) => outcome,
                        Err(_would_block) => continue,
                    }
                }
            };
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ask_for_writability()?,
                outcome => break outcome,
            }
        };
        self.writable = None;
        self.take_peeked()?;
        Poll::Ready(outcome)
    }

    fn ask_for_writability(&mut self) -> io::Result<()> {
        let again = self.readable.get_ref().try_clone()?;
        self.writable = Some(register(again, Interest::WRITABLE)?);
        Ok(())
    }
}

#[expect(unsafe_code, reason = "a file descriptor is registered that its owner keeps open")]
fn register(stream: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    // A stream of the standard library owns its file descriptor, which nobody takes out or replaces here.
    Ok(unsafe { AsyncFd::register_with_interest(stream, interest) }?)
}

#[expect(unsafe_code, reason = "no library knows this option of sockets")]
fn peek_from_where_the_last_peek_ended(stream: &UnixStream) -> io::Result<()> {
    let offset: libc::c_int = 0;
    // The kernel reads one int from where it is told.
    let outcome = unsafe {
        libc::setsockopt(
            stream.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEEK_OFF,
            (&raw const offset).cast(),
            size_of_val(&offset) as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.take_peeked()?;
        let flags = if this.peeks { libc::MSG_PEEK } else { 0 };
        let received = loop {
            let mut readiness = ready!(this.readable.poll_read_ready(context))?;
            match readiness.try_io(|socket| receive(socket.get_ref(), buffer, flags)) {
                Ok(received) => {
                    // Nothing is left, or epoll would tell.
                    if buffer.remaining() > 0 {
                        readiness.clear_ready();
                    }
                    break received?;
                }
                Err(_would_block) => {}
            }
        };
        if this.peeks {
            this.peeked += received;
        }
        Poll::Ready(Ok(()))
    }
}

#[expect(unsafe_code, reason = "bytes are received where nothing was written before")]
fn receive(stream: &UnixStream, buffer: &mut ReadBuf<'_>, flags: libc::c_int) -> io::Result<usize> {
    // The operating system only ever writes there.
    let received = SockRef::from(stream).recv_with_flags(unsafe { buffer.unfilled_mut() }, flags)?;
    // So many bytes it has written.
    unsafe { buffer.assume_init(received) };
    buffer.advance(received);
    Ok(received)
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(context, |mut stream| stream.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(context, |mut stream| stream.write_vectored(parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.readable.get_ref().shutdown(std::net::Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;

    fn pair() -> (Stream, Stream) {
        let (client, server) = UnixStream::pair().unwrap();
        (Stream::client(client).unwrap(), Stream::server(server).unwrap())
    }

    /// How many bytes wait in the socket.
    fn waiting(stream: &Stream) -> usize {
        let mut scratch = [MaybeUninit::uninit(); 4096];
        peek_from_where_the_last_peek_ended(stream.readable.get_ref()).unwrap();
        SockRef::from(stream.readable.get_ref()).recv_with_flags(&mut scratch, libc::MSG_PEEK).unwrap_or(0)
    }

    #[tokio::test]
    async fn a_request_stays_in_the_socket_until_it_is_answered() {
        let (mut client, mut server) = pair();
        let mut buffer = [0; 64];
        for request in ["first", "second, longer"] {
            client.write_all(request.as_bytes()).await.unwrap();
            let (start, rest) = buffer.split_at_mut(3);
            server.read_exact(start).await.unwrap();
            let length = server.read(rest).await.unwrap();
            assert_eq!(&buffer[..3 + length], request.as_bytes());
            server.write_all(b"answer").await.unwrap();
            client.read_exact(&mut buffer[..6]).await.unwrap();
            assert_eq!(waiting(&server), 0);
        }
        client.write_all(b"third").await.unwrap();
        server.read_exact(&mut buffer[..5]).await.unwrap();
        assert_eq!(waiting(&server), 5);
    }

    #[tokio::test]
    async fn byte_by_byte_finds_room() {
        let (mut client, mut server) = pair();
        let send = async {
            for _ in 0..5000 {
                client.write_all(b"x").await.unwrap();
            }
        };
        let mut all = [0; 5000];
        let (_, received) = tokio::join!(send, timeout(Duration::from_secs(20), server.read_exact(&mut all)));
        assert!(received.is_ok(), "the sender waits for room");
    }

    #[tokio::test]
    async fn who_has_only_ended_their_side_is_not_gone() {
        let (mut client, server) = pair();
        let gone = server.gone();
        tokio::pin!(gone);
        client.shutdown().await.unwrap();
        assert!(timeout(Duration::from_millis(50), &mut gone).await.is_err());
        drop(client);
        assert!(timeout(Duration::from_secs(20), gone).await.is_ok());
    }

    #[tokio::test]
    async fn more_than_the_sockets_hold_passes_in_both_directions() {
        let (mut client, mut server) = pair();
        let bytes: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        let client = async {
            client.write_all(&bytes).await.unwrap();
            client.shutdown().await.unwrap();
            client.read_to_end(&mut to_client).await.unwrap();
        };
        let server = async {
            server.read_to_end(&mut to_server).await.unwrap();
            server.write_all(&bytes).await.unwrap();
            server.shutdown().await.unwrap();
        };
        tokio::join!(client, server);
        assert!(to_server == bytes && to_client == bytes);
    }

    #[tokio::test]
    async fn an_end_is_seen_behind_what_was_peeked_at() {
        let (mut client, mut server) = pair();
        client.write_all(b"last").await.unwrap();
        drop(client);
        let mut all = Vec::new();
        server.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"last");
    }
}
