//! The load itself: one thread that sends each request when its time has come, whatever became of those before it.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::atomic::{self, AtomicBool};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::connection::Dialer;
use super::http::{self, Input, Malformed};
use super::ledger::Ledger;
use super::monitor::{Cause, Failure, Monitor};
use super::rules::{Rules, Subject};
use super::schedule::{Arrival, Kind};
use super::slot::{Handle, Request, Slot, Slots};
use crate::load::payloads::random::Random;

/// Requests that may be begun before answers are looked at again.
const BURST: usize = 32;

/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// Microseconds between a 201 and the fetch that follows it.
const PAUSE: RangeInclusive<u64> = 1_000..=30_000;

/// How users behave.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Whether connections outlive their user.
    pub keep_alive: bool,
    /// How long a user waits for an answer, from sending.
    pub timeout: Duration,
    /// What pauses are drawn from.
    pub seed: u64,
}

/// Drives load. Feeders go on where they stopped from one run to the next.
#[derive(Debug)]
pub struct Worker<'a> {
    rules: &'a Rules<'a>,
    behaviour: Behaviour,
    dialer: Dialer,
    epoll: OwnedFd,
    slots: Slots,
    /// Connections that wait for the next user, latest used last.
    idle: Vec<Handle>,
    follow_ups: BinaryHeap<Reverse<FollowUp>>,
    /// In order of time, since all requests wait equally long.
    deadlines: VecDeque<Deadline>,
    tickets: u64,
    ledger: Ledger,
    searches: u64,
}

impl<'a> Worker<'a> {
    /// A worker that has sent nothing yet.
    ///
    /// # Errors
    ///
    /// The kernel gives no epoll instance.
    pub fn new(rules: &'a Rules<'a>, behaviour: Behaviour, dialer: Dialer) -> io::Result<Self> {
        Ok(Self {
            rules,
            behaviour,
            dialer,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            slots: Slots::default(),
            idle: Vec::new(),
            follow_ups: BinaryHeap::new(),
            deadlines: VecDeque::new(),
            tickets: 0,
            ledger: Ledger::default(),
            searches: 0,
        })
    }

    /// What became of each create.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Sends every arrival at its time from `monitor.start` on, and what follows from it, until all is answered or
    /// given up, or `stop` is set. `each_second` is called after each second.
    ///
    /// # Errors
    ///
    /// The kernel refuses to wait.
    pub fn run(
        &mut self,
        arrivals: impl Iterator<Item = Arrival>,
        monitor: &mut Monitor,
        stop: &AtomicBool,
        mut each_second: impl FnMut(&Monitor),
    ) -> io::Result<()> {
        let start = monitor.start;
        let mut arrivals = arrivals.map(|arrival| (start + arrival.at, arrival.kind)).peekable();
        let mut events = Vec::with_capacity(EVENTS);
        while !stop.load(atomic::Ordering::Relaxed) {
            for _ in 0..BURST {
                let now = Instant::now();
                if let Some(follow_up) = self.due_follow_up(now) {
                    self.follow_up(follow_up, now, monitor);
                } else if let Some((intended, kind)) = arrivals.next_if(|(at, _)| *at <= now) {
                    self.arrive(intended, kind, now, monitor);
                } else {
                    break;
                }
            }
            let now = Instant::now();
            self.expire(now, monitor);
            if monitor.roll(now) {
                each_second(monitor);
            }
            let next_arrival = arrivals.peek().map(|(at, _)| *at);
            if next_arrival.is_none() && self.follow_ups.is_empty() && monitor.in_flight == 0 {
                break;
            }
            let until = [next_arrival, self.next_timer()].into_iter().flatten().fold(monitor.next_roll(), Instant::min);
            self.wait(until.saturating_duration_since(now), &mut events)?;
            let now = Instant::now();
            for event in events.drain(..) {
                self.advance(event, now, monitor);
            }
        }
        monitor.finish();
        Ok(())
    }

    fn due_follow_up(&mut self, now: Instant) -> Option<FollowUp> {
        self.follow_ups.peek().filter(|next| next.0.due <= now)?;
        self.follow_ups.pop().map(|next| next.0)
    }

    fn arrive(&mut self, intended: Instant, kind: Kind, now: Instant, monitor: &mut Monitor) {
        let number = match kind {
            Kind::Create | Kind::Fetch => self.ledger.open(),
            Kind::Search => next(&mut self.searches),
            Kind::InvalidSearch => 0,
        };
        let request = Request { kind, number, intended, sent: now, ticket: next(&mut self.tickets) };
        let connection = self.idle_connection();
        self.begin(connection, request, Vec::new(), monitor);
    }

    fn follow_up(&mut self, follow_up: FollowUp, now: Instant, monitor: &mut Monitor) {
        let FollowUp { due, connection, create, path } = follow_up;
        let ticket = next(&mut self.tickets);
        let request = Request { kind: Kind::Fetch, number: create, intended: due, sent: now, ticket };
        let kept = connection.filter(|handle| self.slots.get(*handle).is_some());
        let connection = kept.or_else(|| self.idle_connection());
        self.begin(connection, request, path, monitor);
    }

    /// Sends a request, on a connection that is there or on a new one.
    fn begin(&mut self, connection: Option<Handle>, request: Request, path: Vec<u8>, monitor: &mut Monitor) {
        let handle = match connection.map_or_else(|| self.dialer.dial().map(|new| self.slots.insert(new)), Ok) {
            Ok(handle) => handle,
            Err(error) if is_shortage(&error) => return monitor.unsent(&error),
            Err(error) => {
                monitor.sent(&request);
                return monitor.ended(&request, Instant::now(), None, Err(broken(&error)));
            }
        };
        monitor.sent(&request);
        self.transmit(handle, connection.is_some(), request, path, request.sent, monitor);
    }

    fn transmit(
        &mut self,
        handle: Handle,
        is_reused: bool,
        request: Request,
        path: Vec<u8>,
        now: Instant,
        monitor: &mut Monitor,
    ) {
        let at = now + self.behaviour.timeout;
        self.deadlines.push_back(Deadline { at, connection: handle, ticket: request.ticket });
        if let Some(slot) = self.slots.get(handle) {
            slot.begin(request, path, is_reused);
            let subject = Subject { kind: request.kind, number: request.number, path: &slot.path };
            self.rules.write(&mut slot.output, subject);
        }
        if let Err(error) = self.dispatch(handle, !is_reused) {
            self.break_off(handle, Instant::now(), broken(&error), monitor);
        }
    }

    /// Sends what can be sent, and has the kernel tell when more can, and when an answer comes.
    ///
    /// Every event is told once (edge-triggered), and room to send only where it is wanted, which spares a wake-up and
    /// a system call per connection.
    fn dispatch(&mut self, handle: Handle, is_new: bool) -> io::Result<()> {
        let Some(slot) = self.slots.get(handle) else { return Ok(()) };
        slot.send()?;
        let mut interest = epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        if !slot.is_sent() {
            interest |= epoll::EventFlags::OUT;
        }
        let Some(connection) = &slot.connection else { return Ok(()) };
        match (is_new, slot.is_sent()) {
            (true, _) => epoll::add(&self.epoll, connection, handle.to_data(), interest)?,
            (false, false) => epoll::modify(&self.epoll, connection, handle.to_data(), interest)?,
            (false, true) => {}
        }
        Ok(())
    }

    fn wait(&self, time: Duration, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        let timeout = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() };
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Something happened on a connection.
    fn advance(&mut self, event: epoll::Event, now: Instant, monitor: &mut Monitor) {
        let handle = Handle::from_data(event.data);
        let Some(slot) = self.slots.get(handle) else { return };
        let Some(request) = slot.request else { return self.slots.close(handle) };
        let over = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        let flags = event.flags;
        let ended = match slot.exchange(flags.intersects(over)) {
            Ok(ended) => ended,
            Err(error) => return self.break_off(handle, now, broken(&error), monitor),
        };
        if !ended && slot.input.len() < slot.until {
            return;
        }
        let answer = match http::read(&slot.input, ended) {
            Ok(Input::Whole(answer)) => answer,
            Ok(Input::Partial { until }) => return slot.until = until,
            Err(malformed) => {
                let failure = malformation(malformed, &slot.input);
                return self.break_off(handle, now, failure, monitor);
            }
        };
        let subject = Subject { kind: request.kind, number: request.number, path: &slot.path };
        let outcome = self.rules.check(subject, &answer);
        let created = request.kind == Kind::Create && answer.status == 201;
        let path = self.rules.location(&answer).filter(|_| created).map(String::into_bytes);
        if request.kind == Kind::Create {
            self.ledger.settle(request.number, answer.status, path.as_deref());
        }
        let is_reusable = answer.reusable;
        monitor.ended(&request, now, Some(answer.status), outcome);
        slot.request = None;
        if let Some(path) = path {
            let due = now + self.pause(request.number);
            let connection = (is_reusable && !self.behaviour.keep_alive).then_some(handle);
            self.follow_ups.push(Reverse(FollowUp { due, connection, create: request.number, path }));
            if connection.is_some() {
                return;
            }
        }
        match is_reusable && self.behaviour.keep_alive {
            true => self.idle.push(handle),
            false => self.slots.close(handle),
        }
    }

    fn expire(&mut self, now: Instant, monitor: &mut Monitor) {
        while let Some(Deadline { at, connection, ticket }) = self.deadlines.front().copied() {
            let is_waiting = self.slots.get(connection).is_some_and(|slot| slot.awaits(ticket));
            if is_waiting && at > now {
                return;
            }
            self.deadlines.pop_front();
            if is_waiting {
                self.give_up(connection, now, Failure::new("timed out").for_cause(Cause::Overload), monitor);
            }
        }
    }

    /// Sends a request once more whose connection broke, where that is allowed, or ends it.
    fn break_off(&mut self, handle: Handle, now: Instant, failure: Failure, monitor: &mut Monitor) {
        let Some((request, path)) = self.slots.get(handle).and_then(Slot::repeatable) else {
            return self.give_up(handle, now, failure, monitor);
        };
        self.slots.close(handle);
        monitor.repeated += 1;
        match self.dialer.dial() {
            Ok(connection) => {
                let handle = self.slots.insert(connection);
                self.transmit(handle, false, request, path, now, monitor);
            }
            Err(error) => monitor.ended(&request, now, None, Err(broken(&error))),
        }
    }

    /// Ends a request without an answer.
    fn give_up(&mut self, handle: Handle, now: Instant, failure: Failure, monitor: &mut Monitor) {
        if let Some(request) = self.slots.get(handle).and_then(|slot| slot.request) {
            monitor.ended(&request, now, None, Err(failure));
        }
        self.slots.close(handle);
    }

    fn idle_connection(&mut self) -> Option<Handle> {
        std::iter::from_fn(|| self.idle.pop()).find(|handle| self.slots.get(*handle).is_some())
    }

    fn next_timer(&self) -> Option<Instant> {
        let follow_up = self.follow_ups.peek().map(|next| next.0.due);
        let deadline = self.deadlines.front().map(|next| next.at);
        follow_up.into_iter().chain(deadline).min()
    }

    /// The same for the same seed and create, in whatever order answers come.
    fn pause(&self, create: u64) -> Duration {
        let mut random = Random::new(self.behaviour.seed ^ create.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Duration::from_micros(random.between(*PAUSE.start(), *PAUSE.end()))
    }
}

/// A fetch to come.
#[derive(Debug)]
struct FollowUp {
    due: Instant,
    /// The user's connection, where it is kept.
    connection: Option<Handle>,
    create: u64,
    path: Vec<u8>,
}

impl FollowUp {
    fn key(&self) -> (Instant, u64) {
        (self.due, self.create)
    }
}

impl PartialEq for FollowUp {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for FollowUp {}

impl PartialOrd for FollowUp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FollowUp {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// When a request is given up.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Instant,
    connection: Handle,
    ticket: u64,
}

fn next(counter: &mut u64) -> u64 {
    let number = *counter;
    *counter += 1;
    number
}

/// Whether it is this machine, not the server, that has nothing left to give.
fn is_shortage(error: &io::Error) -> bool {
    let codes = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

fn broken(error: &io::Error) -> Failure {
    let failure = match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::new("connection refused"),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Failure::new("connection reset"),
        io::ErrorKind::TimedOut => Failure::new("cannot connect in time"),
        _ => Failure::new(error.to_string()),
    };
    failure.for_cause(Cause::Overload)
}

fn malformation(malformed: Malformed, input: &[u8]) -> Failure {
    match malformed {
        Malformed::Truncated if input.is_empty() => Failure::new("closed without an answer").for_cause(Cause::Overload),
        Malformed::Truncated => {
            Failure::new("closed in the middle of an answer").with(input).for_cause(Cause::Overload)
        }
        Malformed::NotHttp => Failure::new("not HTTP").with(input),
        Malformed::TooLong => Failure::new("answer too long").with(input),
    }
}
