//! What happens when: events in the order of their times.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Nanoseconds since the simulation's start.
pub(super) type Time = u64;

/// A time in nanoseconds of so many microseconds.
pub(super) fn micros(micros: f64) -> Time {
    (micros * 1e3).round() as Time
}

/// Events that are yet to come. Of those at the same time, the first to be put in is the first to come out.
pub(super) struct Events<Event> {
    heap: BinaryHeap<Due<Event>>,
    put_in: u64,
}

impl<Event> Events<Event> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), put_in: 0 }
    }

    pub(super) fn at(&mut self, time: Time, event: Event) {
        self.put_in += 1;
        self.heap.push(Due { time, number: self.put_in, event });
    }

    pub(super) fn next(&mut self) -> Option<(Time, Event)> {
        self.heap.pop().map(|due| (due.time, due.event))
    }

    /// When the next one is due.
    pub(super) fn next_time(&self) -> Option<Time> {
        self.heap.peek().map(|due| due.time)
    }
}

struct Due<Event> {
    time: Time,
    number: u64,
    event: Event,
}

/// The greatest comes out of the heap first.
impl<Event> Ord for Due<Event> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.time, other.number).cmp(&(self.time, self.number))
    }
}

impl<Event> PartialOrd for Due<Event> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<Event> PartialEq for Due<Event> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<Event> Eq for Due<Event> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_their_times() {
        let mut events = Events::new();
        for (time, event) in [(5, 'd'), (1, 'a'), (3, 'b'), (3, 'c')] {
            events.at(time, event);
        }
        assert_eq!(events.next_time(), Some(1));
        let order: Vec<(Time, char)> = std::iter::from_fn(|| events.next()).collect();
        assert_eq!(order, [(1, 'a'), (3, 'b'), (3, 'c'), (5, 'd')]);
    }
}
