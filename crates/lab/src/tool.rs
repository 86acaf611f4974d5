//! What a load tool printed about a run, as somebody pasted it.

/// Figures of the output of `ab` or k6, by the names that outcomes have; times in milliseconds. Empty where neither is
/// recognized.
pub fn read(text: &str) -> Vec<(&'static str, f64)> {
    let figures = if text.contains("http_req_duration") { k6(text) } else { ab(text) };
    figures.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn ab(text: &str) -> Vec<(&'static str, Option<f64>)> {
    let after = |name: &str| text.lines().find_map(|line| number(line.trim().strip_prefix(name)?));
    let requests = after("Complete requests:");
    vec![
        ("requests", requests),
        // Answers of another length are none of them failed; those that are not 2xx are.
        ("failed", requests.map(|_| after("Non-2xx responses:").unwrap_or(0.0))),
        ("rate", after("Requests per second:")),
        ("mean", after("Time per request:")),
        ("p50", after("50%")),
        ("p95", after("95%")),
        ("p99", after("99%")),
        ("max", after("100%")),
        ("seconds", after("Time taken for tests:")),
    ]
}

/// k6 writes a summary of lines like `http_req_duration.......: avg=1.2ms min=400µs med=1ms max=9ms p(90)=2ms p(95)=3ms`.
fn k6(text: &str) -> Vec<(&'static str, Option<f64>)> {
    let line = |name: &str| text.lines().map(str::trim_start).find(|line| line.starts_with(name)).unwrap_or_default();
    let durations = line("http_req_duration");
    let time = |name: &str| {
        durations.split_whitespace().find_map(|word| milliseconds(word.strip_prefix(name)?.strip_prefix('=')?))
    };
    let requests = line("http_reqs").split_once(": ").map_or("", |(_, rest)| rest);
    let failed = line("http_req_failed").split_whitespace().find_map(|word| word.parse().ok());
    let failed = failed.or_else(|| line("http_req_failed").split_once("% ").and_then(|(_, rest)| number(rest)));
    vec![
        ("requests", number(requests)),
        ("failed", failed),
        ("rate", requests.split_whitespace().nth(1).and_then(|rate| number(rate.trim_end_matches("/s")))),
        ("mean", time("avg")),
        ("p50", time("med")),
        ("p95", time("p(95)")),
        ("p99", time("p(99)")),
        ("max", time("max")),
    ]
}

/// The number that a text begins with.
fn number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A duration as k6 writes it: `1m2.5s`, `3.4ms`, `850µs`.
fn milliseconds(text: &str) -> Option<f64> {
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, behind) = rest.split_at(digits);
        let unit = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let factor = match unit {
            "ns" => 1e-6,
            "µs" | "us" => 1e-3,
            "ms" => 1.0,
            "s" => 1e3,
            "m" => 60e3,
            "h" => 3_600e3,
            _ => return None,
        };
        total += value.parse::<f64>().ok()? * factor;
        rest = behind;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(text: &str, name: &str) -> Option<f64> {
        read(text).into_iter().find(|(figure, _)| *figure == name).map(|(_, value)| value)
    }

    #[test]
    fn reads_ab() {
        let text = "Time taken for tests:   30.632 seconds\nComplete requests:      3000\nFailed requests:        12\n\
            Non-2xx responses:      11\nRequests per second:    97.94 [#/sec] (mean)\n\
            Time per request:       510.5 [ms] (mean)\nTime per request:       10.2 [ms] (mean, across all concurrent requests)\n\
            \n  50%    502\n  95%    503\n  99%    505\n 100%    511 (longest request)\n";
        for (name, value) in [
            ("requests", 3000.0),
            ("failed", 11.0),
            ("rate", 97.94),
            ("mean", 510.5),
            ("p50", 502.0),
            ("p99", 505.0),
            ("max", 511.0),
            ("seconds", 30.632),
        ] {
            assert_eq!(figure(text, name), Some(value), "{name}");
        }
    }

    #[test]
    fn reads_k6() {
        let text = "  http_req_duration..............: avg=1.64ms min=850µs med=1.2ms max=1m2.5s p(90)=2ms p(95)=3.1ms\n\
            http_req_failed................: 0.40%  4 out of 1000\n    http_reqs......................: 1000 66.6/s\n";
        for (name, value) in [
            ("mean", 1.64),
            ("p50", 1.2),
            ("p95", 3.1),
            ("max", 62_500.0),
            ("requests", 1000.0),
            ("rate", 66.6),
            ("failed", 4.0),
        ] {
            assert_eq!(figure(text, name), Some(value), "{name}");
        }
        assert_eq!(figure(text, "p99"), None);
    }

    #[test]
    fn reads_nothing_else() {
        assert!(read("").is_empty() && read("<script>alert(1)</script>").is_empty());
    }
}
