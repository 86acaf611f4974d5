//! The server of the scarce resource.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Extension, Router};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::page;
use super::place::{Place, Resource, Resources};
use super::stage::Stage;
use super::trend::{self, Trend};
use crate::class::{Class, Part};
use crate::live::hub::Hub;
use crate::live::recorder::record;
use crate::live::run::Key;
use crate::live::sampler::{Figures, Subject};
use crate::live::station::Station;
use crate::page::assets::protect;
use crate::page::{Experiment, Visit};
use crate::server::{self, Listen, Ports};
use crate::switches::{Kind, LIMIT, Switches};
use crate::visitor::name_visitor;

/// The sides, in the order of their routes.
const SIDES: [&str; 3] = ["serial", "async", "line"];

/// Options of `lab resource`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    listen: Listen,

    /// Port; 0 picks a free one
    #[arg(long, env = "LAB_RESOURCE_PORT", default_value_t = Ports::default().resource_port)]
    port: u16,

    /// Hard mode: at most this many uses at once, the rest is turned away with 500
    #[arg(long, env = "LAB_LIMIT", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,

    /// A resource, as NAME or NAME=LIMIT; may be repeated, the first is used where a request names none
    #[arg(
        long = "resource",
        value_name = "NAME",
        env = "LAB_RESOURCES",
        value_delimiter = ',',
        default_value = "mock"
    )]
    resources: Vec<String>,

    /// Most uses that go on after their answer; beyond, /part1/async says 503. More cost memory, about 1 KB each
    #[arg(long, env = "LAB_MAX_BACKGROUND", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    max_background: u32,

    /// Most events in line; beyond, /part2/genstage says 503
    #[arg(long, env = "LAB_MAX_EVENTS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    max_events: u32,
}

impl Args {
    /// Checks what the parser cannot.
    ///
    /// # Errors
    ///
    /// When the resources are not well named.
    pub fn check(&self) -> anyhow::Result<()> {
        self.resources().map(drop)
    }

    fn resources(&self) -> anyhow::Result<Resources> {
        Resources::new(&self.resources, self.limit.map(|limit| limit as usize))
    }
}

/// Serves until a signal ends it.
///
/// # Errors
///
/// When the port is taken.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let shutdown = server::shutdown_on_signal()?;
    let listeners = args.listen.bind(args.port).await?;
    let lab = Lab::new(&args, &shutdown)?;
    server::serve("resource", &args.listen, listeners, lab.router(), shutdown).await?;
    lab.end().await;
    Ok(())
}

/// What every request of this server needs.
#[derive(Clone)]
pub(super) struct Lab {
    pub scarce: Arc<Scarce>,
    pub station: Station,
    pub class: Class,
    trends: Arc<BTreeMap<String, Arc<Hub>>>,
}

/// The resources and the work on them.
pub(super) struct Scarce {
    pub resources: Resources,
    pub stage: Stage,
    switches: Arc<Switches>,
    background: TaskTracker,
    max_background: usize,
}

impl Lab {
    fn new(args: &Args, shutdown: &CancellationToken) -> anyhow::Result<Self> {
        let resources = args.resources()?;
        let limit = args.limit.map(|limit| limit.to_string()).unwrap_or_default();
        let first = resources.first().name.clone();
        let scarce = Arc::new(Scarce {
            resources,
            stage: Stage::start(args.max_events as usize),
            switches: Switches::new([(&LIMIT, limit)]),
            background: TaskTracker::new(),
            max_background: args.max_background as usize,
        });
        let station =
            Station::new(Experiment::Resource, &SIDES, Some(&first), scarce.clone(), shutdown.clone(), || {})?;
        add_gauges(&station, &scarce);
        let trends = scarce.resources.all().map(|resource| (resource.name.clone(), trend_hub(resource, shutdown)));
        let class = Class::new(scarce.clone(), station.recorder.clone());
        Ok(Self { trends: Arc::new(trends.collect()), class, scarce, station })
    }

    fn router(&self) -> Router {
        let work = Router::new()
            .route("/part1/serial", self.counted(SIDES[0], get(serial)))
            .route("/part1/async", self.counted(SIDES[1], get(asynchronous)))
            .route("/part2/genstage", self.counted(SIDES[2], get(genstage)))
            .with_state(self.clone());
        let pages = Router::new()
            .route("/", get(index))
            .route("/part1", get(part1))
            .route("/part1/live", get(part1_live))
            .route("/part2", get(part2))
            .layer(from_fn(protect))
            .layer(from_fn(name_visitor))
            .with_state(self.clone());
        self.station.routes().merge(self.class.routes()).merge(work).merge(pages)
    }

    fn counted(&self, side: &'static str, method: MethodRouter<Self>) -> MethodRouter<Self> {
        method.layer(from_fn_with_state(self.station.counted(side), record))
    }

    /// Holds the place in a task of its own, so that a caller who goes away changes nothing, and has the run of `key`
    /// know of it.
    fn hold(&self, place: Place, key: &Key) -> tokio::task::JoinHandle<()> {
        let recorder = &self.station.recorder;
        recorder.note_most(key, "peak_use", place.in_use as f64);
        let behind = recorder.behind(key);
        self.scarce.background.spawn(async move {
            place.hold().await;
            drop(behind);
        })
    }

    /// Lets the uses under way end; the line of part 2 is in memory and ends with the process.
    async fn end(&self) {
        self.scarce.background.close();
        self.scarce.background.wait().await;
        match self.scarce.stage.waiting() {
            0 => {}
            lost => eprintln!("resource: {lost} events were still in line and are lost: the line is in memory only"),
        }
    }
}

impl Scarce {
    fn apply_limit(&self) {
        let limit = self.switches.number(&LIMIT);
        self.resources.set_limit((limit > 0).then_some(limit as usize));
    }

    fn in_use(&self) -> usize {
        self.resources.all().map(|resource| resource.in_use()).sum()
    }
}

impl Subject for Scarce {
    fn gauges(&self) -> BoxFuture<'_, Figures> {
        let figures = vec![
            ("in_use", self.in_use() as f64),
            ("enqueued", self.stage.waiting() as f64),
            ("mean_processing", self.stage.mean_processing()),
            ("mean_wait", self.stage.mean_wait()),
        ];
        Box::pin(async { figures })
    }
}

impl Part for Scarce {
    fn switches(&self) -> &Switches {
        &self.switches
    }

    fn switch(&self, kind: &'static Kind, value: String) -> BoxFuture<'_, anyhow::Result<()>> {
        self.switches.set(kind, value);
        self.apply_limit();
        Box::pin(async { Ok(()) })
    }

    fn reset(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        self.switches.forget();
        self.apply_limit();
        Box::pin(async { Ok(()) })
    }

    fn holds(&self) -> BoxFuture<'_, anyhow::Result<Map<String, Value>>> {
        let holds = json!({ "in_use": self.in_use(), "enqueued": self.stage.waiting() });
        Box::pin(async move { Ok(holds.as_object().cloned().unwrap_or_default()) })
    }
}

fn add_gauges(station: &Station, scarce: &Arc<Scarce>) {
    let (uses, events) = (scarce.clone(), scarce.clone());
    station.metrics.add_gauge("lab_resource_uses", "Uses under way", move || uses.in_use() as f64);
    station.metrics.add_gauge("lab_events_waiting", "Events in line", move || events.stage.waiting() as f64);
}

fn trend_hub(resource: &Arc<Resource>, shutdown: &CancellationToken) -> Arc<Hub> {
    let resource = resource.clone();
    Hub::new(trend::PERIOD, shutdown.clone(), move || Box::new(Trend::new(resource.clone())))
}

#[derive(Deserialize)]
struct Which {
    resource: Option<String>,
}

async fn serial(State(lab): State<Lab>, Extension(key): Extension<Key>, Query(which): Query<Which>) -> Response {
    let Some(resource) = lab.scarce.resources.get(which.resource.as_deref()) else {
        return unknown();
    };
    let Some(place) = resource.try_take() else {
        return exhausted(resource);
    };
    match lab.hold(place, &key).await {
        Ok(()) => ok(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the use was broken off\n").into_response(),
    }
}

async fn asynchronous(State(lab): State<Lab>, Extension(key): Extension<Key>, Query(which): Query<Which>) -> Response {
    let Some(resource) = lab.scarce.resources.get(which.resource.as_deref()) else {
        return unknown();
    };
    if lab.scarce.background.len() >= lab.scarce.max_background {
        return overloaded("too much work in the background");
    }
    let Some(place) = resource.try_take() else {
        return exhausted(resource);
    };
    lab.hold(place, &key);
    ok()
}

async fn genstage(State(lab): State<Lab>, Extension(key): Extension<Key>, Query(which): Query<Which>) -> Response {
    let Some(resource) = lab.scarce.resources.get(which.resource.as_deref()) else {
        return unknown();
    };
    let recorder = lab.station.recorder.clone();
    let behind = recorder.behind(&key);
    let report = Box::new(move |waited, in_use| {
        // It is kept until the event is done.
        let _behind = &behind;
        recorder.note_wait(&key, waited);
        recorder.note_most(&key, "peak_use", in_use as f64);
    });
    if !lab.scarce.stage.enqueue(resource.clone(), report) {
        return overloaded("the line is full");
    }
    ok()
}

fn ok() -> Response {
    "OK".into_response()
}

fn exhausted(resource: &Resource) -> Response {
    let text = format!("{} is exhausted\n", resource.name);
    (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
}

fn overloaded(why: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")], format!("{why}\n")).into_response()
}

fn unknown() -> Response {
    (StatusCode::NOT_FOUND, "there is no resource of this name\n").into_response()
}

async fn index(State(lab): State<Lab>, visit: Visit) -> impl IntoResponse {
    page::index(&lab.scarce.resources, &visit)
}

async fn part1(State(lab): State<Lab>, visit: Visit, Query(which): Query<Which>) -> Response {
    let Some(resource) = lab.scarce.resources.get(which.resource.as_deref()) else {
        return unknown();
    };
    let known = lab.station.known("", &visit, Some(&resource.name)).await;
    page::part1(&visit, &known, resource, lab.class.section(&visit)).into_response()
}

async fn part2(State(lab): State<Lab>, visit: Visit) -> impl IntoResponse {
    page::part2(&visit, &lab.station.known("", &visit, None).await, lab.class.section(&visit))
}

async fn part1_live(State(lab): State<Lab>, Query(which): Query<Which>) -> Response {
    let resource = lab.scarce.resources.get(which.resource.as_deref());
    match resource.and_then(|resource| lab.trends.get(&resource.name)) {
        Some(trend) => trend.events_and(&lab.station.hub).into_response(),
        None => unknown(),
    }
}
