//! The two servers, which differ in their store alone.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio_postgres::Config;
use tokio_util::sync::CancellationToken;

use super::blocking::Blocking;
use super::non_blocking::NonBlocking;
use super::page::{self, Setting};
use super::ping::Pinger;
use super::store::Store;
use crate::class::{Class, Part};
use crate::connection::connect;
use crate::database::Database;
use crate::live::recorder::record;
use crate::live::sampler::{Figures, Subject};
use crate::live::station::Station;
use crate::page::assets::protect;
use crate::page::{Experiment, Visit};
use crate::server::{self, Listen, Ports};
use crate::switches::{Kind, QUERY_DELAY, Switches};
use crate::visitor::name_visitor;

/// Longest body of a request, in bytes.
const MAX_BODY: usize = 16 * 1024;

/// Options that both servers share, so that only the way of waiting differs.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    listen: Listen,

    #[command(flatten)]
    database: Database,

    /// Milliseconds that every query takes longer: a slow database
    #[arg(long, value_name = "MS", env = "LAB_QUERY_DELAY", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=60_000))]
    query_delay: u32,

    /// Most requests under way; beyond, the answer is 503. Each costs a connection and some 10 KB
    #[arg(long, env = "LAB_MAX_IN_FLIGHT", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    max_in_flight: u32,
}

/// Options of `lab blocking`.
#[derive(clap::Args, Clone, Debug)]
pub struct BlockingArgs {
    /// Port; 0 picks a free one
    #[arg(long, env = "LAB_BLOCKING_PORT", default_value_t = Ports::default().blocking_port)]
    port: u16,

    /// Most threads that wait for the database. Fewer than the connections leave connections idle; more cost memory
    #[arg(long, env = "LAB_THREADS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub threads: u32,

    #[command(flatten)]
    both: Args,
}

/// Options of `lab nonblocking`.
#[derive(clap::Args, Clone, Debug)]
pub struct NonBlockingArgs {
    /// Port; 0 picks a free one
    #[arg(long, env = "LAB_NONBLOCKING_PORT", default_value_t = Ports::default().nonblocking_port)]
    port: u16,

    #[command(flatten)]
    both: Args,
}

/// Serves port 8000 until a signal ends it.
///
/// # Errors
///
/// When the port is taken.
pub async fn run_blocking(args: BlockingArgs) -> anyhow::Result<()> {
    let switches = switches(&args.both);
    let store = Arc::new(Blocking::new(&args.both.database, switches.clone()));
    let served = serve(args.port, args.both, store.clone(), switches).await;
    super::blocking::close(store).await;
    served
}

/// Serves port 8001 until a signal ends it.
///
/// # Errors
///
/// When the port is taken.
pub async fn run_non_blocking(args: NonBlockingArgs) -> anyhow::Result<()> {
    let switches = switches(&args.both);
    let store = Arc::new(NonBlocking::new(&args.both.database, switches.clone())?);
    serve(args.port, args.both, store, switches).await
}

async fn serve(port: u16, args: Args, store: Arc<dyn Store>, switches: Arc<Switches>) -> anyhow::Result<()> {
    let name = store.side().name();
    let shutdown = server::shutdown_on_signal()?;
    let listeners = args.listen.bind(port).await?;
    args.database.prepare(name, shutdown.clone());
    let following = switches.clone().follow(args.database.database_url.clone());
    tokio::spawn(shutdown.clone().run_until_cancelled_owned(following));
    let lab = Lab::new(store, switches, &args, &shutdown)?;
    server::serve(name, &args.listen, listeners, lab.router(), shutdown).await
}

fn switches(args: &Args) -> Arc<Switches> {
    Switches::new([(&QUERY_DELAY, args.query_delay.to_string())])
}

/// What every request of these servers needs.
#[derive(Clone)]
struct Lab {
    store: Arc<dyn Store>,
    station: Station,
    class: Class,
    users: Arc<Users>,
    setting: Setting,
    max_in_flight: u64,
}

/// What the pages and whoever runs the class see of a server.
struct Users {
    pinger: Arc<Pinger>,
    switches: Arc<Switches>,
    config: Config,
}

impl Subject for Users {
    fn gauges(&self) -> BoxFuture<'_, Figures> {
        Box::pin(async { vec![("ping", self.pinger.milliseconds())] })
    }
}

impl Part for Users {
    fn switches(&self) -> &Switches {
        &self.switches
    }

    fn switch(&self, kind: &'static Kind, value: String) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async move { self.switches.share(&connect(&self.config).await?, kind, value).await })
    }

    fn reset(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async {
            let client = connect(&self.config).await?;
            client.execute("DELETE FROM users", &[]).await?;
            self.switches.forget_everywhere(&client).await
        })
    }

    fn holds(&self) -> BoxFuture<'_, anyhow::Result<Map<String, Value>>> {
        Box::pin(async {
            let client = connect(&self.config).await?;
            let users: i64 = client.query_one("SELECT count(*) FROM users", &[]).await?.try_get(0)?;
            Ok(Map::from_iter([("users".to_owned(), json!(users))]))
        })
    }
}

impl Lab {
    fn new(
        store: Arc<dyn Store>,
        switches: Arc<Switches>,
        args: &Args,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let setting = Setting { side: store.side(), connections: args.database.connections };
        let pinger = Arc::new(Pinger::default());
        let users = Arc::new(Users { pinger: pinger.clone(), switches, config: args.database.database_url.clone() });
        let (sides, begun) = (store.side().alone(), pinger.clone());
        let station = Station::new(Experiment::Blocking, sides, None, users.clone(), shutdown.clone(), move || {
            begun.begin();
        })?;
        let pinging = pinger.run(store.clone(), station.recorder.clone());
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(pinging));
        let class = Class::new(users.clone(), station.recorder.clone());
        Ok(Self { store, station, class, users, setting, max_in_flight: args.max_in_flight.into() })
    }

    fn router(&self) -> Router {
        let work = Router::new()
            .route("/users", post(create))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .layer(from_fn_with_state(self.station.counted(self.store.side().name()), record))
            .layer(from_fn(server::whole_body))
            .with_state(self.clone());
        let pages = Router::new()
            .route("/", get(index))
            .route("/ping", get(ping))
            .layer(from_fn(protect))
            .layer(from_fn(name_visitor))
            .with_state(self.clone());
        self.station.routes().merge(self.class.routes()).merge(work).merge(pages)
    }
}

async fn create(State(lab): State<Lab>, body: Result<Json<Value>, JsonRejection>) -> Response {
    if lab.station.recorder.in_flight() > lab.max_in_flight {
        return unavailable("too many requests are under way");
    }
    let name = match name_in(body) {
        Ok(name) => name,
        Err((status, error)) => return answer(status, &json!({ "error": error })),
    };
    let message = format!("User {name} created.");
    match lab.store.insert(name).await {
        Ok(()) => answer(StatusCode::OK, &json!({ "message": message })),
        Err(error) => {
            server::complain(format_args!("{}: a user was not taken: {error}", lab.setting.side.name()));
            unavailable("the database does not answer")
        }
    }
}

fn name_in(body: Result<Json<Value>, JsonRejection>) -> Result<String, (StatusCode, String)> {
    let value = match body {
        Ok(Json(value)) => value,
        Err(rejection) => return Err((rejection.status(), rejection.body_text())),
    };
    match value.get("name").and_then(Value::as_str) {
        Some(name) if !name.contains('\0') => Ok(name.to_owned()),
        _ => Err((StatusCode::BAD_REQUEST, "Invalid input".into())),
    }
}

fn unavailable(error: &str) -> Response {
    let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": error }));
    response.headers_mut().insert(RETRY_AFTER, axum::http::HeaderValue::from_static("1"));
    response
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

/// Answers without the database, from where the work is done: late where all threads wait.
async fn ping(State(lab): State<Lab>) -> &'static str {
    lab.store.ping().await;
    "pong\n"
}

async fn index(State(lab): State<Lab>, visit: Visit) -> impl IntoResponse {
    let known = lab.station.known(page::prefix(lab.setting.side), &visit, None).await;
    let delay = lab.users.switches.number(&QUERY_DELAY);
    page::index(lab.setting, delay, &visit, &known, lab.class.section(&visit))
}
