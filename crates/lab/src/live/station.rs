//! The part of a server that shows what the rest of it does.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::hub::Hub;
use super::metrics::{Metrics, RequestMetrics};
use super::own_process::ProcessSample;
use super::recorder::{Counted, Recorder};
use super::run::Key;
use super::sampler::{self, Subject};
use crate::page::assets::{self, protect};
use crate::page::{Experiment, Known, Visit, runs};
use crate::{guess, visitor};

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
    experiment: Experiment,
    sides: &'static [&'static str],
    about: Option<Arc<str>>,
}

impl Station {
    /// A station for `subject`, whose routes are the `sides` of an experiment. What requests can be about beside that is
    /// `about`, where they do not say. `run_started` hears of every run of the server that begins.
    ///
    /// # Errors
    ///
    /// Those of [`Recorder::new`].
    pub fn new(
        experiment: Experiment,
        sides: &'static [&'static str],
        about: Option<&str>,
        subject: Arc<dyn Subject>,
        shutdown: CancellationToken,
        run_started: impl Fn() + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let requests = RequestMetrics::default();
        let metrics = Metrics::new(&requests);
        let recorder = Recorder::new(requests, run_started)?;
        let hub = sampler::hub(recorder.clone(), subject.clone(), shutdown);
        Ok(Self { recorder, metrics, hub, subject, experiment, sides, about: about.map(Arc::from) })
    }

    /// How requests to a side are counted.
    pub fn counted(&self, side: &'static str) -> Counted {
        Counted { recorder: self.recorder.clone(), side, about: self.about.clone() }
    }

    /// What a page says before its first message comes. It does not wait long for a subject that is slow to tell.
    pub async fn known(&self, prefix: &'static str, visit: &Visit, about: Option<&str>) -> Known {
        let mut figures = tokio::time::timeout(GLANCE, self.subject.gauges()).await.unwrap_or_default();
        figures.extend(sampler::moment(&self.recorder, &ProcessSample::take()));
        let sides = self.outcomes(&visit.run, about);
        Known { prefix, figures, sides, server: json!(self.recorder.outcome()) }
    }

    /// The last run of each side that `name` sent, or else that nobody put a name to.
    fn outcomes(&self, name: &str, about: Option<&str>) -> Map<String, Value> {
        let about = about.or(self.about.as_deref()).unwrap_or_default();
        let run = |name: &str, side| {
            let key = Key { name: name.to_owned(), side, about: about.to_owned() };
            self.recorder.outcome_of(&key).map(|outcome| json!(outcome))
        };
        let of = |side| run(name, side).or_else(|| run("", side)).unwrap_or(Value::Null);
        self.sides.iter().map(|side| ((*side).to_owned(), of(side))).collect()
    }

    /// `/live`, `/runs`, `/metrics`, `/health` and what every page needs.
    pub fn routes(&self) -> Router {
        let pages = Router::new()
            .route("/runs", get(run_list))
            .layer(axum::middleware::from_fn(protect))
            .layer(axum::middleware::from_fn(visitor::name_visitor));
        Router::new()
            .route("/live", get(live))
            .route("/outcome", get(outcome))
            .route("/outcomes", get(outcomes))
            .route("/runs.json", get(run_document))
            .route("/metrics", get(metrics))
            .route("/health", get("OK\n"))
            .merge(pages)
            .with_state(self.clone())
            .merge(guess::routes())
            .merge(assets::routes())
    }
}

/// Readable from pages of another port, so that one page can show two servers.
async fn live(State(station): State<Station>) -> impl IntoResponse {
    ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], station.hub.events())
}

async fn outcome(State(station): State<Station>) -> impl IntoResponse {
    ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], Json(station.recorder.outcome()))
}

#[derive(Deserialize)]
struct Whose {
    #[serde(default)]
    run: String,
    resource: Option<String>,
}

async fn outcomes(State(station): State<Station>, Query(whose): Query<Whose>) -> impl IntoResponse {
    let outcomes = station.outcomes(&whose.run, whose.resource.as_deref());
    ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], Json(outcomes))
}

/// Every run that is remembered, the newest first.
async fn run_document(State(station): State<Station>) -> impl IntoResponse {
    let runs = station.recorder.outcomes().into_iter().map(|(key, outcome)| json!({ "key": key, "outcome": outcome }));
    ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], Json(runs.collect::<Vec<Value>>()))
}

async fn run_list(
    State(station): State<Station>,
    visit: Visit,
    Query(chosen): Query<runs::Chosen>,
) -> impl IntoResponse {
    runs::page(&visit, station.experiment, &station.recorder.outcomes(), &chosen)
}

async fn metrics(State(station): State<Station>, headers: HeaderMap) -> impl IntoResponse {
    // A subject may have to ask for what its metrics tell, and notes what it is told.
    station.subject.gauges().await;
    station.metrics.response(&headers)
}
