//! Grouping: what arrives while a statement is under way goes together in the next one.
//!
//! Groups grow with the load by themselves, and no timer makes anyone wait.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex, mpsc, oneshot};

use crate::error::Error;

use super::pace::Pace;

/// What is done to a group.
pub(super) trait Work: Send + Sync + 'static {
    type Item: Send + 'static;
    type Answer: Send + 'static;

    /// Answers every job, or leaves it to somebody who will.
    fn run(&self, jobs: Vec<Job<Self::Item, Self::Answer>>) -> impl Future<Output = ()> + Send;
}

/// Something to do, and who waits for it.
pub(super) struct Job<I, A> {
    pub(super) item: I,
    /// Is closed when nobody waits for it any more.
    pub(super) reply: oneshot::Sender<Result<A, Error>>,
}

impl<I, A> Job<I, A> {
    pub(super) fn answer(self, answer: Result<A, Error>) {
        // Whoever has given up does not listen.
        let _ = self.reply.send(answer);
    }

    /// Whether nobody waits for it any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.reply.is_closed()
    }
}

/// A queue with a bound, and lanes that each take all that waits in it, do it, and come back for more.
pub(super) struct Batcher<I, A> {
    queue: mpsc::Sender<Job<I, A>>,
    pace: Arc<Pace>,
}

type SharedReceiver<I, A> = Arc<Mutex<mpsc::Receiver<Job<I, A>>>>;

impl<I: Send + 'static, A: Send + 'static> Batcher<I, A> {
    /// Starts the lanes; they end when the batcher is dropped.
    pub(super) fn start(work: impl Work<Item = I, Answer = A>, lanes: u16, most: usize, queue: usize) -> Self {
        let (sender, receiver) = mpsc::channel(queue);
        let work = Arc::new(work);
        let receiver = Arc::new(Mutex::new(receiver));
        let pace = Arc::new(Pace::new(lanes, most));
        for _ in 0..lanes {
            tokio::spawn(lane(work.clone(), receiver.clone(), pace.clone(), most));
        }
        Self { queue: sender, pace }
    }

    /// Whether one more would be done soon enough.
    pub(super) fn has_room(&self) -> bool {
        let waiting = self.queue.max_capacity() - self.queue.capacity();
        waiting < self.pace.room().min(self.queue.max_capacity())
    }

    /// Has an item done with whatever else waits.
    ///
    /// # Errors
    ///
    /// [`Error::Overloaded`] where too many wait already, else what the work says.
    pub(super) async fn submit(&self, item: I) -> Result<A, Error> {
        if !self.has_room() {
            return Err(Error::Overloaded);
        }
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Job { item, reply }).map_err(|_| Error::Overloaded)?;
        answer.await.unwrap_or(Err(Error::Unavailable))
    }
}

async fn lane<W: Work>(work: Arc<W>, receiver: SharedReceiver<W::Item, W::Answer>, pace: Arc<Pace>, most: usize) {
    loop {
        let mut group = Vec::new();
        if receiver.lock().await.recv_many(&mut group, most).await == 0 {
            return;
        }
        // Whoever has given up was told that nothing is known; there is no point in doing it now.
        group.retain(|job| !job.is_given_up());
        if !group.is_empty() {
            let (start, served) = (Instant::now(), group.len());
            work.run(group).await;
            pace.served(served, start.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::sync::Semaphore;
    use tokio::time::sleep;

    use super::*;

    struct Doubling {
        gate: Arc<Semaphore>,
        groups: Arc<StdMutex<Vec<usize>>>,
    }

    impl Work for Doubling {
        type Item = u32;
        type Answer = u32;

        async fn run(&self, jobs: Vec<Job<u32, u32>>) {
            self.groups.lock().unwrap().push(jobs.len());
            self.gate.acquire().await.unwrap().forget();
            for job in jobs {
                let answer = if job.item == 13 { Err(Error::Internal) } else { Ok(job.item * 2) };
                job.answer(answer);
            }
        }
    }

    fn doubling() -> (Doubling, Arc<Semaphore>, Arc<StdMutex<Vec<usize>>>) {
        let (gate, groups) = (Arc::new(Semaphore::new(0)), Arc::new(StdMutex::new(Vec::new())));
        (Doubling { gate: gate.clone(), groups: groups.clone() }, gate, groups)
    }

    #[tokio::test]
    async fn what_arrives_meanwhile_goes_together_and_each_gets_its_own_answer() {
        let (work, gate, groups) = doubling();
        let batcher = Arc::new(Batcher::start(work, 1, 4, 16));
        let mut tasks = Vec::new();
        for item in [1, 2, 13, 4, 5, 6] {
            let batcher = batcher.clone();
            tasks.push(tokio::spawn(async move { batcher.submit(item).await }));
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
        gate.add_permits(9);
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        assert_eq!(answers, [Ok(2), Ok(4), Err(Error::Internal), Ok(8), Ok(10), Ok(12)]);
        assert_eq!(*groups.lock().unwrap(), [1, 4, 1]);
    }

    #[tokio::test]
    async fn a_full_queue_says_so_at_once() {
        let (work, _gate, _) = doubling();
        let batcher = Arc::new(Batcher::start(work, 1, 1, 1));
        let mut tasks = Vec::new();
        for item in [1, 2] {
            let batcher = batcher.clone();
            tasks.push(tokio::spawn(async move { batcher.submit(item).await }));
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
        assert_eq!(batcher.submit(3).await, Err(Error::Overloaded));
    }

    #[tokio::test]
    async fn who_would_wait_too_long_is_refused_before_the_queue_is_full() {
        let (work, gate, _) = doubling();
        let batcher = Arc::new(Batcher::start(work, 1, 1, 1000));
        let first = tokio::spawn({
            let batcher = batcher.clone();
            async move { batcher.submit(1).await }
        });
        sleep(Duration::from_millis(100)).await;
        gate.add_permits(1);
        assert_eq!(first.await.unwrap(), Ok(2));
        let all = join_all((0..500).map(|item| batcher.submit(item)));
        gate.add_permits(500);
        let refused = all.await.into_iter().filter(|answer| *answer == Err(Error::Overloaded)).count();
        assert_eq!(refused, 372);
    }

    #[tokio::test]
    async fn who_gave_up_is_left_out() {
        let (work, gate, groups) = doubling();
        let batcher = Arc::new(Batcher::start(work, 1, 4, 16));
        let first = tokio::spawn({
            let batcher = batcher.clone();
            async move { batcher.submit(1).await }
        });
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        let gone = tokio::spawn({
            let batcher = batcher.clone();
            async move { batcher.submit(2).await }
        });
        tokio::task::yield_now().await;
        gone.abort();
        let _ = gone.await;
        gate.add_permits(9);
        assert_eq!(first.await.unwrap(), Ok(2));
        assert_eq!(batcher.submit(3).await, Ok(6));
        assert_eq!(*groups.lock().unwrap(), [1, 1]);
    }
}
