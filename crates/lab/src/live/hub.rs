//! One sampler, any number of viewers.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Takes one sample per period; `None` means that there is nothing new to show.
pub trait Sample: Send {
    /// The message for all viewers, as one line of text.
    fn sample(&mut self) -> BoxFuture<'_, Option<String>>;
}

/// Sends what one sampler sees to everyone who looks, and rests when nobody does.
///
/// Viewers share a single slot that holds the newest message: a slow viewer skips messages and never makes the server
/// keep them.
pub struct Hub {
    newest: watch::Sender<Arc<str>>,
    sampling: Mutex<bool>,
    period: Duration,
    start: Box<dyn Fn() -> Box<dyn Sample> + Send + Sync>,
    shutdown: CancellationToken,
}

impl Hub {
    /// A hub that makes a fresh sampler with `start` whenever the first viewer comes, and asks it once per `period`.
    pub fn new(
        period: Duration,
        shutdown: CancellationToken,
        start: impl Fn() -> Box<dyn Sample> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            newest: watch::Sender::new(Arc::from("")),
            sampling: Mutex::new(false),
            period,
            start: Box::new(start),
            shutdown,
        })
    }

    /// A server-sent event stream for one viewer; it ends when the server shuts down.
    pub fn events(self: &Arc<Self>) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
        self.send(self.subscribe())
    }

    /// The same with the messages of another hub among them: a page with one stream holds one of the few connections
    /// that a browser opens to a server.
    pub fn events_and(
        self: &Arc<Self>,
        other: &Arc<Self>,
    ) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
        self.send(stream::select(self.subscribe(), other.subscribe()))
    }

    fn send<S: Stream<Item = Arc<str>> + Send + 'static>(
        &self,
        messages: S,
    ) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<S>> {
        let until_the_end = messages.take_until(self.shutdown.clone().cancelled_owned());
        Sse::new(until_the_end.map(|message| Ok(Event::default().data(&*message)))).keep_alive(KeepAlive::default())
    }

    /// The messages from now on.
    pub fn subscribe(self: &Arc<Self>) -> impl Stream<Item = Arc<str>> + Send + use<> {
        let mut receiver = self.newest.subscribe();
        receiver.mark_unchanged();
        self.wake();
        stream::unfold(receiver, |mut receiver| async move {
            receiver.changed().await.ok()?;
            let message = receiver.borrow_and_update().clone();
            Some((message, receiver))
        })
    }

    /// How many viewers look at this moment.
    pub fn viewers(&self) -> usize {
        self.newest.receiver_count()
    }

    /// Whether the sampler is at work.
    pub fn is_sampling(&self) -> bool {
        *self.sampling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(self: &Arc<Self>) {
        let mut sampling = self.sampling.lock().unwrap_or_else(PoisonError::into_inner);
        if *sampling {
            return;
        }
        *sampling = true;
        tokio::spawn(self.clone().run());
    }

    async fn run(self: Arc<Self>) {
        let mut sampler = (self.start)();
        let mut ticks = tokio::time::interval(self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            if self.rest_if_alone() {
                return;
            }
            if let Some(message) = sampler.sample().await {
                self.newest.send_replace(Arc::from(message));
            }
        }
    }

    fn rest_if_alone(&self) -> bool {
        let mut sampling = self.sampling.lock().unwrap_or_else(PoisonError::into_inner);
        *sampling = self.viewers() > 0;
        !*sampling
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(u32);

    impl Sample for Counting {
        fn sample(&mut self) -> BoxFuture<'_, Option<String>> {
            self.0 += 1;
            let text = self.0.to_string();
            Box::pin(async move { Some(text) })
        }
    }

    fn hub() -> Arc<Hub> {
        let shutdown = CancellationToken::new();
        Hub::new(Duration::from_millis(1), shutdown, || Box::new(Counting(0)))
    }

    #[tokio::test]
    async fn samples_only_while_somebody_looks() {
        let hub = hub();
        assert!(!hub.is_sampling());
        let mut viewer = Box::pin(hub.subscribe());
        assert!(viewer.next().await.is_some());
        assert!(hub.is_sampling());
        drop(viewer);
        while hub.is_sampling() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(hub.viewers(), 0);
    }

    #[tokio::test]
    async fn starts_again_for_the_next_viewer() {
        let hub = hub();
        for _ in 0..3 {
            let mut viewer = Box::pin(hub.subscribe());
            assert!(viewer.next().await.is_some());
        }
    }

    #[tokio::test]
    async fn shares_one_sampler_among_all_viewers() {
        let hub = hub();
        let mut viewers: Vec<_> = (0..50).map(|_| Box::pin(hub.subscribe())).collect();
        let mut newest = 0;
        for viewer in &mut viewers {
            let message = viewer.next().await.expect("a message");
            newest = newest.max(message.parse::<u32>().expect("a number"));
        }
        assert!(newest < 500, "one sampler counts the ticks, not the viewers: {newest}");
    }
}
