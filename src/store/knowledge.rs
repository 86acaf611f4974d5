//! What an instance knows of the people in the database, and how far it may still believe it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::json::Stored;
use crate::memory::{Memory, Search, Step};

/// How long a look at the table is good for: what others change shows within a second.
const FRESH: Duration = Duration::from_millis(900);

/// Shared by the one who follows the table and those who ask.
pub(super) struct Knowledge {
    state: Mutex<State>,
    /// In bytes; a memory that has more is given up.
    most: usize,
}

#[derive(Default)]
struct State {
    /// Everyone whom the last look saw and this instance has stored since; `None` while nobody can tell.
    memory: Option<Memory>,
    /// When the last look began that ended well.
    looked: Option<Instant>,
    /// How often somebody departed, or everyone was read.
    era: u64,
    /// How often everyone was read or forgotten.
    edition: u64,
    /// People were too many to remember: the database answers instead.
    gave_up: bool,
    /// Everyone is being read.
    reads: bool,
}

impl Knowledge {
    pub(super) fn new(most: usize) -> Self {
        Self { state: Mutex::default(), most }
    }

    /// To be taken before the database is asked for something that [`Self::add`] gets.
    pub(super) fn era(&self) -> u64 {
        self.lock().era
    }

    /// Looks at the memory, if it is there. It is complete after a look at the table, and only then.
    pub(super) fn look<T>(&self, at: impl FnOnce(&Memory) -> T) -> Option<T> {
        self.lock().memory.as_ref().map(at)
    }

    /// Looks at the memory, if it is there and of the table as it was not long ago.
    pub(super) fn look_if_fresh<T>(&self, at: impl FnOnce(&Memory) -> T) -> Option<T> {
        let state = self.lock();
        state.looked.filter(|looked| looked.elapsed() < FRESH)?;
        state.memory.as_ref().map(at)
    }

    /// Does a piece of a search that began in an edition of the memory, if that edition is still there.
    pub(super) fn advance(&self, edition: u64, search: &mut Search) -> Option<Step> {
        let state = self.lock();
        state.memory.as_ref().filter(|_| state.edition == edition).map(|memory| memory.advance(search))
    }

    /// For [`Self::advance`].
    pub(super) fn edition(&self) -> u64 {
        self.lock().edition
    }

    /// Whether people were too many to be remembered.
    pub(super) fn gave_up(&self) -> bool {
        self.lock().gave_up
    }

    /// Whether everyone is being read, so that in a while there will be a memory to answer from.
    pub(super) fn is_reading(&self) -> bool {
        self.lock().reads
    }

    /// Everyone is read from here on, until [`Self::learn`] or [`Self::forget`].
    pub(super) fn begin_to_read(&self) {
        self.lock().reads = true;
    }

    /// Forgets everyone: nobody can say any more what changed.
    pub(super) fn forget(&self) {
        let mut state = self.lock();
        state.edition += 1;
        state.memory = None;
        state.gave_up = false;
        state.reads = false;
    }

    /// Remembers everyone, as a look that began then has shown, or that they are too many.
    pub(super) fn learn(&self, began: Instant, memory: Memory) {
        let mut state = self.lock();
        state.era += 1;
        state.edition += 1;
        state.looked = Some(began);
        state.gave_up = false;
        state.reads = false;
        state.memory = Some(memory);
        self.give_up_if_too_large(&mut state);
    }

    /// A look that began then has shown everything that was new.
    pub(super) fn looked(&self, began: Instant) {
        self.lock().looked = Some(began);
    }

    /// Remembers a person as the table has it.
    pub(super) fn put(&self, person: &Stored<'_>) {
        let mut state = self.lock();
        if let Some(memory) = &mut state.memory {
            memory.put(person);
            self.give_up_if_too_large(&mut state);
        }
    }

    /// Forgets a person who is gone from the table, or everyone.
    pub(super) fn remove(&self, person: Option<uuid::Uuid>) {
        let mut state = self.lock();
        state.era += 1;
        match (person, &mut state.memory) {
            (Some(id), Some(memory)) => {
                memory.remove(id);
            }
            (None, Some(memory)) => {
                *memory = Memory::default();
                state.edition += 1;
            }
            (_, None) => {}
        }
    }

    /// Remembers people who were just stored, unless somebody has departed since the era: it may be one of them. The next
    /// look shows them then.
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
            state.edition += 1;
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

    fn learned(most: usize) -> Knowledge {
        let knowledge = Knowledge::new(most);
        knowledge.learn(Instant::now(), Memory::default());
        knowledge
    }

    #[test]
    fn who_was_stored_before_somebody_departed_is_left_to_the_next_look() {
        let knowledge = learned(1 << 20);
        let era = knowledge.era();
        knowledge.add(era, [somebody()]);
        assert_eq!(known(&knowledge), Some(1));
        knowledge.remove(Some(Uuid::new_v4()));
        knowledge.add(era, [somebody()]);
        assert_eq!(known(&knowledge), Some(1));
        knowledge.put(&somebody());
        assert_eq!(known(&knowledge), Some(2));
        knowledge.add(knowledge.era(), [somebody()]);
        assert_eq!(known(&knowledge), Some(3));
        let era = knowledge.era();
        knowledge.learn(Instant::now(), Memory::default());
        knowledge.add(era, [somebody()]);
        assert_eq!(known(&knowledge), Some(0), "stored before everyone was read, and not among them: gone since");
    }

    #[test]
    fn who_departs_is_forgotten() {
        let knowledge = learned(1 << 20);
        let (one, other) = (somebody(), somebody());
        knowledge.put(&one);
        knowledge.put(&other);
        knowledge.remove(Some(one.id));
        assert_eq!((known(&knowledge), knowledge.look(|memory| memory.contains(other.id))), (Some(1), Some(true)));
        knowledge.remove(None);
        assert_eq!(known(&knowledge), Some(0));
    }

    #[test]
    fn a_search_goes_on_in_the_memory_in_which_it_began_or_not_at_all() {
        let knowledge = learned(1 << 20);
        let edition = knowledge.edition();
        let mut search = Search::new("n");
        assert_eq!(knowledge.advance(edition, &mut search), Some(Step::Done));
        knowledge.remove(None);
        assert_eq!(knowledge.advance(edition, &mut search), None);
        let edition = knowledge.edition();
        knowledge.forget();
        assert_eq!(knowledge.advance(edition, &mut search), None);
    }

    #[test]
    fn what_was_seen_long_ago_is_not_believed() {
        let knowledge = learned(1 << 20);
        assert_eq!(knowledge.look_if_fresh(Memory::len), Some(0));
        knowledge.looked(Instant::now().checked_sub(FRESH).unwrap());
        assert_eq!((knowledge.look_if_fresh(Memory::len), known(&knowledge)), (None, Some(0)));
    }

    #[test]
    fn a_memory_that_grows_too_large_is_given_up() {
        let knowledge = learned(Memory::default().bytes() + (1 << 20));
        let mut people = 0;
        while !knowledge.gave_up() {
            assert_eq!(known(&knowledge), Some(people));
            knowledge.add(knowledge.era(), [somebody()]);
            people += 1;
            assert!(people < 1_000_000);
        }
        assert_eq!(known(&knowledge), None);
        let mut too_large = Memory::default();
        (0..people).for_each(|_| too_large.add(&somebody()));
        knowledge.learn(Instant::now(), too_large);
        assert_eq!((known(&knowledge), knowledge.gave_up()), (None, true));
        knowledge.learn(Instant::now(), Memory::default());
        assert_eq!((known(&knowledge), knowledge.gave_up()), (Some(0), false));
    }
}
