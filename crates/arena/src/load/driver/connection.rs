//! One TCP connection, never waited for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, bind, connect, send, socket_with};

/// Loopback source addresses to use in turn. A closed connection keeps its pair of addresses and ports for a minute
/// (TIME_WAIT), so that one address with some 28,000 ports is good for 470 connections a second; these are good for 60,000.
const SOURCES: u32 = 128;

/// Room made in the buffer before each read.
const READ: usize = 8 << 10;

/// Opens connections to one address.
#[derive(Debug)]
pub struct Dialer {
    target: SocketAddr,
    opened: u32,
}

impl Dialer {
    /// Connections to `target`.
    pub fn new(target: SocketAddr) -> Self {
        Self { target, opened: 0 }
    }

    /// Begins to connect.
    ///
    /// # Errors
    ///
    /// The machine has no socket or no port left, or the target is known at once not to answer.
    pub fn dial(&mut self) -> io::Result<Connection> {
        let family = if self.target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        if let Some(source) = self.next_source() {
            port_when_connecting(&socket)?;
            bind(&socket, &SocketAddr::new(source, 0))?;
        }
        match connect(&socket, &self.target) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(Connection { socket }),
            Err(error) => Err(error.into()),
        }
    }

    fn next_source(&mut self) -> Option<IpAddr> {
        let IpAddr::V4(target) = self.target.ip() else { return None };
        if !target.is_loopback() {
            return None;
        }
        self.opened = (self.opened + 1) % SOURCES;
        Some(Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + self.opened).into())
    }
}

/// A connection that may still be on its way.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
}

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// All that has arrived is read; more may come.
    Drained,
    /// The server closed its side.
    Ended,
}

impl Connection {
    /// Sends as much as the connection takes now and says how much that was; 0 while it is still being made.
    ///
    /// # Errors
    ///
    /// The connection could not be made, or is broken.
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Appends what has arrived to `input`.
    ///
    /// # Errors
    ///
    /// The connection could not be made, or is broken.
    pub fn receive(&self, input: &mut Vec<u8>) -> io::Result<Read> {
        loop {
            input.reserve(READ);
            let room = input.capacity() - input.len();
            match rustix::io::read(&self.socket, spare_capacity(input)) {
                Ok(0) => return Ok(Read::Ended),
                Ok(read) if read < room => return Ok(Read::Drained),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(Read::Drained),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Has the kernel choose the source port when it knows the target, so that a port is only taken once per target.
#[expect(unsafe_code, reason = "no library that is here knows this option of sockets")]
fn port_when_connecting(socket: &OwnedFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option takes an int, which lives across the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
