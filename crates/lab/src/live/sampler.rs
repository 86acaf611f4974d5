//! What the pages show, as one JSON object per sample.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::hub::{Hub, Sample};
use super::own_process::ProcessSample;
use super::recorder::{Recorder, Window};

/// How often the pages get new figures.
const PERIOD: Duration = Duration::from_millis(250);

/// Intervals in the sliding window of the live rates and percentiles: one second.
const WINDOW: usize = 4;

/// Named figures of an experiment, beside those that every process has.
pub type Figures = Vec<(&'static str, f64)>;

/// What is particular to one experiment.
pub trait Subject: Send + Sync + 'static {
    /// Figures of this moment; NaN where they are not known.
    fn gauges(&self) -> BoxFuture<'_, Figures>;
}

/// The hub whose messages hold all figures of the process and of `subject`.
pub fn hub(recorder: Arc<Recorder>, subject: Arc<dyn Subject>, shutdown: CancellationToken) -> Arc<Hub> {
    Hub::new(PERIOD, shutdown, move || {
        Box::new(Sampler {
            recorder: recorder.clone(),
            subject: subject.clone(),
            window: Window::default(),
            before: VecDeque::from([Before::now(&recorder)]),
        })
    })
}

/// Figures of this moment that every process has.
pub fn moment(recorder: &Recorder, process: &ProcessSample) -> [(&'static str, f64); 4] {
    [
        ("in_flight", recorder.in_flight() as f64),
        ("memory", process.memory as f64 / 1e6),
        ("threads", process.threads as f64),
        ("tasks", tokio::runtime::Handle::current().metrics().num_alive_tasks() as f64),
    ]
}

struct Sampler {
    recorder: Arc<Recorder>,
    subject: Arc<dyn Subject>,
    window: Window,
    before: VecDeque<Before>,
}

struct Before {
    at: Instant,
    answered: u64,
    failed: u64,
    process: ProcessSample,
}

impl Before {
    fn now(recorder: &Recorder) -> Self {
        let interval = recorder.take_interval();
        Self {
            at: Instant::now(),
            answered: interval.answered,
            failed: interval.failed,
            process: ProcessSample::take(),
        }
    }
}

impl Sample for Sampler {
    fn sample(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async {
            let mut figures = self.measure();
            for (name, value) in self.subject.gauges().await {
                figures.insert(name.into(), json!(value));
            }
            figures.insert("run".into(), json!(self.recorder.outcome()));
            Some(Value::Object(figures).to_string())
        })
    }
}

impl Sampler {
    fn measure(&mut self) -> Map<String, Value> {
        let interval = self.recorder.take_interval();
        let (p50, p99) = self.window.add(interval.latencies, WINDOW);
        let now = Before {
            at: Instant::now(),
            answered: interval.answered,
            failed: interval.failed,
            process: ProcessSample::take(),
        };
        let before = self.before.front().unwrap_or(&now);
        let seconds = (now.at - before.at).as_secs_f64().max(0.001);
        let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;

        let mut figures: Map<String, Value> =
            moment(&self.recorder, &now.process).map(|(name, value)| (name.into(), json!(value))).into_iter().collect();
        let rates = json!({
            "rate": per_second(now.answered, before.answered),
            "failed_rate": per_second(now.failed, before.failed),
            "p50": p50,
            "p99": p99,
            "cpu": (now.process.cpu_seconds - before.process.cpu_seconds) / seconds * 100.0,
            "switches": per_second(now.process.context_switches, before.process.context_switches),
        });

        self.before.push_back(now);
        if self.before.len() > WINDOW {
            self.before.pop_front();
        }
        if let Value::Object(rates) = rates {
            figures.extend(rates);
        }
        figures
    }
}
