//! How long a request that needs no database waits while a run goes on: the price that everybody else pays.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::store::Store;
use crate::live::recorder::Recorder;

/// Time between two pings.
const PAUSE: Duration = Duration::from_millis(100);

/// Name of the figure in outcomes.
const LONGEST: &str = "longest_ping";

/// Pings a store, one ping at a time.
#[derive(Default)]
pub(super) struct Pinger {
    state: Mutex<State>,
    begins: Notify,
}

#[derive(Clone, Copy, Default)]
struct State {
    asked: Option<Instant>,
    last: f64,
}

impl Pinger {
    /// A run begins.
    pub fn begin(&self) {
        self.begins.notify_one();
    }

    /// How long the last ping took in milliseconds, or how long the one under way has, if that is longer.
    pub fn milliseconds(&self) -> f64 {
        let state = self.state();
        state.asked.map_or(state.last, |asked| state.last.max(since(asked)))
    }

    /// Pings while runs go on, for good.
    pub async fn run(self: Arc<Self>, store: Arc<dyn Store>, recorder: Arc<Recorder>) {
        loop {
            self.begins.notified().await;
            while recorder.outcome().is_some_and(|run| run.running) {
                self.ping(&*store, &recorder).await;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn ping(&self, store: &dyn Store, recorder: &Recorder) {
        let asked = Instant::now();
        self.set(State { asked: Some(asked), ..self.state() });
        store.ping().await;
        let last = since(asked);
        self.set(State { asked: None, last });
        recorder.note_most_in_all(LONGEST, last);
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

fn since(asked: Instant) -> f64 {
    asked.elapsed().as_secs_f64() * 1e3
}
