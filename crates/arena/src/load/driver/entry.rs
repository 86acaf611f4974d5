//! The server under load: where it is, what its paths are called, and which statuses are right.

use std::net::SocketAddr;

use anyhow::Context;

use super::checks::Statuses;
use super::schedule::Kind;
use crate::load::base_url::BaseUrl;
use crate::load::location::Origin;
use crate::load::vocabulary::Vocabulary;

/// Statuses that are right unless somebody says otherwise, by kind.
pub const STATUSES: [&str; 4] = ["201,422,400", "2xx", "2xx", "400"];

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
    /// A server that uses a vocabulary's own names and answers with its statuses.
    ///
    /// # Errors
    ///
    /// The URL's host is not known.
    pub fn usual(base: &BaseUrl, vocabulary: Vocabulary) -> anyhow::Result<Self> {
        let statuses = STATUSES.map(str::parse).into_iter().collect::<Result<Vec<Statuses>, _>>();
        let statuses = statuses.ok().and_then(|statuses| statuses.try_into().ok()).context("the usual statuses")?;
        let people_path = base.path(vocabulary.people_path());
        Ok(Self {
            url: base.to_string(),
            address: base.resolve()?,
            host: base.authority(),
            origin: Origin::new(&base.authority(), &people_path)?,
            people_path,
            count_path: base.path(vocabulary.count_path()),
            search_parameter: vocabulary.search_parameter().to_owned(),
            statuses,
        })
    }

    /// Statuses that are right for a kind of request.
    pub fn statuses(&self, kind: Kind) -> &Statuses {
        &self.statuses[kind as usize]
    }
}
