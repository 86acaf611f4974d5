//! Connections with their buffers and the request each carries.

use std::io;
use std::time::Instant;

use rustix::event::epoll::EventData;

use super::connection::{Connection, Read};
use super::schedule::Kind;

/// Buffers that grew beyond this are given back when their connection closes.
const SPARE_BUFFER: usize = 64 << 10;

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Its kind.
    pub kind: Kind,
    /// Which create or search it is; for a fetch, the create that it follows.
    pub number: u64,
    /// When the schedule wanted it sent.
    pub intended: Instant,
    /// When it was sent.
    pub sent: Instant,
    /// Unique among all requests.
    pub ticket: u64,
}

/// Names a connection; no longer valid once that is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    index: u32,
    generation: u32,
}

impl Handle {
    /// As the kernel keeps it.
    pub fn to_data(self) -> EventData {
        EventData::new_u64(u64::from(self.generation) << 32 | u64::from(self.index))
    }

    /// From what the kernel kept.
    pub fn from_data(data: EventData) -> Self {
        let data = data.u64();
        Self { index: data as u32, generation: (data >> 32) as u32 }
    }
}

/// A connection, its buffers and its request.
#[derive(Debug, Default)]
pub struct Slot {
    generation: u32,
    /// Absent where the slot is free.
    pub connection: Option<Connection>,
    /// Absent while the connection waits for the next one.
    pub request: Option<Request>,
    /// Whether the connection carried another request before this one.
    pub is_reused: bool,
    /// The path of a fetch.
    pub path: Vec<u8>,
    /// The request as bytes.
    pub output: Vec<u8>,
    /// How many of them are sent.
    pub written: usize,
    /// What has arrived of the answer.
    pub input: Vec<u8>,
    /// How much must have arrived before it is worth another look.
    pub until: usize,
}

impl Slot {
    /// Begins a request; the buffers forget the one before.
    pub fn begin(&mut self, request: Request, path: Vec<u8>, is_reused: bool) {
        self.request = Some(request);
        self.is_reused = is_reused;
        self.path = path;
        self.output.clear();
        self.written = 0;
        self.input.clear();
        self.until = 0;
    }

    /// Whether this very request is still without an answer.
    pub fn awaits(&self, ticket: u64) -> bool {
        self.request.is_some_and(|request| request.ticket == ticket)
    }

    /// The request and its path, if it may be sent once more after the connection broke: a server may close an idle
    /// connection just as a request is on its way, and one that does not change anything does no harm twice
    /// (RFC 9112, 9.3.1).
    pub fn repeatable(&mut self) -> Option<(Request, Vec<u8>)> {
        let is_lost = self.is_reused && self.input.is_empty();
        let request = self.request.filter(|request| is_lost && request.kind != Kind::Create)?;
        Some((request, std::mem::take(&mut self.path)))
    }

    /// Sends what is left to send.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub fn send(&mut self) -> io::Result<()> {
        if let Some(connection) = &self.connection {
            self.written += connection.send(&self.output[self.written..])?;
        }
        Ok(())
    }

    /// Whether all is sent.
    pub fn is_sent(&self) -> bool {
        self.written == self.output.len()
    }

    /// Sends what is left and takes what has arrived; says whether nothing more will come. `is_over` is what the kernel
    /// thinks of that.
    ///
    /// # Errors
    ///
    /// The connection is broken and nothing has arrived. A server that refuses a request early may break the
    /// connection after its answer, which counts all the same.
    pub fn exchange(&mut self, is_over: bool) -> io::Result<bool> {
        let sent = if self.is_sent() { Ok(()) } else { self.send() };
        let Some(connection) = &self.connection else { return Ok(true) };
        let received = loop {
            match connection.receive(&mut self.input) {
                Ok(Read::Drained) if !is_over || sent.is_err() => break Ok(false),
                Ok(Read::Drained) => {}
                Ok(Read::Ended) => break Ok(true),
                Err(error) => break Err(error),
            }
        };
        match (sent, received) {
            (Ok(()), Ok(ended)) => Ok(ended),
            (Err(error), _) | (_, Err(error)) if self.input.is_empty() => Err(error),
            _ => Ok(true),
        }
    }
}

/// All slots, taken and free.
#[derive(Debug, Default)]
pub struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Slots {
    /// Gives a connection a slot.
    pub fn insert(&mut self, connection: Connection) -> Handle {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.connection = Some(connection);
        Handle { index, generation: slot.generation }
    }

    /// The slot, unless its connection is closed by now.
    pub fn get(&mut self, handle: Handle) -> Option<&mut Slot> {
        self.slots.get_mut(handle.index as usize).filter(|slot| slot.generation == handle.generation)
    }

    /// Closes the connection and frees its slot.
    pub fn close(&mut self, handle: Handle) {
        let Some(slot) = self.get(handle) else { return };
        slot.connection = None;
        slot.request = None;
        slot.generation = slot.generation.wrapping_add(1);
        slot.input.clear();
        slot.input.shrink_to(SPARE_BUFFER);
        self.free.push(handle.index);
    }
}
