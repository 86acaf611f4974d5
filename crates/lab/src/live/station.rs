//! The part of a server that shows what the rest of it does.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use super::hub::Hub;
use super::metrics::{Metrics, RequestMetrics};
use super::own_process::ProcessSample;
use super::recorder::Recorder;
use super::sampler::{self, Subject};
use crate::page::Known;
use crate::{guess, page};

/// How long a page waits for the figures that it begins with.
const GLANCE: Duration = Duration::from_millis(500);

/// One server's counters, live stream and metrics.
#[derive(Clone)]
pub struct Station {
    /// Counts the requests of the experiment; pages and scrapes are not among them.
    pub recorder: Arc<Recorder>,
    /// What a scrape gets.
    pub metrics: Metrics,
    /// The figures of every page.
    pub hub: Arc<Hub>,
    subject: Arc<dyn Subject>,
}

impl Station {
    /// A station for `subject`, which hears of every run that begins through `run_started`.
    ///
    /// # Errors
    ///
    /// Those of [`Recorder::new`].
    pub fn new(
        subject: Arc<dyn Subject>,
        shutdown: CancellationToken,
        run_started: impl Fn() + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let requests = RequestMetrics::default();
        let metrics = Metrics::new(&requests);
        let recorder = Recorder::new(requests, run_started)?;
        let hub = sampler::hub(recorder.clone(), subject.clone(), shutdown);
        Ok(Self { recorder, metrics, hub, subject })
    }

    /// What a page says before its first message comes. It does not wait long for a subject that is slow to tell.
    pub async fn known(&self, prefix: &'static str) -> Known {
        let mut figures = tokio::time::timeout(GLANCE, self.subject.gauges()).await.unwrap_or_default();
        figures.extend(sampler::moment(&self.recorder, &ProcessSample::take()));
        Known { prefix, figures, run: sampler::outcome(&self.recorder, &*self.subject) }
    }

    /// `/live`, `/metrics`, `/health` and what every page needs.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/live", get(live))
            .route("/outcome", get(outcome))
            .route("/metrics", get(metrics))
            .route("/health", get("OK\n"))
            .with_state(self.clone())
            .merge(guess::routes())
            .merge(page::assets::routes())
    }
}

/// Readable from pages of another port, so that one page can show two servers.
async fn live(State(station): State<Station>) -> impl IntoResponse {
    ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], station.hub.events())
}

async fn outcome(State(station): State<Station>) -> impl IntoResponse {
    ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], axum::Json(sampler::outcome(&station.recorder, &*station.subject)))
}

async fn metrics(State(station): State<Station>, headers: HeaderMap) -> impl IntoResponse {
    // A subject may have to ask for what its metrics tell, and notes what it is told.
    station.subject.gauges().await;
    station.metrics.response(&headers)
}
