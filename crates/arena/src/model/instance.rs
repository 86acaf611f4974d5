//! What an instance has in hand.

use super::events::Time;

/// A request by its place in the simulation's list.
pub(super) type RequestId = u32;

/// The most people in one statement: `PELEJA_BATCH`.
const MOST: usize = 256;

/// An instance: the group of creates that it stores, and the look at the table that it takes.
#[derive(Default)]
pub(super) struct Instance {
    /// Where its work is done.
    pub(super) station: usize,
    /// Which machine's people it knows.
    pub(super) machine: usize,
    /// Creates that wait for the next group.
    pub(super) creates: Vec<RequestId>,
    /// Creates of the group that is under way.
    pub(super) group: Vec<RequestId>,
    /// Those that wait for the next look.
    pub(super) askers: Vec<RequestId>,
    /// Those that wait for the look that is under way.
    pub(super) look: Option<Vec<RequestId>>,
    /// People who were stored since the last look's snapshot.
    pub(super) unseen: u64,
    /// When the snapshot of the look under way was taken, and how many people it found.
    pub(super) snapshot: (Time, u64),
    /// It knows whoever was stored before.
    pub(super) knows_until: Time,
}

impl Instance {
    /// Begins a group with whoever waits, unless one is under way or nobody waits; says whether it did.
    pub(super) fn begin_group(&mut self) -> bool {
        if !self.group.is_empty() || self.creates.is_empty() {
            return false;
        }
        self.group = self.creates.drain(..self.creates.len().min(MOST)).collect();
        true
    }

    /// Begins a look for whoever waits, unless one is under way or nobody waits; says whether it did.
    pub(super) fn begin_look(&mut self) -> bool {
        if self.look.is_some() || self.askers.is_empty() {
            return false;
        }
        self.look = Some(std::mem::take(&mut self.askers));
        true
    }

    /// The database has taken the snapshot of a look; says how many people it found.
    pub(super) fn look_at(&mut self, now: Time) -> u64 {
        self.snapshot = (now, std::mem::take(&mut self.unseen));
        self.snapshot.1
    }

    /// The look's answer has been read; says who waited for it.
    pub(super) fn learn(&mut self) -> Vec<RequestId> {
        self.knows_until = self.snapshot.0;
        self.look.take().unwrap_or_default()
    }
}
