//! Where everybody is, by id.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use uuid::Uuid;

/// Tables that grow each on its own: one table of millions would hold everyone up while it grows.
const SHARDS: usize = 2048;

/// What an allocator may round up to.
const ROUNDED: (usize, usize) = (9, 8);

/// Numbers of people under their ids, which stand elsewhere: a method that needs them has `id_of`.
pub(super) struct Ids {
    shards: Vec<HashTable<u32>>,
    hasher: DefaultHashBuilder,
    people: usize,
    allocated: usize,
}

impl Default for Ids {
    fn default() -> Self {
        let shards = vec![HashTable::new(); SHARDS];
        Self { shards, hasher: DefaultHashBuilder::default(), people: 0, allocated: 0 }
    }
}

impl Ids {
    pub(super) fn find(&self, id: Uuid, id_of: impl Fn(u32) -> Option<Uuid>) -> Option<u32> {
        let hash = self.hasher.hash_one(id);
        self.shards[shard(hash)].find(hash, |number| id_of(*number) == Some(id)).copied()
    }

    /// Enters somebody whose id is not there.
    pub(super) fn insert(&mut self, id: Uuid, number: u32, id_of: impl Fn(u32) -> Option<Uuid>) {
        let Self { shards, hasher, people, allocated } = self;
        let hash = hasher.hash_one(id);
        let shard = &mut shards[shard(hash)];
        *allocated -= shard.allocation_size();
        shard.insert_unique(hash, number, |number| hasher.hash_one(id_of(*number).unwrap_or_default()));
        *allocated += shard.allocation_size();
        *people += 1;
    }

    pub(super) fn remove(&mut self, id: Uuid, id_of: impl Fn(u32) -> Option<Uuid>) -> Option<u32> {
        let hash = self.hasher.hash_one(id);
        let entry = self.shards[shard(hash)].find_entry(hash, |number| id_of(*number) == Some(id)).ok()?;
        self.people -= 1;
        Some(entry.remove().0)
    }

    pub(super) fn len(&self) -> usize {
        self.people
    }

    pub(super) fn bytes(&self) -> usize {
        SHARDS * size_of::<HashTable<u32>>() + self.allocated * ROUNDED.0 / ROUNDED.1
    }
}

/// By bits of which the table itself makes no use.
fn shard(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}
