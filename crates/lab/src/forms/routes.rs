//! The server of the forms.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use deadpool_postgres::Pool;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::opinion::{Draft, LONGEST_NAME, LONGEST_OPINION, Opinion, Refusal, Way};
use super::page;
use super::queue::{NotQueued, Queue, State as QueueState};
use super::store::{self, PATIENCE};
use crate::database::Database;
use crate::live::recorder::{Recorder, record};
use crate::live::sampler::{Figures, Subject};
use crate::live::station::Station;
use crate::page::Visit;
use crate::page::assets::protect;
use crate::page::origin::refuse_other_sites;
use crate::server::{self, Listen, Ports};

/// Longest form, in bytes: whatever can be typed into it fits. A code unit of three bytes becomes nine when urlencoded.
const MAX_BODY: usize = 9 * (LONGEST_OPINION + LONGEST_NAME) + 1024;

/// Time between two looks at the queue while opinions come.
const LOOK: Duration = Duration::from_millis(250);

/// The same once none come any more and some still wait, perhaps for a worker that nobody starts.
const SLOW_LOOK: Duration = Duration::from_secs(1);

/// Options of `lab forms`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    listen: Listen,

    /// Port; 0 picks a free one
    #[arg(long, env = "LAB_FORMS_PORT", default_value_t = Ports::default().forms_port)]
    port: u16,

    #[command(flatten)]
    database: Database,

    /// Most jobs in the queue; beyond, the answer is 503. Too many and the queue takes the database's disk
    #[arg(long, env = "LAB_MAX_QUEUE", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    max_queue: u32,

    /// How often a job is tried before it becomes a dead letter; the pauses between grow from 3 s to hours
    #[arg(long, env = "LAB_MAX_ATTEMPTS", default_value_t = 5, value_parser = clap::value_parser!(i16).range(1..=25))]
    max_attempts: i16,
}

/// Serves until a signal ends it.
///
/// # Errors
///
/// When the port is taken.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let shutdown = server::shutdown_on_signal()?;
    let listeners = args.listen.bind(args.port).await?;
    args.database.prepare("forms", shutdown.clone());
    let lab = Lab::new(&args, &shutdown)?;
    server::serve("forms", &args.listen, listeners, lab.router(), shutdown).await
}

/// What every request of this server needs.
#[derive(Clone)]
pub(super) struct Lab {
    pub pool: Pool,
    pub queue: Arc<Queue>,
    pub station: Station,
}

/// Two families of routes that differ in how they answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// A form: 302, or the form again.
    Form,
    /// An endpoint: 303, or JSON.
    Endpoint,
}

impl Lab {
    fn new(args: &Args, shutdown: &CancellationToken) -> anyhow::Result<Self> {
        let pool = args.database.pool(PATIENCE)?;
        let queue = Arc::new(Queue::new(pool.clone(), args.max_queue, args.max_attempts));
        let watched = Arc::new(Watched { queue: queue.clone(), seen: Mutex::default() });
        let began = Arc::new(Notify::new());
        let (forgetful, begins) = (watched.clone(), began.clone());
        let station = Station::new(watched.clone(), shutdown.clone(), move || {
            forgetful.forget();
            begins.notify_one();
        })?;
        let watching = watch_runs(watched.clone(), station.recorder.clone(), began);
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(watching));
        add_gauges(&station, &watched);
        Ok(Self { pool, queue, station })
    }

    fn router(&self) -> Router {
        let work = Router::new()
            .route("/opinion", self.counted(post(opinion)))
            .route("/opinion-async", self.counted(post(opinion_async)))
            .route("/form", self.counted(post(form_posted)).get(form))
            .route("/async-form", self.counted(post(async_form_posted)).get(async_form));
        let pages = Router::new()
            .route("/", get(index))
            .route("/opinions", get(opinions))
            .route("/dead-letters", get(dead_letters))
            .route("/dead-letters/retry", post(retry_all))
            .route("/dead-letters/{id}/retry", post(retry));
        let all = pages
            .merge(work)
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .layer(from_fn(refuse_other_sites))
            .layer(from_fn(protect))
            .with_state(self.clone());
        self.station.routes().merge(all)
    }

    fn counted(&self, method: MethodRouter<Self>) -> MethodRouter<Self> {
        method.layer(from_fn_with_state(self.station.recorder.clone(), record))
    }

    async fn take(&self, opinion: Opinion, way: Way) -> Result<(), NotQueued> {
        match way {
            Way::AtOnce => store::insert(&self.pool, &opinion, false).await.map_err(NotQueued::Unreachable),
            Way::Queued => self.queue.enqueue(opinion).await,
        }
    }

    async fn submit(&self, visit: &Visit, draft: Draft, way: Way, style: Style) -> Response {
        let opinion = match draft.clone().accept() {
            Ok(opinion) => opinion,
            Err(refusal) => return refused(visit, &draft, refusal, way, style),
        };
        match self.take(opinion, way).await {
            Ok(()) => accepted(style),
            Err(error) => not_accepted(visit, &draft, &error, way, style),
        }
    }
}

fn accepted(style: Style) -> Response {
    let status = match style {
        Style::Form => StatusCode::FOUND,
        Style::Endpoint => StatusCode::SEE_OTHER,
    };
    (status, [(LOCATION, "/")]).into_response()
}

fn refused(visit: &Visit, draft: &Draft, refusal: Refusal, way: Way, style: Style) -> Response {
    match style {
        Style::Form => page::form(visit, way, draft, Some(refusal)).into_response(),
        Style::Endpoint => (StatusCode::UNPROCESSABLE_ENTITY, axum::Json(refusal)).into_response(),
    }
}

fn not_accepted(visit: &Visit, draft: &Draft, error: &NotQueued, way: Way, style: Style) -> Response {
    let text = match error {
        NotQueued::Full => "The queue is full. Your opinion was not taken: please try again.",
        NotQueued::Unreachable(cause) => {
            server::complain(format_args!("forms: an opinion was not taken: {cause:#}"));
            "The database does not answer. Your opinion may not have been taken: please try again."
        }
    };
    let mut response = match style {
        Style::Form => page::form(visit, way, draft, Some(Refusal { field: "", error: text })).into_response(),
        Style::Endpoint => format!("{text}\n").into_response(),
    };
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn unreachable(error: &anyhow::Error) -> Response {
    server::complain(format_args!("forms: {error:#}"));
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], "The database does not answer.\n").into_response()
}

async fn opinion(State(lab): State<Lab>, visit: Visit, draft: Draft) -> Response {
    lab.submit(&visit, draft, Way::AtOnce, Style::Endpoint).await
}

async fn opinion_async(State(lab): State<Lab>, visit: Visit, draft: Draft) -> Response {
    lab.submit(&visit, draft, Way::Queued, Style::Endpoint).await
}

async fn form_posted(State(lab): State<Lab>, visit: Visit, draft: Draft) -> Response {
    lab.submit(&visit, draft, Way::AtOnce, Style::Form).await
}

async fn async_form_posted(State(lab): State<Lab>, visit: Visit, draft: Draft) -> Response {
    lab.submit(&visit, draft, Way::Queued, Style::Form).await
}

async fn form(visit: Visit) -> impl IntoResponse {
    page::form(&visit, Way::AtOnce, &Draft::default(), None)
}

async fn async_form(visit: Visit) -> impl IntoResponse {
    page::form(&visit, Way::Queued, &Draft::default(), None)
}

async fn index(State(lab): State<Lab>, visit: Visit) -> impl IntoResponse {
    page::index(&visit, &lab.station.known("").await)
}

async fn opinions(State(lab): State<Lab>, visit: Visit) -> Response {
    match store::latest(&lab.pool).await {
        Ok(latest) => page::opinions(&visit, &latest).into_response(),
        Err(error) => unreachable(&error),
    }
}

async fn dead_letters(State(lab): State<Lab>, visit: Visit) -> Response {
    match lab.queue.dead_letters().await {
        Ok(letters) => page::dead_letters(&visit, &letters).into_response(),
        Err(error) => unreachable(&error),
    }
}

async fn retry(State(lab): State<Lab>, Path(id): Path<i64>) -> Response {
    retried(lab.queue.retry(Some(id)).await)
}

async fn retry_all(State(lab): State<Lab>) -> Response {
    retried(lab.queue.retry(None).await)
}

fn retried(outcome: anyhow::Result<()>) -> Response {
    match outcome {
        Ok(()) => (StatusCode::SEE_OTHER, [(LOCATION, "/dead-letters")]).into_response(),
        Err(error) => unreachable(&error),
    }
}

/// Looks at the queue while a run goes on, so that its outcome is known also where no page is open.
async fn watch_runs(watched: Arc<Watched>, recorder: Arc<Recorder>, began: Arc<Notify>) {
    loop {
        began.notified().await;
        loop {
            // What was seen is noted on the way.
            watched.gauges().await;
            let running = recorder.outcome().is_some_and(|run| run.running);
            if !running && !watched.is_busy() {
                break;
            }
            tokio::time::sleep(if running { LOOK } else { SLOW_LOOK }).await;
        }
    }
}

fn add_gauges(station: &Station, watched: &Arc<Watched>) {
    let gauge = |name, help, read: fn(QueueState) -> i64| {
        let watched = watched.clone();
        let value = move || watched.seen().newest.map_or(f64::NAN, |state| read(state) as f64);
        station.metrics.add_gauge(name, help, value);
    };
    gauge("lab_queue_jobs", "Jobs that wait or are with a worker", |state| state.waiting + state.running);
    gauge("lab_queue_dead_letters", "Jobs that failed too often", |state| state.dead);
}

/// What the pages see of the queue.
struct Watched {
    queue: Arc<Queue>,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    newest: Option<QueueState>,
    most_waiting: i64,
    oldest: f64,
}

impl Watched {
    fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen::default();
    }

    fn note(&self, state: QueueState) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.newest = Some(state);
        seen.most_waiting = seen.most_waiting.max(state.waiting);
        seen.oldest = seen.oldest.max(state.oldest);
    }
}

impl Subject for Watched {
    fn gauges(&self) -> BoxFuture<'_, Figures> {
        Box::pin(async {
            let Ok(state) = self.queue.state().await else {
                return vec![("database", 0.0)];
            };
            self.note(state);
            vec![
                ("database", 1.0),
                ("waiting", state.waiting as f64),
                ("running", state.running as f64),
                ("dead", state.dead as f64),
                ("oldest", state.oldest),
                ("lag", state.lag),
            ]
        })
    }

    fn outcome(&self) -> Figures {
        let seen = self.seen();
        let Some(newest) = seen.newest else {
            return vec![];
        };
        vec![("most_waiting", seen.most_waiting as f64), ("longest_wait", seen.oldest), ("lag", newest.lag)]
    }

    fn is_busy(&self) -> bool {
        self.seen().newest.is_some_and(|state| state.waiting + state.running > 0)
    }
}
