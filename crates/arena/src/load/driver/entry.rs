//! The server under load: where it is, what its paths are called, and which statuses are right.

use std::net::SocketAddr;

use super::checks::Statuses;
use super::schedule::Kind;
use crate::load::location::Origin;

/// A server that speaks the people API, or something near it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Base URL, without a slash at the end.
    pub url: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Value of the `Host` header.
    pub host: String,
    /// The path that creates and searches.
    pub people_path: String,
    /// The URL that creates go to.
    pub origin: Origin,
    /// The path that counts people.
    pub count_path: String,
    /// The query parameter of a search.
    pub search_parameter: String,
    /// Statuses that are right, by kind.
    pub statuses: [Statuses; 4],
}

impl Entry {
    /// Statuses that are right for a kind of request.
    pub fn statuses(&self, kind: Kind) -> &Statuses {
        &self.statuses[kind as usize]
    }
}
