//! A bounded queue in memory with a few consumers, each of which uses the resource one at a time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, Receiver, Sender};

use super::place::Resource;

/// How many events are worked on at once.
pub const CONSUMERS: usize = 3;

/// The means are over this many events.
const RECENT: usize = 100;

/// Takes events and works them off in order of arrival.
pub struct Stage {
    events: Sender<Event>,
    waiting: Arc<AtomicUsize>,
    recent: Arc<Mutex<VecDeque<Times>>>,
}

struct Event {
    resource: Arc<Resource>,
    enqueued: Instant,
    report: Report,
}

/// Hears how long an event stood in line and how many used the resource when it did; it is dropped when the event is done.
pub type Report = Box<dyn Fn(Duration, usize) + Send>;

#[derive(Clone, Copy)]
struct Times {
    waited: Duration,
    processed: Duration,
}

impl Stage {
    /// Starts the consumers; at most `capacity` events wait.
    pub fn start(capacity: usize) -> Self {
        let (events, receiver) = mpsc::channel(capacity);
        let stage = Self { events, waiting: Arc::default(), recent: Arc::default() };
        let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
        for _ in 0..CONSUMERS {
            tokio::spawn(consume(receiver.clone(), stage.waiting.clone(), stage.recent.clone()));
        }
        stage
    }

    /// Puts one use of `resource` in line; false when the line is full.
    pub fn enqueue(&self, resource: Arc<Resource>, report: Report) -> bool {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let enqueued = self.events.try_send(Event { resource, enqueued: Instant::now(), report }).is_ok();
        if !enqueued {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        enqueued
    }

    /// Events in line that no consumer has taken yet.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How long the last events took from when a consumer took them until done, in milliseconds.
    pub fn mean_processing(&self) -> f64 {
        self.mean(|times| times.processed)
    }

    /// How long the last events stood in line, in milliseconds.
    pub fn mean_wait(&self) -> f64 {
        self.mean(|times| times.waited)
    }

    fn mean(&self, part: impl Fn(&Times) -> Duration) -> f64 {
        let recent = lock(&self.recent);
        if recent.is_empty() {
            return 0.0;
        }
        let sum: Duration = recent.iter().map(part).sum();
        sum.as_secs_f64() * 1e3 / recent.len() as f64
    }
}

async fn consume(
    events: Arc<tokio::sync::Mutex<Receiver<Event>>>,
    waiting: Arc<AtomicUsize>,
    recent: Arc<Mutex<VecDeque<Times>>>,
) {
    loop {
        let Some(event) = events.lock().await.recv().await else {
            return;
        };
        waiting.fetch_sub(1, Ordering::Relaxed);
        let taken = Instant::now();
        let place = event.resource.take().await;
        (event.report)(taken - event.enqueued, place.in_use);
        place.hold().await;
        let mut recent = lock(&recent);
        recent.push_back(Times { waited: taken - event.enqueued, processed: taken.elapsed() });
        if recent.len() > RECENT {
            recent.pop_front();
        }
    }
}

fn lock(recent: &Mutex<VecDeque<Times>>) -> MutexGuard<'_, VecDeque<Times>> {
    recent.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> Report {
        Box::new(|_, _| {})
    }

    #[tokio::test(start_paused = true)]
    async fn works_three_at_a_time_in_order() {
        let stage = Stage::start(10);
        let resource = Arc::new(Resource::new("a".into(), None));
        for _ in 0..5 {
            assert!(stage.enqueue(resource.clone(), nobody()));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!((stage.waiting(), resource.in_use()), (2, 3));
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!((stage.waiting(), resource.in_use()), (0, 2));
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!((stage.waiting(), resource.in_use()), (0, 0));
    }

    #[tokio::test]
    async fn a_full_line_says_so() {
        let stage = Stage::start(2);
        let resource = Arc::new(Resource::new("a".into(), None));
        assert!(stage.enqueue(resource.clone(), nobody()) && stage.enqueue(resource.clone(), nobody()));
        assert!(!stage.enqueue(resource, nobody()));
        assert_eq!(stage.waiting(), 2);
    }
}
