//! The load tools, and what they say.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::stack::prerequisites::{self, Tool};

/// What a load tool measured. Times in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    pub requests: f64,
    pub failed: f64,
    pub rate: f64,
    pub mean: f64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub seconds: f64,
}

/// Runs a k6 script; `points`, where given, is the file for every single measurement.
pub(super) fn k6(script: &Path, settings: &[(&str, String)], points: Option<&Path>) -> anyhow::Result<Load> {
    let folder = tempfile::tempdir()?;
    let summary = folder.path().join("summary.json");
    let mut command = Command::new(prerequisites::find(Tool::K6)?);
    command.args(["run", "--quiet", "--no-usage-report", "--summary-trend-stats", "avg,med,p(95),p(99)"]);
    command.arg("--summary-export").arg(&summary);
    for (name, value) in settings {
        command.arg("--env").arg(format!("{name}={value}"));
    }
    if let Some(points) = points {
        command.arg("--out").arg(format!("json={}", points.display()));
    }
    let output = command.arg(script).output().context("starting k6")?;
    // 99 says that a check failed, which the summary tells better.
    let ran = output.status.success() || output.status.code() == Some(99);
    ensure!(ran, "k6 failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    read_summary(&std::fs::read_to_string(&summary).context("k6 left no summary")?)
}

/// Runs `ab` with keep-alive.
pub(super) fn ab(url: &str, requests: u32, concurrency: u32) -> anyhow::Result<Load> {
    let output = Command::new(prerequisites::find(Tool::Ab)?)
        .args(["-q", "-k", "-n", &requests.to_string(), "-c", &concurrency.to_string(), url])
        .output()
        .context("starting ab")?;
    ensure!(output.status.success(), "ab failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    read_ab(&String::from_utf8_lossy(&output.stdout))
}

#[derive(Deserialize)]
struct Summary {
    metrics: Metrics,
}

#[derive(Deserialize)]
struct Metrics {
    checks: Option<Checks>,
    http_reqs: Option<Requests>,
    http_req_duration: Duration,
}

#[derive(Deserialize)]
struct Checks {
    fails: f64,
}

#[derive(Deserialize)]
struct Requests {
    count: f64,
    rate: f64,
}

#[derive(Deserialize)]
struct Duration {
    avg: f64,
    med: f64,
    #[serde(rename = "p(95)")]
    p95: f64,
    #[serde(rename = "p(99)")]
    p99: f64,
}

fn read_summary(text: &str) -> anyhow::Result<Load> {
    let Metrics { checks, http_reqs, http_req_duration: times } =
        serde_json::from_str::<Summary>(text).context("k6's summary")?.metrics;
    let requests = http_reqs.unwrap_or(Requests { count: 0.0, rate: 0.0 });
    Ok(Load {
        requests: requests.count,
        failed: checks.map_or(0.0, |checks| checks.fails),
        rate: requests.rate,
        mean: times.avg,
        p50: times.med,
        p95: times.p95,
        p99: times.p99,
        seconds: if requests.rate > 0.0 { requests.count / requests.rate } else { 0.0 },
    })
}

fn read_ab(text: &str) -> anyhow::Result<Load> {
    let after = |name: &str| {
        text.lines().find_map(|line| line.trim().strip_prefix(name)?.split_whitespace().next()?.parse::<f64>().ok())
    };
    let needed = |name: &str| after(name).with_context(|| format!("ab says nothing about `{name}`"));
    // Answers of another length count as failed too, and are among the answers that are not 2xx.
    let refused = after("Non-2xx responses:").unwrap_or(0.0);
    let lost = ["Connect:", "Receive:", "Exceptions:"].iter().filter_map(|name| detail(text, name)).sum::<f64>();
    Ok(Load {
        requests: needed("Complete requests:")?,
        failed: refused + lost,
        rate: needed("Requests per second:")?,
        mean: needed("Time per request:")?,
        p50: needed("50%")?,
        p95: needed("95%")?,
        p99: needed("99%")?,
        seconds: needed("Time taken for tests:")?,
    })
}

/// A number of the line `(Connect: 0, Receive: 0, Length: 0, Exceptions: 0)`.
fn detail(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.trim().starts_with("(Connect:"))?;
    let (_, rest) = line.split_once(name)?;
    rest.trim_start().split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ab() {
        let text = "Time taken for tests:   2.500 seconds\nComplete requests:      3000\nFailed requests:        12\n   \
            (Connect: 0, Receive: 1, Length: 11, Exceptions: 0)\nNon-2xx responses:      11\n\
            Requests per second:    1200.00 [#/sec] (mean)\nTime per request:       41.667 [ms] (mean)\n\
            Time per request:       0.833 [ms] (mean, across all concurrent requests)\n  50%    40\n  95%    50\n  99%    60\n";
        let load = read_ab(text).unwrap();
        assert_eq!(
            load,
            Load {
                requests: 3000.0,
                failed: 12.0,
                rate: 1200.0,
                mean: 41.667,
                p50: 40.0,
                p95: 50.0,
                p99: 60.0,
                seconds: 2.5
            }
        );
        assert!(read_ab("nothing").is_err());
    }

    #[test]
    fn reads_a_summary_of_k6() {
        let text = r#"{"metrics":{"checks":{"fails":2,"passes":98,"value":0.98},"http_reqs":{"count":100,"rate":20},
            "http_req_duration":{"avg":3.0,"med":2.0,"p(95)":6.0,"p(99)":9.0}}}"#;
        let load = read_summary(text).unwrap();
        assert_eq!(
            load,
            Load { requests: 100.0, failed: 2.0, rate: 20.0, mean: 3.0, p50: 2.0, p95: 6.0, p99: 9.0, seconds: 5.0 }
        );
    }
}
