//! Response times by percentile, from the shortest to the slowest request.

use super::chart::Across;
use crate::record::histogram;
use crate::record::run::Requests;

/// Percentiles below the tail; those beyond come one decade after another.
const BODY: [f64; 12] = [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 75.0, 80.0, 90.0, 95.0, 97.5];

/// What stands at each percentile of a tail's decade, as parts of what is left to 100.
const DECADE: [f64; 3] = [1.0, 0.5, 0.25];

/// Percentiles to show of the largest of several counts: a tail of one request is the last that means anything.
pub(super) fn percentiles(count: u64) -> Vec<f64> {
    let decades = (0..).map(|decade| 10f64.powi(-decade));
    let tail = decades.flat_map(|left| DECADE.map(|part| left * part));
    let holds_a_request = |left: &f64| left / 100.0 * count as f64 >= 1.0;
    BODY.into_iter().chain(tail.take_while(holds_a_request).map(|left| 100.0 - left)).chain([100.0]).collect()
}

/// The axis of those percentiles: each decade of what is left to 100 is as wide as any other.
pub(super) fn across(percentiles: &[f64]) -> Across {
    let nearest = percentiles.iter().rev().find(|percentile| **percentile < 100.0).copied().unwrap_or_default();
    // The slowest of all stands half a step behind the last percentile.
    let end = decades(nearest) + 0.3;
    let position = |percentile: f64| if percentile >= 100.0 { 1.0 } else { decades(percentile) / end };
    let named = [50.0, 90.0, 99.0, 99.9, 99.99, 99.999];
    let shown = |percentile: &f64| *percentile <= nearest + 1e-9;
    let mut ticks: Vec<(f64, String)> =
        named.into_iter().filter(shown).map(|percentile| (position(percentile), format!("{percentile} %"))).collect();
    ticks.push((1.0, "max".to_owned()));
    Across {
        heading: "Percentile",
        points: percentiles.iter().map(|percentile| name(*percentile)).collect(),
        positions: percentiles.iter().map(|percentile| position(*percentile)).collect(),
        ticks,
    }
}

/// The response time at each of `percentiles`, in milliseconds: from the histogram where the run has one that can be
/// read, else only where the run's own percentiles stand.
pub(super) fn times(requests: &Requests, percentiles: &[f64]) -> Vec<Option<f64>> {
    if requests.count == 0 {
        return vec![None; percentiles.len()];
    }
    let histogram = requests.histogram.as_deref().and_then(|text| histogram::decode(text).ok());
    let histogram = histogram.filter(|histogram| !histogram.is_empty());
    let known = &requests.response;
    let at = |percentile: f64| match &histogram {
        Some(histogram) => Some(histogram.value_at_quantile(percentile / 100.0) as f64 / 1000.0),
        None if percentile == 50.0 => Some(known.p50),
        None if percentile == 75.0 => Some(known.p75),
        None if percentile == 95.0 => Some(known.p95),
        None if percentile == 99.0 => Some(known.p99),
        None if percentile == 100.0 => Some(known.max),
        None => None,
    };
    percentiles.iter().map(|percentile| at(*percentile)).collect()
}

fn decades(percentile: f64) -> f64 {
    -((100.0 - percentile) / 100.0).log10()
}

fn name(percentile: f64) -> String {
    if percentile >= 100.0 { "max".to_owned() } else { format!("{} %", (percentile * 1e6).round() / 1e6) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::run::Percentiles;

    #[test]
    fn the_tail_ends_where_single_requests_stand() {
        assert_eq!(percentiles(0).last(), Some(&100.0));
        assert_eq!(percentiles(10)[percentiles(10).len() - 2], 97.5);
        assert!(percentiles(1_000).contains(&99.9) && percentiles(1_000).iter().all(|at| *at <= 99.9 || *at == 100.0));
    }

    #[test]
    fn without_a_histogram_only_what_the_run_says_is_shown() {
        let response = Percentiles { mean: 2.0, p50: 1.0, p75: 2.0, p95: 3.0, p99: 4.0, max: 5.0 };
        let mut requests = Requests {
            kind: "create".into(),
            count: 1_000,
            failures: Default::default(),
            statuses: Default::default(),
            response,
            service: None,
            histogram: None,
        };
        let shown =
            |requests: &Requests| -> Vec<f64> { times(requests, &percentiles(1_000)).into_iter().flatten().collect() };
        assert_eq!(shown(&requests), [1.0, 2.0, 3.0, 4.0, 5.0]);
        requests.histogram = Some("not base64 !".into());
        assert_eq!(shown(&requests), [1.0, 2.0, 3.0, 4.0, 5.0]);
        requests.count = 0;
        assert!(shown(&requests).is_empty());
    }
}
