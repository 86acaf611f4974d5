//! What each fault did to those who asked meanwhile, and how long it was until they were served again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Fault, History, Request};

/// The kinds of requests that must all be served again.
pub const KINDS: [&str; 4] = ["create", "fetch", "search", "count"];

/// What one fault did. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The fault.
    pub name: String,
    /// Requests that failed, of those sent from its beginning to that of the next one, and of those under way when it began.
    pub failed: usize,
    /// The longest of these requests.
    pub slowest_ms: f64,
    /// From its end until the process that it concerned was there again, ready.
    pub back_ms: Option<f64>,
    /// From its end until each kind of request was answered well, sent from then on, with none sent later that failed.
    /// None where that never came.
    pub served_ms: Option<f64>,
    /// The longest time in which no create was acknowledged.
    #[serde(default)]
    pub without_writes_ms: f64,
    /// The longest time in which no fetch, search or count was answered well.
    #[serde(default)]
    pub without_reads_ms: f64,
}

/// What all faults of one name did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The name.
    pub name: String,
    /// How often it was brought about.
    pub times: usize,
    /// After how many of them the service came back.
    pub recovered: usize,
    /// Requests that failed, over all.
    pub failed: usize,
    /// The longest request, in milliseconds.
    pub slowest_ms: f64,
    /// Median and longest of [`Effect::back_ms`].
    pub back_ms: Option<[f64; 2]>,
    /// Median and longest of [`Effect::served_ms`].
    pub served_ms: Option<[f64; 2]>,
    /// Median and longest of [`Effect::without_writes_ms`].
    #[serde(default)]
    pub without_writes_ms: Option<[f64; 2]>,
    /// Median and longest of [`Effect::without_reads_ms`].
    #[serde(default)]
    pub without_reads_ms: Option<[f64; 2]>,
}

/// What each fault did, in order.
pub fn effects(history: &History) -> Vec<Effect> {
    let faults = &history.faults;
    let mut concerned: Vec<Vec<&Request>> = vec![Vec::new(); faults.len()];
    for request in &history.requests {
        if let Some(requests) = cause(faults, request).and_then(|nth| concerned.get_mut(nth)) {
            requests.push(request);
        }
    }
    faults.iter().zip(&concerned).map(|(fault, requests)| effect(fault, requests)).collect()
}

/// Which fault a request tells of: the last that had begun when it was sent; or the next one, if it was under way when that
/// began, and sent when the last was over.
fn cause(faults: &[Fault], request: &Request) -> Option<usize> {
    let next = faults.partition_point(|fault| fault.begin <= request.begin);
    let last = next.checked_sub(1);
    let over = |fault: &Fault| request.begin >= fault.back.unwrap_or(fault.end);
    let is_under_way = faults.get(next).is_some_and(|fault| fault.begin <= request.end);
    if is_under_way && last.is_none_or(|last| over(&faults[last])) { Some(next) } else { last }
}

fn effect(fault: &Fault, since: &[&Request]) -> Effect {
    let slowest = since.iter().map(|request| request.end - request.begin).max().unwrap_or_default();
    let served: Option<Vec<u64>> = KINDS.iter().map(|kind| served(fault, &of_kind(since, kind))).collect();
    let from_end = |moment: u64| moment.saturating_sub(fault.end) as f64 / 1e3;
    Effect {
        name: fault.name.clone(),
        failed: since.iter().filter(|request| request.failed()).count(),
        slowest_ms: slowest as f64 / 1e3,
        back_ms: fault.back.map(from_end),
        served_ms: served.and_then(|moments| moments.into_iter().max()).map(from_end),
        without_writes_ms: longest_wait(fault, since.iter().filter(|request| request.status == Some(201))),
        without_reads_ms: longest_wait(
            fault,
            since.iter().filter(|request| request.asked.kind() != "create" && !request.failed()),
        ),
    }
}

/// The longest time without one of these answers, from the fault's beginning on, in milliseconds.
fn longest_wait<'a>(fault: &Fault, answered: impl Iterator<Item = &'a &'a Request>) -> f64 {
    let mut moments: Vec<u64> = answered.map(|request| request.end.max(fault.begin)).collect();
    moments.push(fault.begin);
    moments.sort_unstable();
    let longest = moments.windows(2).map(|pair| pair[1] - pair[0]).max();
    longest.unwrap_or_default() as f64 / 1e3
}

fn of_kind<'a>(requests: &[&'a Request], kind: &str) -> Vec<&'a Request> {
    requests.iter().copied().filter(|request| request.asked.kind() == kind).collect()
}

/// When a request was first answered well that was sent behind the fault's end and all that failed.
fn served(fault: &Fault, requests: &[&Request]) -> Option<u64> {
    let last_failure = requests.iter().filter(|request| request.failed()).map(|request| request.begin).max();
    let from = last_failure.map_or(fault.end, |begin| begin.max(fault.end));
    requests.iter().filter(|request| request.begin >= from && !request.failed()).map(|request| request.end).min()
}

/// The same by name.
pub fn summaries(effects: &[Effect]) -> Vec<Summary> {
    let mut by_name: BTreeMap<&str, Vec<&Effect>> = BTreeMap::new();
    for effect in effects {
        by_name.entry(&effect.name).or_default().push(effect);
    }
    by_name.into_iter().map(|(name, effects)| summary(name, &effects)).collect()
}

fn summary(name: &str, effects: &[&Effect]) -> Summary {
    let slowest = effects.iter().map(|effect| effect.slowest_ms).fold(0.0, f64::max);
    Summary {
        name: name.to_owned(),
        times: effects.len(),
        recovered: effects.iter().filter(|effect| effect.served_ms.is_some()).count(),
        failed: effects.iter().map(|effect| effect.failed).sum(),
        slowest_ms: slowest,
        back_ms: median_and_longest(effects.iter().filter_map(|effect| effect.back_ms).collect()),
        served_ms: median_and_longest(effects.iter().filter_map(|effect| effect.served_ms).collect()),
        without_writes_ms: median_and_longest(effects.iter().map(|effect| effect.without_writes_ms).collect()),
        without_reads_ms: median_and_longest(effects.iter().map(|effect| effect.without_reads_ms).collect()),
    }
}

fn median_and_longest(mut times: Vec<f64>) -> Option<[f64; 2]> {
    times.sort_by(f64::total_cmp);
    Some([*times.get(times.len() / 2)?, *times.last()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::torment::{Asked, Details};

    fn request(asked: Asked, begin: u64, end: u64, status: Option<u16>) -> Request {
        Request { client: 0, begin, end, asked, status, said: None }
    }

    fn all_kinds(begin: u64, end: u64, status: Option<u16>) -> Vec<Request> {
        let details = Details { nickname: "n".into(), fullname: "f".into(), dob: "2000-01-01".into(), stack: None };
        let asked = [Asked::Create(details), Asked::Fetch("1".into()), Asked::Search("s".into()), Asked::Count];
        asked.map(|asked| request(asked, begin, end, status)).into()
    }

    #[test]
    fn served_again_is_who_asks_behind_the_last_failure() {
        let fault = Fault { name: "kill-db".into(), begin: 1_000_000, end: 1_000_000, back: Some(1_200_000) };
        let requests = [
            all_kinds(900_000, 950_000, Some(200)),
            all_kinds(1_100_000, 1_150_000, Some(200)),
            all_kinds(1_300_000, 6_300_000, Some(503)),
            all_kinds(1_250_000, 1_500_000, Some(200)),
            all_kinds(1_400_000, 1_450_000, Some(200)),
        ]
        .concat();
        let effect = effect(&fault, &requests.iter().collect::<Vec<_>>());
        assert_eq!((effect.failed, effect.slowest_ms), (4, 5_000.0));
        assert_eq!((effect.back_ms, effect.served_ms), (Some(200.0), Some(450.0)));
    }

    #[test]
    fn the_time_without_an_answer_begins_with_the_fault_and_knows_writes_from_reads() {
        let fault = Fault { name: "kill-primary".into(), begin: 1_000_000, end: 2_000_000, back: None };
        let mut requests = all_kinds(900_000, 1_100_000, Some(200));
        requests.extend(all_kinds(1_200_000, 6_200_000, Some(503)));
        requests.extend(all_kinds(4_000_000, 4_100_000, Some(200)));
        requests[0].status = Some(201);
        requests.extend(all_kinds(6_300_000, 6_400_000, Some(201)));
        let effect = effect(&fault, &requests.iter().collect::<Vec<_>>());
        assert_eq!((effect.without_writes_ms, effect.without_reads_ms), (5_300.0, 3_000.0));
    }

    #[test]
    fn who_is_never_served_again_has_not_recovered() {
        let fault = Fault { name: "kill-db".into(), begin: 0, end: 0, back: None };
        let mut requests = all_kinds(1, 2, Some(200));
        let all_well = effect(&fault, &requests.iter().collect::<Vec<_>>());
        requests.push(request(Asked::Count, 3, 4, None));
        let effects = [effect(&fault, &requests.iter().collect::<Vec<_>>()), all_well];
        assert_eq!([effects[0].served_ms, effects[1].served_ms], [None, Some(0.002)]);
        let summary = &summaries(&effects)[0];
        assert_eq!((summary.times, summary.recovered, summary.failed, summary.back_ms), (2, 1, 1, None));
    }

    #[test]
    fn who_is_under_way_when_a_fault_begins_tells_of_it_once_the_last_is_over() {
        let fault = |begin, end, back| Fault { name: "f".into(), begin, end, back };
        let faults = [fault(100, 100, Some(150)), fault(300, 400, None), fault(600, 600, None)];
        let cause = |begin, end| cause(&faults, &request(Asked::Count, begin, end, None));
        assert_eq!([cause(10, 20), cause(10, 100), cause(99, 700)], [None, Some(0), Some(0)]);
        assert_eq!([cause(100, 110), cause(120, 310), cause(160, 310)], [Some(0), Some(0), Some(1)]);
        assert_eq!([cause(350, 650), cause(450, 650), cause(600, 601)], [Some(1), Some(2), Some(2)]);
    }
}
