//! What every request needs.

use std::error::Error;
use std::time::Duration;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::store::Store;

/// Shared by all connections of an instance.
pub struct App {
    /// Everything stored, and all SQL.
    pub store: Store,
    /// Figures for whoever watches.
    pub metrics: Metrics,
    /// How long a client may take to send a request's body.
    pub body_patience: Duration,
}

impl App {
    /// Starts connecting to the database; must be called within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// Only for a configuration that can never work; a database that does not answer yet is waited for.
    pub fn start(config: &Config) -> Result<Self, Box<dyn Error>> {
        let metrics = Metrics::new()?;
        Ok(Self { store: Store::open(config, metrics.groups())?, metrics, body_patience: config.patience })
    }
}
