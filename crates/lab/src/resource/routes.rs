//! The server of the scarce resource.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::page;
use super::place::{Place, Resource, Resources};
use super::stage::Stage;
use super::trend::{self, Trend};
use crate::live::hub::Hub;
use crate::live::recorder::record;
use crate::live::sampler::{Figures, Subject};
use crate::live::station::Station;
use crate::page::Visit;
use crate::page::assets::protect;
use crate::server::{self, Listen, Ports};

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
    let lab = Lab::new(args.resources()?, args.max_background as usize, args.max_events as usize, &shutdown)?;
    server::serve("resource", &args.listen, listeners, lab.router(), shutdown).await?;
    lab.end().await;
    Ok(())
}

/// What every request of this server needs.
#[derive(Clone)]
pub(super) struct Lab {
    pub scarce: Arc<Scarce>,
    pub station: Station,
    trends: Arc<BTreeMap<String, Arc<Hub>>>,
}

/// The resources and the work on them.
pub(super) struct Scarce {
    pub resources: Resources,
    pub stage: Stage,
    background: TaskTracker,
    max_background: usize,
}

impl Lab {
    fn new(
        resources: Resources,
        max_background: usize,
        max_events: usize,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let scarce = Arc::new(Scarce {
            resources,
            stage: Stage::start(max_events),
            background: TaskTracker::new(),
            max_background,
        });
        let forgetful = scarce.clone();
        let station = Station::new(scarce.clone(), shutdown.clone(), move || forgetful.forget_peaks())?;
        add_gauges(&station, &scarce);
        let trends = scarce.resources.all().map(|resource| (resource.name.clone(), trend_hub(resource, shutdown)));
        Ok(Self { trends: Arc::new(trends.collect()), scarce, station })
    }

    fn router(&self) -> Router {
        let work = Router::new()
            .route("/part1/serial", get(serial))
            .route("/part1/async", get(asynchronous))
            .route("/part2/genstage", get(genstage))
            .layer(from_fn_with_state(self.station.recorder.clone(), record))
            .with_state(self.clone());
        let pages = Router::new()
            .route("/", get(index))
            .route("/part1", get(part1))
            .route("/part1/live", get(part1_live))
            .route("/part2", get(part2))
            .layer(from_fn(protect))
            .with_state(self.clone());
        self.station.routes().merge(work).merge(pages)
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
    /// Holds the place in a task of its own, so that a caller who goes away changes nothing.
    fn hold(&self, place: Place) -> tokio::task::JoinHandle<()> {
        self.background.spawn(place.hold())
    }

    fn forget_peaks(&self) {
        self.resources.all().for_each(|resource| resource.forget_peak());
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

    fn outcome(&self) -> Figures {
        let peak = self.resources.all().map(|resource| resource.peak()).max();
        vec![("peak_use", peak.unwrap_or(0) as f64)]
    }

    fn is_busy(&self) -> bool {
        self.in_use() > 0 || self.stage.waiting() > 0
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

async fn serial(State(lab): State<Lab>, Query(which): Query<Which>) -> Response {
    let Some(resource) = lab.scarce.resources.get(which.resource.as_deref()) else {
        return unknown();
    };
    let Some(place) = resource.try_take() else {
        return exhausted(resource);
    };
    match lab.scarce.hold(place).await {
        Ok(()) => ok(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the use was broken off\n").into_response(),
    }
}

async fn asynchronous(State(lab): State<Lab>, Query(which): Query<Which>) -> Response {
    let Some(resource) = lab.scarce.resources.get(which.resource.as_deref()) else {
        return unknown();
    };
    if lab.scarce.background.len() >= lab.scarce.max_background {
        return overloaded("too much work in the background");
    }
    let Some(place) = resource.try_take() else {
        return exhausted(resource);
    };
    lab.scarce.hold(place);
    ok()
}

async fn genstage(State(lab): State<Lab>, Query(which): Query<Which>) -> Response {
    let Some(resource) = lab.scarce.resources.get(which.resource.as_deref()) else {
        return unknown();
    };
    if !lab.scarce.stage.enqueue(resource.clone()) {
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
    page::part1(&visit, &lab.station.known("").await, resource).into_response()
}

async fn part2(State(lab): State<Lab>, visit: Visit) -> impl IntoResponse {
    page::part2(&visit, &lab.station.known("").await)
}

async fn part1_live(State(lab): State<Lab>, Query(which): Query<Which>) -> Response {
    let resource = lab.scarce.resources.get(which.resource.as_deref());
    match resource.and_then(|resource| lab.trends.get(&resource.name)) {
        Some(trend) => trend.events_and(&lab.station.hub).into_response(),
        None => unknown(),
    }
}
