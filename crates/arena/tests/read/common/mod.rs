//! A run document as a full bout leaves it, made up: every field is set and every figure follows from the profile.

// Each test binary compiles this module for itself and uses a part of it.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;

use arena::record::histogram;
use arena::record::run::{
    Cost, Driver, Durability, Generator, Judged, Limit, Machine, Outcome, People, Percentiles, RequestSeries, Requests,
    Run, SCHEMA, Series, ServiceSeries, Settings, Verdict,
};
use hdrhistogram::Histogram;

/// A run of `seconds` whose response times are `slowness` times those of the fastest.
pub fn run(id: &str, seconds: u64, slowness: f64) -> Run {
    let requests: Vec<Requests> = KINDS.iter().map(|kind| kind.requests(seconds, slowness)).collect();
    Run {
        schema: SCHEMA,
        id: id.to_owned(),
        driver: Driver::Bench,
        label: Some("sample".to_owned()),
        started: "2026-11-21T03:45:00Z".to_owned(),
        seconds: seconds as f64,
        commit: Some("34fb0571c2ab".to_owned()),
        settings: settings(),
        budget: SERVICES.iter().map(Service::limit).collect(),
        versions: [("postgresql", "15.14"), ("nginx", "1.22.1"), ("arena", "0.1.0")].map(owned).into(),
        machine: machine(),
        judged: Judged::new(
            Verdict::new(Outcome::Clean, Vec::new()),
            Some(People { stored: 46_576, ceiling: 46_576, acknowledged: Some(46_576) }),
        ),
        services: SERVICES.iter().map(|service| service.cost(seconds, slowness)).collect(),
        durability: Some(durability()),
        generator: Some(Generator {
            intended: requests.iter().map(|kind| kind.count).sum(),
            sent: requests.iter().map(|kind| kind.count).sum(),
            send_lag_p99: 0.8,
            cpu_seconds: 4.4,
            ..Generator::default()
        }),
        steps: Vec::new(),
        series: Series {
            requests: KINDS.iter().map(|kind| (kind.name.to_owned(), kind.series(seconds, slowness))).collect(),
            in_flight: (0..seconds).map(|second| 1 + second / 20 + spike(second, seconds) * 40).collect(),
            services: SERVICES
                .iter()
                .map(|service| (service.name.to_owned(), service.series(seconds, slowness)))
                .collect(),
        },
        requests,
    }
}

struct Kind {
    name: &'static str,
    /// Requests a second at the start and at the end of the ramp.
    rate: (f64, f64),
    /// Response time at an idle server, in milliseconds.
    fastest: f64,
    status: u16,
}

const KINDS: [Kind; 4] = [
    Kind { name: "create", rate: (2.0, 600.0), fastest: 1.4, status: 201 },
    Kind { name: "fetch", rate: (2.0, 500.0), fastest: 0.7, status: 200 },
    Kind { name: "search", rate: (2.0, 100.0), fastest: 1.1, status: 200 },
    Kind { name: "invalid-search", rate: (2.0, 40.0), fastest: 0.4, status: 400 },
];

impl Kind {
    fn requests(&self, seconds: u64, slowness: f64) -> Requests {
        let histogram = self.histogram(seconds, slowness);
        let response = percentiles(&histogram);
        Requests {
            kind: self.name.to_owned(),
            count: histogram.len(),
            failures: BTreeMap::new(),
            statuses: BTreeMap::from([(self.status, histogram.len())]),
            response,
            service: Some(Percentiles { p99: response.p99 * 0.9, ..response }),
            histogram: Some(histogram::encode(&histogram).unwrap()),
        }
    }

    fn histogram(&self, seconds: u64, slowness: f64) -> Histogram<u64> {
        let mut histogram = Histogram::new(3).unwrap();
        for second in 0..seconds {
            for nth in 0..self.at(second, seconds) {
                let wave = f64::from(u32::try_from((nth * 37 + second * 11) % 997).unwrap()) / 997.0;
                let tail = 1.0 + 0.12 / (1.004 - wave);
                histogram.record((self.at_best(second, seconds, slowness) * tail * 1000.0) as u64).unwrap();
            }
        }
        histogram
    }

    fn series(&self, seconds: u64, slowness: f64) -> RequestSeries {
        let p50 = |second| self.at_best(second, seconds, slowness) * 1.2;
        RequestSeries {
            completed: (0..seconds).map(|second| self.at(second, seconds)).collect(),
            failed: vec![0; seconds as usize],
            p50: (0..seconds).map(p50).collect(),
            p99: (0..seconds).map(|second| p50(second) * (3.0 + (second % 7) as f64 / 3.0)).collect(),
        }
    }

    fn at(&self, second: u64, seconds: u64) -> u64 {
        let (from, to) = self.rate;
        (from + (to - from) * (second as f64 / seconds as f64)) as u64
    }

    fn at_best(&self, second: u64, seconds: u64, slowness: f64) -> f64 {
        self.fastest * slowness * (1.0 + second as f64 / seconds as f64 + 6.0 * spike(second, seconds) as f64)
    }
}

struct Service {
    name: &'static str,
    cpus: f64,
    memory_mb: u64,
    share: f64,
}

const SERVICES: [Service; 4] = [
    Service { name: "nginx", cpus: 0.25, memory_mb: 200, share: 0.9 },
    Service { name: "api1", cpus: 0.3, memory_mb: 400, share: 0.5 },
    Service { name: "api2", cpus: 0.3, memory_mb: 400, share: 0.52 },
    Service { name: "db", cpus: 0.65, memory_mb: 2_000, share: 0.7 },
];

impl Service {
    fn limit(&self) -> Limit {
        Limit { service: self.name.to_owned(), cpus: Some(self.cpus), memory_bytes: Some(self.memory_mb * 1_000_000) }
    }

    fn cost(&self, seconds: u64, slowness: f64) -> Cost {
        let series = self.series(seconds, slowness);
        let throttled: u64 = series.throttled_periods.iter().sum();
        Cost {
            service: self.name.to_owned(),
            cpu_seconds: series.cpus.iter().sum(),
            periods: Some(seconds * 10),
            throttled_periods: Some(throttled),
            throttled_seconds: Some(throttled as f64 * 0.021),
            memory_peak_bytes: series.memory_bytes.iter().max().copied(),
            disk_write_bytes: Some(if self.name == "db" { 412_000_000 } else { 0 }),
            ..Cost::default()
        }
    }

    fn series(&self, seconds: u64, slowness: f64) -> ServiceSeries {
        let cpus = |second| {
            let load = second as f64 / seconds as f64 * self.share * slowness + 0.4 * spike(second, seconds) as f64;
            self.cpus * load.min(1.0)
        };
        ServiceSeries {
            cpus: (0..seconds).map(cpus).collect(),
            throttled_periods: (0..seconds).map(|second| if cpus(second) > 0.95 * self.cpus { 3 } else { 0 }).collect(),
            memory_bytes: (0..seconds).map(|second| self.memory_mb * (60_000 + 1_200 * second)).collect(),
        }
    }
}

/// 1 in a few seconds two thirds into the run, as a checkpoint of the database would be felt; else 0.
fn spike(second: u64, seconds: u64) -> u64 {
    u64::from(second >= 3 && (second * 3 / 2).abs_diff(seconds) < 4)
}

fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    Percentiles {
        mean: histogram.mean() / 1000.0,
        p50: at(0.5),
        p75: at(0.75),
        p95: at(0.95),
        p99: at(0.99),
        max: histogram.max() as f64 / 1000.0,
    }
}

fn settings() -> Settings {
    Settings {
        engine: "native".to_owned(),
        vocabulary: "users".to_owned(),
        profile: "event".to_owned(),
        target: "http://127.0.0.1:9999".to_owned(),
        rate_factor: 1.0,
        duration_factor: 1.0,
        more: [("seed", "1"), ("connections", "one per user")].map(owned).into(),
    }
}

fn machine() -> Machine {
    Machine {
        cpu: "AMD EPYC 7B13".to_owned(),
        cores: 2,
        memory_bytes: 8_339_128_320,
        kernel: "Linux 6.1.0".to_owned(),
        os: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        cgroup: "v1".to_owned(),
    }
}

fn durability() -> Durability {
    Durability {
        fsync: true,
        synchronous_commit: "on".to_owned(),
        wal_syncs: Some(21_480),
        flush_median_us: Some(412.0),
        honoured: true,
        ..Durability::default()
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
