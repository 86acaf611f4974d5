//! Creates for nicknames that another client has written in a transaction that is still open: whether they are taken is
//! not known until it ends. They wait on connections of their own, one for each nickname, and nobody else with them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Error;

use super::create::{CreateJob, Storing};

/// Settings of a session that waits as long as a request may.
pub(super) const SETTINGS: &str = "-c enable_seqscan=off";

/// Who waits for which nickname. A nickname has an entry for as long as somebody waits for it in the database.
#[derive(Clone)]
pub(super) struct Held {
    storing: Arc<Storing>,
    waiting: Arc<Mutex<HashMap<String, VecDeque<CreateJob>>>>,
    /// For one nickname.
    most: usize,
}

impl Held {
    pub(super) fn new(storing: Storing, most: usize) -> Self {
        Self { storing: Arc::new(storing), waiting: Arc::default(), most }
    }

    /// Has a create wait behind those that wait for the same nickname; gives it back where there are none.
    pub(super) fn join(&self, job: CreateJob) -> Option<CreateJob> {
        let mut waiting = self.lock();
        let Some(queue) = waiting.get_mut(job.item.nickname()) else { return Some(job) };
        if queue.len() < self.most {
            queue.push_back(job);
        } else {
            job.answer(Err(Error::Overloaded));
        }
        None
    }

    /// Has a create wait for its nickname.
    pub(super) fn wait(&self, job: CreateJob) {
        let Some(job) = self.join(job) else { return };
        let nickname = job.item.nickname().to_owned();
        self.lock().insert(nickname.clone(), VecDeque::from([job]));
        tokio::spawn(self.clone().store_waiting(nickname));
    }

    /// One after the other: at most one of them can be stored.
    async fn store_waiting(self, nickname: String) {
        while let Some(mut job) = self.next(&nickname) {
            let outcome = tokio::select! {
                outcome = self.storing.store_one(&job.item) => outcome,
                () = job.reply.closed() => continue,
            };
            job.answer(outcome.unwrap_or_else(|failure| Err(failure.into())));
        }
    }

    fn next(&self, nickname: &str) -> Option<CreateJob> {
        let mut waiting = self.lock();
        let queue = waiting.get_mut(nickname)?;
        queue.retain(|job| !job.is_given_up());
        let next = queue.pop_front();
        if next.is_none() {
            waiting.remove(nickname);
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, VecDeque<CreateJob>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
