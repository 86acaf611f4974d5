//! `arena simulate`: how far a stack goes, or a hundred of them, told from measured costs without running any.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::builder::RangedU64ValueParser;
use serde::Serialize;

use super::bench::mix;
use super::bench::rates::{Growth, Rates, positive};
use crate::exit::{self, Exit};
use crate::load::driver::schedule::{Kind, Mix, Profile};
use crate::load::payloads;
use crate::model::costs::Costs;
use crate::model::layout::{Layout, Limits};
use crate::model::outcome::Outcome;
use crate::model::simulation::simulate;
use crate::record::metric::grouped;
use crate::stack::compose::Compose;
use crate::terminal;
use crate::workspace::Workspace;

/// What `bench --ramp` calls the knee: the 99th percentile of any kind of request that is too long, in milliseconds.
const KNEE: f64 = 100.0;

/// Arguments of `arena simulate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Users per second of each step, as in `bench --ramp`
    #[arg(long, value_name = "FROM..TO|RATE,RATE,...", default_value = "250..8000")]
    ramp: Rates,
    /// How much each step adds to the rate, or by what factor it raises it [default: FROM]
    #[arg(long, value_name = "USERS/S|xFACTOR")]
    step: Option<Growth>,
    /// How long each step lasts
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = positive)]
    step_seconds: f64,
    /// Proportions of creates, searches and invalid searches
    #[arg(long, value_name = "C:S:I", default_value = "600:100:40", value_parser = mix)]
    mix: Mix,
    /// Compose files laid over docker-compose.yml: the limits of the services
    #[arg(long, value_name = "FILE", conflicts_with = "machines")]
    overlay: Vec<PathBuf>,
    /// Instead of a bout's stack, so many machines that nothing limits, each with nginx, instances and the database of its
    /// share of the people, whose commits wait for a standby on another machine
    #[arg(long, value_parser = RangedU64ValueParser::<u64>::new().range(1..=1_000))]
    machines: Option<u64>,
    /// Processors of each machine; a third of them are the database's
    #[arg(long, value_name = "N", default_value_t = 16, requires = "machines", value_parser = RangedU64ValueParser::<u64>::new().range(3..=256))]
    processors: u64,
    /// Time from one machine to another, in microseconds
    #[arg(long, value_name = "US", default_value_t = 100.0, requires = "machines", value_parser = positive)]
    hop: f64,
    /// People who are there already, on all machines together
    #[arg(long, default_value_t = 0)]
    people: u64,
    /// What each piece of work takes, instead of what was measured: see crates/arena/src/model/costs.json
    #[arg(long, value_name = "FILE")]
    costs: Option<PathBuf>,
    /// What chance comes from
    #[arg(long, default_value_t = payloads::SEED)]
    seed: u64,
    /// Print one JSON document instead of the table
    #[arg(long)]
    json: bool,
}

/// One rate, and what came of it.
#[derive(Serialize)]
struct Step {
    users_per_second: f64,
    requests_per_second: f64,
    /// In milliseconds, by kind of request.
    p99: [(&'static str, f64); 4],
    cpu_ms_per_thousand: f64,
    services: Vec<Service>,
    people_per_group: f64,
    looks_per_second: f64,
    cpu_seconds_per_million_creates: f64,
}

#[derive(Serialize)]
struct Service {
    service: String,
    cpu_ms_per_thousand: f64,
    /// CPUs that it used, on all machines together.
    cpus: f64,
    throttled_percent: f64,
}

/// Plays each step through, and prints what came of it.
///
/// # Errors
///
/// If a file cannot be read.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let Some(rates) = exit::accept(args.ramp.steps(args.step)) else { return Ok(Exit::Usage) };
    let Some(costs) = exit::accept(args.costs.as_deref().map_or_else(Costs::measured, Costs::read)) else {
        return Ok(Exit::Usage);
    };
    let Some(layout) = exit::accept(args.layout()) else { return Ok(Exit::Usage) };
    let mut steps = Vec::new();
    for rate in rates {
        let load = Profile::constant(rate, args.step_seconds, args.mix);
        let outcome = simulate(&costs, &layout, load.arrivals(), args.step_seconds, args.seed)?;
        steps.push(Step::of(rate, &outcome));
    }
    if args.json {
        terminal::print_json(&serde_json::json!({ "schema": 1, "steps": steps }))?;
    } else {
        terminal::print(&table(&steps))?;
    }
    Ok(Exit::Good)
}

impl Args {
    fn layout(&self) -> anyhow::Result<Layout> {
        let people = self.people as f64;
        let Some(machines) = self.machines else { return Ok(Layout::of_bout(self.limits()?, people)) };
        let database_processors = (self.processors / 3) as usize;
        let front_processors = self.processors as usize - database_processors;
        Ok(Layout {
            machines: machines as usize,
            proxies: front_processors.div_ceil(2),
            instances: front_processors / 2,
            front_processors,
            database_processors,
            limits: None,
            people: people / machines as f64,
            hop: self.hop,
            synchronous: true,
        })
    }

    fn limits(&self) -> anyhow::Result<Limits> {
        let compose = Compose::read(&Workspace::find()?.path("docker-compose.yml"), &self.overlay)?;
        let cpus = |name: &str| compose.limit(name)?.cpus.with_context(|| format!("{name} has no limit of CPUs"));
        ensure!(cpus("api1")? == cpus("api2")?, "both instances must have the same limit");
        Ok(Limits { proxy: cpus("nginx")?, instance: cpus("api1")?, database: cpus("db")? })
    }
}

impl Step {
    fn of(rate: f64, outcome: &Outcome) -> Self {
        let per_thousand = |seconds: f64| seconds * 1e6 / outcome.requests().max(1) as f64;
        let services = outcome.services.iter().map(|service| Service {
            service: service.name.clone(),
            cpu_ms_per_thousand: per_thousand(service.cpu_seconds),
            cpus: service.cpu_seconds / outcome.seconds,
            throttled_percent: service.throttled * 100.0,
        });
        let (groups, people) = outcome.groups;
        let creates = outcome.times[Kind::Create as usize].len().max(1) as f64;
        let cpu_seconds: f64 = outcome.services.iter().map(|service| service.cpu_seconds).sum();
        Self {
            users_per_second: rate,
            requests_per_second: outcome.requests() as f64 / outcome.seconds,
            p99: Kind::ALL.map(|kind| (kind.name(), outcome.p99(kind))),
            cpu_ms_per_thousand: outcome.cpu_ms_per_thousand(),
            services: services.collect(),
            people_per_group: people as f64 / groups.max(1) as f64,
            looks_per_second: outcome.looks as f64 / outcome.seconds,
            cpu_seconds_per_million_creates: cpu_seconds * 1e6 / creates,
        }
    }

    fn holds(&self) -> bool {
        self.p99.iter().all(|(_, p99)| *p99 <= KNEE)
    }
}

fn table(steps: &[Step]) -> String {
    let services = steps.first().map(|step| step.services.as_slice()).unwrap_or_default();
    let of_services = services.iter().map(|service| format!("{} CPUs", service.service));
    let before = ["users/s", "requests/s", "p99 create, fetch, search, invalid, ms"].map(str::to_owned);
    let behind = ["CPU ms/1,000", "people a group", "CPU s per million creates"].map(str::to_owned);
    let headings: Vec<String> = before.into_iter().chain(of_services).chain(behind).collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let table = terminal::markdown(&headings, steps.iter().map(row), 0..2);
    let held = steps.iter().take_while(|step| step.holds()).last();
    let knee = held
        .map_or("No step holds".to_owned(), |step| format!("{} users/s is the most", grouped(step.users_per_second)));
    format!("{table}\n\n{knee}: a 99th percentile of at most {KNEE} ms for every kind of request.\n")
}

fn row(step: &Step) -> Vec<String> {
    let mut cells = vec![grouped(step.users_per_second), grouped(step.requests_per_second)];
    cells.push(step.p99.map(|(_, p99)| format!("{p99:.1}")).join(", "));
    cells.extend(step.services.iter().map(|service| {
        let throttled = service.throttled_percent;
        match throttled < 0.5 {
            true => format!("{:.2}", service.cpus),
            false => format!("{:.2}, {throttled:.0} % throttled", service.cpus),
        }
    }));
    cells.push(format!("{:.0}", step.cpu_ms_per_thousand));
    cells.push(format!("{:.1}", step.people_per_group));
    cells.push(grouped(step.cpu_seconds_per_million_creates));
    cells
}
