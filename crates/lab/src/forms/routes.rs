//! The server of the forms.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, Path, RawForm, State};
use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use deadpool_postgres::Pool;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio_postgres::Config;
use tokio_util::sync::CancellationToken;

use super::opinion::{Draft, LONGEST_NAME, LONGEST_OPINION, Opinion, Refusal, Way};
use super::page::{self, Engine};
use super::queue::{NotQueued, Queue, State as QueueState};
use super::store::{self, PATIENCE, Work};
use crate::class::{Class, Part};
use crate::connection::connect;
use crate::database::Database;
use crate::live::recorder::{Active, Recorder, Refused, record};
use crate::live::run::{Key, UNFINISHED};
use crate::live::sampler::{Figures, Subject};
use crate::live::station::Station;
use crate::page::assets::protect;
use crate::page::origin::refuse_other_sites;
use crate::page::{Experiment, Visit};
use crate::server::{self, Listen, Ports, Word};
use crate::switches::{Kind, REFUSE, Switches, WORK};
use crate::visitor::name_visitor;

/// Longest form, in bytes: whatever can be typed into it fits. A code unit of three bytes becomes nine when urlencoded.
const MAX_BODY: usize = 9 * (LONGEST_OPINION + LONGEST_NAME) + 1024;

/// Time between two looks at the queue while opinions come.
const LOOK: Duration = Duration::from_millis(250);

/// The same once none come any more and some still wait, perhaps for a worker that nobody starts.
const SLOW_LOOK: Duration = Duration::from_millis(500);

/// The sides, as [`Way::side`] names them.
const SIDES: [&str; 2] = [Way::AtOnce.side(), Way::Queued.side()];

const UNKNOWN: &str = "The database does not answer. Your opinion may have been taken or not: please send it again. \
    It is stored once.";

const CHANGED: &str = "This form was sent before, and you have changed it since. What it said then is kept; send it again \
    to say this too.";

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

    #[command(flatten)]
    work: Work,

    /// What workers were told to refuse, so that the page can say it
    #[arg(long, value_name = "WORD", env = "LAB_REFUSE")]
    refuse: Option<String>,

    /// What runs the parts of the lab, so that the page can say how a worker is ended and brought back
    #[arg(long, env = "LAB_ENGINE", value_enum, default_value_t = Engine::Hand)]
    engine: Engine,
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
    class: Class,
    watched: Arc<Watched>,
    engine: Engine,
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
        let switches = Switches::new([
            (&WORK, args.work.milliseconds.to_string()),
            (&REFUSE, args.refuse.clone().unwrap_or_default()),
        ]);
        let config = args.database.database_url.clone();
        let following = switches.clone().follow(config.clone());
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(following));
        let watched = Arc::new(Watched { queue: queue.clone(), switches, config, seen: Mutex::default() });
        let began = Arc::new(Notify::new());
        let begins = began.clone();
        let station = Station::new(Experiment::Forms, &SIDES, None, watched.clone(), shutdown.clone(), move || {
            begins.notify_one();
        })?;
        let watching = watch_runs(watched.clone(), station.recorder.clone(), began);
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(watching));
        add_gauges(&station, &watched);
        let class = Class::new(watched.clone(), station.recorder.clone());
        Ok(Self { pool, queue, station, class, watched, engine: args.engine })
    }

    fn router(&self) -> Router {
        let work = Router::new()
            .route("/opinion", self.counted(Way::AtOnce, post(opinion)))
            .route("/opinion-async", self.counted(Way::Queued, post(opinion_async)))
            .route("/form", self.counted(Way::AtOnce, post(form_posted)).get(form))
            .route("/async-form", self.counted(Way::Queued, post(async_form_posted)).get(async_form));
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
            .layer(from_fn(name_visitor))
            .with_state(self.clone());
        self.station.routes().merge(self.class.routes()).merge(all)
    }

    fn counted(&self, way: Way, method: MethodRouter<Self>) -> MethodRouter<Self> {
        let counted = self.station.counted(way.side());
        method.layer(from_fn_with_state(counted, record)).layer(from_fn(server::whole_body))
    }

    async fn take(&self, opinion: Opinion, way: Way, again: bool) -> Result<(), NotQueued> {
        match way {
            Way::AtOnce => {
                let work = self.watched.switches.number(&WORK);
                let stored = store::insert(&self.pool, &opinion, false, work).await;
                if stored.map_err(NotQueued::Unreachable)? { Ok(()) } else { Err(NotQueued::Changed) }
            }
            Way::Queued => self.queue.enqueue(opinion, again).await,
        }
    }

    async fn submit(&self, visit: &Visit, key: &Key, draft: Draft, way: Way, style: Style) -> Response {
        let opinion = match draft.clone().accept(&key.name) {
            Ok(opinion) => opinion,
            Err(refusal) => return refused(visit, &draft, refusal, way, style),
        };
        match self.take(opinion, way, !draft.id.is_empty()).await {
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
    let mut response = match style {
        Style::Form => page::form(visit, way, draft, Some(refusal)).into_response(),
        Style::Endpoint => (StatusCode::UNPROCESSABLE_ENTITY, axum::Json(refusal)).into_response(),
    };
    response.extensions_mut().insert(Refused);
    response
}

fn not_accepted(visit: &Visit, draft: &Draft, error: &NotQueued, way: Way, style: Style) -> Response {
    let (status, text) = match error {
        NotQueued::Full => {
            (StatusCode::SERVICE_UNAVAILABLE, "The queue is full. Your opinion was not taken: please try again.")
        }
        NotQueued::Unreachable(cause) => {
            server::complain(format_args!("forms: an opinion was not taken: {cause:#}"));
            (StatusCode::SERVICE_UNAVAILABLE, UNKNOWN)
        }
        NotQueued::Changed => (StatusCode::CONFLICT, CHANGED),
    };
    let mut response = match style {
        Style::Form => {
            // What was changed is another opinion, and needs a form of its own.
            let id = if status == StatusCode::CONFLICT { String::new() } else { draft.id.clone() };
            let draft = Draft { id, ..draft.clone() };
            page::form(visit, way, &draft, Some(Refusal { field: "", error: text })).into_response()
        }
        Style::Endpoint => format!("{text}\n").into_response(),
    };
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn unreachable(error: &anyhow::Error) -> Response {
    server::complain(format_args!("forms: {error:#}"));
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], "The database does not answer.\n").into_response()
}

async fn opinion(State(lab): State<Lab>, Extension(key): Extension<Key>, visit: Visit, draft: Draft) -> Response {
    lab.submit(&visit, &key, draft, Way::AtOnce, Style::Endpoint).await
}

async fn opinion_async(State(lab): State<Lab>, Extension(key): Extension<Key>, visit: Visit, draft: Draft) -> Response {
    lab.submit(&visit, &key, draft, Way::Queued, Style::Endpoint).await
}

async fn form_posted(State(lab): State<Lab>, Extension(key): Extension<Key>, visit: Visit, draft: Draft) -> Response {
    lab.submit(&visit, &key, draft, Way::AtOnce, Style::Form).await
}

async fn async_form_posted(
    State(lab): State<Lab>,
    Extension(key): Extension<Key>,
    visit: Visit,
    draft: Draft,
) -> Response {
    lab.submit(&visit, &key, draft, Way::Queued, Style::Form).await
}

async fn form(visit: Visit) -> impl IntoResponse {
    page::form(&visit, Way::AtOnce, &Draft::default(), None)
}

async fn async_form(visit: Visit) -> impl IntoResponse {
    page::form(&visit, Way::Queued, &Draft::default(), None)
}

async fn index(State(lab): State<Lab>, visit: Visit) -> impl IntoResponse {
    let known = lab.station.known("", &visit, None).await;
    let workers = lab.watched.seen().workers;
    page::index(&visit, &known, lab.engine, &workers, lab.class.section(&visit))
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

#[derive(Default, Deserialize)]
struct Asked {
    #[serde(default)]
    word: String,
}

async fn retry(
    State(lab): State<Lab>,
    Extension(word): Extension<Word>,
    Path(id): Path<i64>,
    RawForm(asked): RawForm,
) -> Response {
    retry_where_allowed(&lab, &word, Some(id), &asked).await
}

async fn retry_all(State(lab): State<Lab>, Extension(word): Extension<Word>, RawForm(asked): RawForm) -> Response {
    retry_where_allowed(&lab, &word, None, &asked).await
}

async fn retry_where_allowed(lab: &Lab, word: &Word, id: Option<i64>, asked: &[u8]) -> Response {
    let asked: Asked = serde_urlencoded::from_bytes(asked).unwrap_or_default();
    match word.check(&asked.word) {
        Ok(()) => retried(lab.queue.retry(id).await),
        Err(refusal) => refusal.into_response(),
    }
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
            let looked = Instant::now();
            let state = watched.look().await;
            note_server_s(&recorder, state);
            watched.note_runs(&recorder, state).await;
            let active = recorder.active();
            if active.is_empty() && !recorder.outcome().is_some_and(|run| run.running) {
                break;
            }
            let posting = recorder.in_flight() > 0;
            // A long queue takes long to look at, and must not be looked at all the time.
            let pause = if posting { LOOK } else { SLOW_LOOK };
            tokio::time::sleep(pause.max(looked.elapsed() * 4)).await;
        }
    }
}

fn note_server_s(recorder: &Recorder, state: Option<QueueState>) {
    let Some(state) = state else { return };
    recorder.note_most_in_server_s("most_waiting", state.waiting as f64);
    recorder.note_most_in_server_s("longest_wait", state.oldest);
    recorder.note_in_server_s(&[("lag", state.lag), (UNFINISHED, (state.waiting + state.running) as f64)]);
}

fn add_gauges(station: &Station, watched: &Arc<Watched>) {
    let gauge = |name, help, read: fn(QueueState) -> i64| {
        let watched = watched.clone();
        let value = move || watched.seen().state.map_or(f64::NAN, |state| read(state) as f64);
        station.metrics.add_gauge(name, help, value);
    };
    gauge("lab_queue_jobs", "Jobs that wait or are with a worker", |state| state.waiting + state.running);
    gauge("lab_queue_dead_letters", "Jobs that failed too often", |state| state.dead);
}

/// What the pages and whoever runs the class see of the queue.
struct Watched {
    queue: Arc<Queue>,
    switches: Arc<Switches>,
    config: Config,
    seen: Mutex<Seen>,
}

/// The last look; nothing where the database did not answer.
#[derive(Clone, Default)]
struct Seen {
    state: Option<QueueState>,
    workers: Vec<i64>,
}

impl Watched {
    fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn look(&self) -> Option<QueueState> {
        let state = self.queue.state().await.ok();
        let workers = if state.is_some() { self.queue.workers().await.unwrap_or_default() } else { vec![] };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen { state, workers };
        state
    }

    /// What the runs that go on came to so far.
    async fn note_runs(&self, recorder: &Recorder, state: Option<QueueState>) {
        let active: Vec<Active> =
            recorder.active().into_iter().filter(|run| run.key.side == Way::Queued.side()).collect();
        let names: Vec<&str> = active.iter().map(|run| run.key.name.as_str()).collect();
        let began: Vec<Timestamp> = active.iter().map(|run| run.began).collect();
        let (Some(state), Ok(stored)) = (state, self.queue.stored(&names, &began).await) else { return };
        for run in &active {
            let Some(stored) = stored.iter().find(|stored| stored.run == run.key.name) else { continue };
            let unfinished = (run.accepted as f64 - stored.count as f64).max(0.0);
            let lags = [("lag", stored.mean), ("lag_p50", stored.p50), ("lag_p99", stored.p99)];
            recorder.note(&run.key, &lags);
            // A dead letter is stored by nobody, and keeps no run open.
            let left = unfinished.min((state.waiting + state.running) as f64);
            recorder.note(&run.key, &[(UNFINISHED, left), ("stored", stored.count as f64)]);
            recorder.note_most(&run.key, "most_waiting", unfinished);
        }
    }
}

impl Subject for Watched {
    fn gauges(&self) -> BoxFuture<'_, Figures> {
        Box::pin(async {
            let state = self.look().await;
            let workers = self.seen().workers.len() as f64;
            let figure = |read: fn(QueueState) -> f64| state.map_or(f64::NAN, read);
            vec![
                ("database", f64::from(u8::from(state.is_some()))),
                ("workers", if state.is_some() { workers } else { f64::NAN }),
                ("waiting", figure(|state| state.waiting as f64)),
                ("running", figure(|state| state.running as f64)),
                ("dead", figure(|state| state.dead as f64)),
                ("oldest", figure(|state| state.oldest)),
                ("lag", figure(|state| state.lag)),
            ]
        })
    }
}

impl Part for Watched {
    fn switches(&self) -> &Switches {
        &self.switches
    }

    fn switch(&self, kind: &'static Kind, value: String) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async move { self.switches.share(&connect(&self.config).await?, kind, value).await })
    }

    fn reset(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async {
            self.queue.empty().await?;
            self.switches.forget_everywhere(&connect(&self.config).await?).await
        })
    }

    fn holds(&self) -> BoxFuture<'_, anyhow::Result<Map<String, Value>>> {
        Box::pin(async {
            let state = self.queue.state().await?;
            let workers = self.queue.workers().await?;
            let client = connect(&self.config).await?;
            let opinions: i64 = client.query_one("SELECT count(*) FROM opinions", &[]).await?.try_get(0)?;
            let holds = json!({
                "opinions": opinions,
                "waiting": state.waiting,
                "running": state.running,
                "dead": state.dead,
                "workers": workers,
            });
            Ok(holds.as_object().cloned().unwrap_or_default())
        })
    }
}
