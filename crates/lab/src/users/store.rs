//! What both sides must do.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::switches::{QUERY_DELAY, Switches};

/// How long a request waits for a free connection before it is told so.
pub(super) const WAIT: Duration = Duration::from_secs(30);

/// One statement and one commit per user. The delay is part of the statement, as a slow query's would be.
pub(super) const INSERT: &str = "INSERT INTO users (name) SELECT $1 FROM pg_sleep($2)";

/// Seconds that a query takes longer at this moment.
pub(super) fn delay(switches: &Switches) -> f64 {
    f64::from(switches.number(&QUERY_DELAY)) / 1e3
}

/// Stores users, one way of waiting or the other.
pub(super) trait Store: Send + Sync + 'static {
    /// Which of the two servers this is.
    fn side(&self) -> Side;

    /// Stores a user; when it returns, the row is committed.
    fn insert(&self, name: String) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// Does nothing, but where the work would be done.
    fn ping(&self) -> BoxFuture<'_, ()>;
}

/// One of the two servers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Blocking,
    NonBlocking,
}

impl Side {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::NonBlocking => "nonblocking",
        }
    }

    /// The sides that a server of this side has runs of.
    pub fn alone(self) -> &'static [&'static str] {
        match self {
            Self::Blocking => &["blocking"],
            Self::NonBlocking => &["nonblocking"],
        }
    }
}

/// The database did not take the user.
#[derive(Debug)]
pub(super) struct Unavailable(String);

impl Unavailable {
    pub fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
