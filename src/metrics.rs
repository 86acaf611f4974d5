//! Figures about an instance, for Prometheus: `/metrics` on the instance itself, never through nginx.

use std::time::Duration;

use hyper::{Method, StatusCode};
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

/// Media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = prometheus::TEXT_FORMAT;

/// Upper bounds in seconds: from an answer out of memory to a request that waited as long as it may.
const SECONDS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Upper bounds of the people in one statement.
const PEOPLE: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// What a request wants, as far as figures tell requests apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Create,
    Fetch,
    Search,
    Count,
    /// Health, figures, and whatever has no place.
    Other,
}

impl Kind {
    const ALL: [(Kind, &str); 5] = [
        (Kind::Create, "create"),
        (Kind::Fetch, "fetch"),
        (Kind::Search, "search"),
        (Kind::Count, "count"),
        (Kind::Other, "other"),
    ];

    /// A request to the people as a whole is a create or a search.
    pub fn of_people(method: &Method) -> Self {
        if method == Method::POST { Self::Create } else { Self::Search }
    }
}

/// The figures, cheap to update: one lookup and a few atomic additions a request.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: [Histogram; Kind::ALL.len()],
    in_flight: IntGauge,
    remembered: IntGauge,
    groups: Histogram,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    ///
    /// For a name that Prometheus would not take.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let requests = Opts::new("peleja_requests_total", "Requests answered.");
        let requests = register(&registry, IntCounterVec::new(requests, &["kind", "status"])?)?;
        let durations = HistogramOpts::new("peleja_request_duration_seconds", "From a request's head to its answer.");
        let durations = register(&registry, HistogramVec::new(durations.buckets(SECONDS.to_vec()), &["kind"])?)?;
        let groups = HistogramOpts::new("peleja_create_group_people", "People stored by one statement and one commit.");
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self {
            requests,
            durations: Kind::ALL.map(|(_, name)| durations.with_label_values(&[name])),
            in_flight: register(&registry, IntGauge::new("peleja_requests_in_flight", "Requests under way.")?)?,
            remembered: register(
                &registry,
                IntGauge::new("peleja_people_remembered", "People in memory; 0 while the database answers instead.")?,
            )?,
            groups: register(&registry, Histogram::with_opts(groups.buckets(PEOPLE.to_vec()))?)?,
            registry,
        })
    }

    /// A request came in. It is under way until this is dropped, whether it was answered or its client went away.
    pub fn begin(&self) -> UnderWay<'_> {
        self.in_flight.inc();
        UnderWay(self)
    }

    /// To be told of each group of creates: how many there are in it.
    pub fn groups(&self) -> Histogram {
        self.groups.clone()
    }

    /// Everything in Prometheus' text format, version 0.0.4.
    ///
    /// # Errors
    ///
    /// For figures that the format does not allow.
    pub fn text(&self, remembered: usize) -> prometheus::Result<Vec<u8>> {
        self.remembered.set(i64::try_from(remembered).unwrap_or(i64::MAX));
        let mut text = Vec::with_capacity(8 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// A request under way.
pub struct UnderWay<'a>(&'a Metrics);

impl UnderWay<'_> {
    /// It was answered, `duration` after it came in.
    pub fn end(self, kind: Kind, status: StatusCode, duration: Duration) {
        let metrics = self.0;
        metrics.requests.with_label_values(&[Kind::ALL[kind as usize].1, status.as_str()]).inc();
        metrics.durations[kind as usize].observe(duration.as_secs_f64());
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, figure: C) -> prometheus::Result<C> {
    registry.register(Box::new(figure.clone()))?;
    Ok(figure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_and_timed_by_kind() {
        let metrics = Metrics::new().unwrap();
        let _under_way = metrics.begin();
        drop(metrics.begin());
        metrics.begin().end(Kind::Search, StatusCode::BAD_REQUEST, Duration::from_millis(2));
        metrics.groups().observe(3.0);
        let text = String::from_utf8(metrics.text(7).unwrap()).unwrap();
        for line in [
            "# TYPE peleja_requests_total counter",
            r#"peleja_requests_total{kind="search",status="400"} 1"#,
            r#"peleja_request_duration_seconds_bucket{kind="search",le="0.001"} 0"#,
            r#"peleja_request_duration_seconds_bucket{kind="search",le="0.0025"} 1"#,
            r#"peleja_create_group_people_bucket{le="4"} 1"#,
            "peleja_requests_in_flight 1",
            "peleja_people_remembered 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(text.contains("\nprocess_cpu_seconds_total "), "{text}");
    }

    #[test]
    fn every_kind_has_its_place() {
        assert!(Kind::ALL.iter().enumerate().all(|(place, (kind, _))| *kind as usize == place));
    }
}
