//! What an instance knows of the people in the database, and whether it may still believe it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::json::Stored;
use crate::memory::Memory;

/// Shared by the one who learns and those who ask.
pub(super) struct Knowledge {
    state: Mutex<State>,
    /// Wakes the one who reads everyone anew.
    pub(super) changed: Notify,
    /// In bytes; a memory that has more is given up.
    most: usize,
}

#[derive(Default)]
struct State {
    memory: Option<Memory>,
    /// How often somebody may have been changed or deleted.
    era: u64,
    /// The era in which the memory was read.
    learned: u64,
    /// People are too many: the database answers instead.
    gave_up: bool,
}

impl Knowledge {
    pub(super) fn new(most: usize) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), most }
    }

    /// To be taken before the database is asked for something that [`Self::add`] or [`Self::learn`] gets.
    pub(super) fn era(&self) -> u64 {
        self.lock().era
    }

    /// Looks at the memory, if it is there. It is complete after a look at the table, and only then.
    pub(super) fn look<T>(&self, at: impl FnOnce(&Memory) -> T) -> Option<T> {
        self.lock().memory.as_ref().map(at)
    }

    /// Looks at the memory, if it is there and nobody whom it holds can have changed.
    pub(super) fn look_if_unchanged<T>(&self, at: impl FnOnce(&Memory) -> T) -> Option<T> {
        let state = self.lock();
        state.memory.as_ref().filter(|_| state.learned == state.era).map(at)
    }

    /// Whether people are too many to be remembered.
    pub(super) fn gave_up(&self) -> bool {
        self.lock().gave_up
    }

    /// Somebody changed or deleted people: everyone has to be read anew.
    pub(super) fn change(&self) {
        self.lock().era += 1;
        self.changed.notify_one();
    }

    /// Forgets everyone: nobody can say any more what changed.
    pub(super) fn forget(&self) {
        let mut state = self.lock();
        state.era += 1;
        state.memory = None;
        drop(state);
        self.changed.notify_one();
    }

    /// Forgets everyone where there is no room for the same people once more: they are about to be read anew.
    pub(super) fn make_room(&self) {
        self.lock().memory.take_if(|memory| memory.bytes() * 2 > self.most);
    }

    /// Remembers everyone, as read in an era.
    pub(super) fn learn(&self, era: u64, memory: Memory) {
        let mut state = self.lock();
        state.gave_up = false;
        state.learned = era;
        state.memory = Some(memory);
        self.give_up_if_too_large(&mut state);
    }

    /// Remembers one more, whom a look at the table has shown.
    pub(super) fn learn_one(&self, person: &Stored<'_>) {
        let mut state = self.lock();
        if let Some(memory) = &mut state.memory {
            memory.add(person);
            self.give_up_if_too_large(&mut state);
        }
    }

    /// Remembers people who were just stored, unless they may have been changed since the era; the next look shows them
    /// then.
    pub(super) fn add<'a>(&self, era: u64, people: impl IntoIterator<Item = Stored<'a>>) {
        let mut state = self.lock();
        if state.era != era {
            return;
        }
        if let Some(memory) = &mut state.memory {
            people.into_iter().for_each(|person| memory.add(&person));
            self.give_up_if_too_large(&mut state);
        }
    }

    /// Whether a memory of that size may be kept.
    pub(super) fn has_room(&self, memory: &Memory) -> bool {
        memory.bytes() <= self.most
    }

    fn give_up_if_too_large(&self, state: &mut State) {
        if let Some(memory) = state.memory.take_if(|memory| !self.has_room(memory)) {
            state.gave_up = true;
            eprintln!("peleja: {} people are too many to remember: the database answers from now on", memory.len());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn somebody() -> Stored<'static> {
        Stored { id: Uuid::new_v4(), nickname: "n", fullname: "f", dob: "d", stack: None }
    }

    fn known(knowledge: &Knowledge) -> Option<usize> {
        knowledge.look(Memory::len)
    }

    fn unchanged(knowledge: &Knowledge) -> Option<usize> {
        knowledge.look_if_unchanged(Memory::len)
    }

    #[test]
    fn who_was_stored_before_a_change_is_left_to_the_next_look() {
        let knowledge = Knowledge::new(1 << 20);
        let era = knowledge.era();
        knowledge.learn(era, Memory::default());
        knowledge.add(era, [somebody()]);
        assert_eq!((known(&knowledge), unchanged(&knowledge)), (Some(1), Some(1)));
        knowledge.change();
        knowledge.add(era, [somebody()]);
        assert_eq!((known(&knowledge), unchanged(&knowledge)), (Some(1), None));
        knowledge.learn_one(&somebody());
        assert_eq!(known(&knowledge), Some(2));
    }

    #[test]
    fn a_change_while_everyone_is_read_leaves_the_memory_old() {
        let knowledge = Knowledge::new(1 << 20);
        let era = knowledge.era();
        knowledge.change();
        knowledge.learn(era, Memory::default());
        assert_eq!((known(&knowledge), unchanged(&knowledge)), (Some(0), None));
        knowledge.learn(knowledge.era(), Memory::default());
        assert_eq!(unchanged(&knowledge), Some(0));
        knowledge.forget();
        knowledge.learn_one(&somebody());
        assert_eq!(known(&knowledge), None);
    }

    #[test]
    fn two_memories_are_never_larger_than_one_may_be() {
        let knowledge = Knowledge::new(1000);
        knowledge.learn(0, Memory::default());
        knowledge.learn_one(&somebody());
        knowledge.make_room();
        assert_eq!(known(&knowledge), Some(1));
        knowledge.learn_one(&somebody());
        knowledge.make_room();
        assert_eq!((known(&knowledge), knowledge.gave_up()), (None, false));
    }

    #[test]
    fn a_memory_that_grows_too_large_is_given_up() {
        let knowledge = Knowledge::new(1700);
        let era = knowledge.era();
        knowledge.learn(era, Memory::default());
        knowledge.add(era, (0..5).map(|_| somebody()));
        assert_eq!((known(&knowledge), knowledge.gave_up()), (Some(5), false));
        knowledge.learn_one(&somebody());
        assert_eq!((known(&knowledge), knowledge.gave_up()), (None, true));
        let mut too_large = Memory::default();
        (0..7).for_each(|_| too_large.add(&somebody()));
        knowledge.learn(era, too_large);
        assert_eq!((known(&knowledge), knowledge.gave_up()), (None, true));
        knowledge.learn(era, Memory::default());
        assert_eq!((known(&knowledge), knowledge.gave_up()), (Some(0), false));
    }
}
