//! Figures for Prometheus, in its own text format or in OpenMetrics for who asks for that.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::own_process::ProcessSample;

/// Upper bounds in seconds, from a quick answer on loopback to a request that waited for its turn.
const LATENCY_BUCKETS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The counters of one recorder.
#[derive(Clone)]
pub struct RequestMetrics {
    pub(super) in_flight: Gauge,
    answered: Counter,
    failed: Counter,
    duration: Histogram,
}

impl Default for RequestMetrics {
    fn default() -> Self {
        Self {
            in_flight: Gauge::default(),
            answered: Counter::default(),
            failed: Counter::default(),
            duration: Histogram::new(LATENCY_BUCKETS),
        }
    }
}

impl RequestMetrics {
    pub(super) fn observe(&self, latency: Duration, failed: bool) {
        self.answered.inc();
        self.failed.inc_by(u64::from(failed));
        self.duration.observe(latency.as_secs_f64());
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("lab_requests", "Requests answered", self.answered.clone());
        registry.register(
            "lab_requests_failed",
            "Requests answered with status 400 or above, or given up by the caller",
            self.failed.clone(),
        );
        registry.register("lab_requests_in_flight", "Requests under way", self.in_flight.clone());
        registry.register_with_unit("lab_request_duration", "Response time", Unit::Seconds, self.duration.clone());
    }
}

/// All metrics of a process.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// The request counters of `requests` and what the operating system says about the process.
    pub fn new(requests: &RequestMetrics) -> Self {
        let mut registry = Registry::default();
        requests.register(&mut registry);
        registry.register_collector(Box::new(ProcessCollector));
        Self { registry: Arc::new(Mutex::new(registry)) }
    }

    /// Adds a gauge that is read at each scrape.
    pub fn add_gauge(&self, name: &'static str, help: &'static str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        let collector = ReadGauge { name, help, read: Box::new(read) };
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).register_collector(Box::new(collector));
    }

    /// The answer to a scrape with these headers.
    pub fn response(&self, headers: &HeaderMap) -> Response {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a string does not fail.
        let _ = encode(&mut text, &registry);
        if wants_openmetrics(headers) {
            let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            return ([(CONTENT_TYPE, media_type)], text).into_response();
        }
        ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], to_prometheus(&text)).into_response()
    }
}

fn wants_openmetrics(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|media_type| media_type.trim().starts_with("application/openmetrics-text"))
}

/// Prometheus' own format describes a counter by its whole name, where OpenMetrics leaves `_total` away.
fn to_prometheus(openmetrics: &str) -> String {
    let counters: BTreeSet<&str> = openmetrics.lines().filter_map(counter_described_by).collect();
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF") {
        match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
            ["#", what, name, rest] if counters.contains(name) => {
                text.push_str(&format!("# {what} {name}_total {rest}"))
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

fn counter_described_by(line: &str) -> Option<&str> {
    line.strip_prefix("# TYPE ")?.strip_suffix(" counter")
}

#[derive(Debug)]
struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let process = ProcessSample::take();
        let mut gauge = |name, help, value: f64| write_gauge(&mut encoder, name, help, value);
        gauge("process_resident_memory_bytes", "Resident memory", process.memory as f64)?;
        gauge("process_threads", "Threads", process.threads as f64)?;
        gauge("process_open_fds", "File descriptors open", process.open_files as f64)?;
        let mut counter = |name, help, value: f64| write_counter(&mut encoder, name, help, value);
        counter("process_cpu_seconds", "CPU time, user and system", process.cpu_seconds)?;
        counter("process_context_switches", "Context switches of all threads", process.context_switches as f64)
    }
}

struct ReadGauge {
    name: &'static str,
    help: &'static str,
    read: Box<dyn Fn() -> f64 + Send + Sync>,
}

impl std::fmt::Debug for ReadGauge {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}

impl Collector for ReadGauge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        write_gauge(&mut encoder, self.name, self.help, (self.read)())
    }
}

fn write_gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> Result<(), std::fmt::Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

fn write_counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: f64,
) -> Result<(), std::fmt::Error> {
    let counter = ConstCounter::new(value);
    counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn scrape(accept: &str) -> (String, String) {
        let requests = RequestMetrics::default();
        requests.observe(Duration::from_millis(3), true);
        let metrics = Metrics::new(&requests);
        metrics.add_gauge("lab_things", "Things", || 7.0);
        let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().expect("a header"))]);
        let response = metrics.response(&headers);
        let media_type = response.headers()[CONTENT_TYPE].to_str().expect("text").to_owned();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        (media_type, String::from_utf8(body.to_vec()).expect("text"))
    }

    fn has(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "{line} is missing in\n{text}");
        }
    }

    #[tokio::test]
    async fn a_scrape_holds_requests_and_process() {
        let (media_type, text) = scrape("text/plain").await;
        assert!(media_type.starts_with("text/plain; version=0.0.4"), "{media_type}");
        has(
            &text,
            &[
                "# TYPE lab_requests_total counter",
                "# HELP lab_requests_total Requests answered.",
                "lab_requests_total 1",
                "lab_requests_failed_total 1",
                "# TYPE lab_request_duration_seconds histogram",
                "lab_request_duration_seconds_bucket{le=\"0.005\"} 1",
                "# TYPE process_cpu_seconds_total counter",
                "lab_things 7.0",
            ],
        );
        assert!(text.contains("\nprocess_cpu_seconds_total "), "{text}");
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
    }

    #[tokio::test]
    async fn who_asks_for_openmetrics_gets_it() {
        let (media_type, text) = scrape("text/plain;q=0.5, application/openmetrics-text;version=1.0.0").await;
        assert!(media_type.starts_with("application/openmetrics-text; version=1.0.0"), "{media_type}");
        has(&text, &["# TYPE lab_requests counter", "lab_requests_total 1", "# EOF"]);
    }
}
