//! Services that wait for processors and for their quota.

use std::collections::VecDeque;

use super::events::Time;

/// The period of a control group's quota, as Docker and the arena set it (`cpu.cfs_period_us`, `cpu.max`).
pub(super) const PERIOD: Time = 100_000_000;

/// All processors, and whose work is done on them.
pub(super) struct Stations<Work> {
    stations: Vec<Station<Work>>,
    processors: Vec<Processor>,
    /// Groups of processors on which something may have to begin.
    stirred: Vec<usize>,
}

/// What a station is asked to begin: tell [`Stations::done`] when it has taken its time.
pub(super) struct Begun<Work> {
    pub(super) station: usize,
    pub(super) work: Work,
    pub(super) ends: Time,
}

/// What a station used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    /// CPU time.
    pub(super) time: Time,
    /// Periods in which there was work and no quota left for it.
    pub(super) throttled: u64,
    /// How often it was woken.
    pub(super) woken: u64,
}

struct Station<Work> {
    processor: usize,
    /// How many pieces of work may be under way at once.
    width: usize,
    wake: Wake,
    quota: Option<Quota>,
    waiting: VecDeque<(Work, Time)>,
    under_way: usize,
    /// When it last had something to do.
    rests_since: Time,
    /// Whether it stands in its processor's line.
    in_line: bool,
    /// Whether somebody was told when its quota comes again.
    awaits_quota: bool,
    used: Used,
}

/// What it takes a station to go on after a pause: its memory has left the processor's caches, and the processor itself may
/// sleep. After a pause of `half` it is half of `most`.
#[derive(Clone, Copy, Default)]
pub(super) struct Wake {
    pub(super) most: Time,
    pub(super) half: Time,
}

/// CPU time that may be used in each period. What was used beyond it is taken from the next.
struct Quota {
    per_period: i64,
    left: i64,
    /// When the first period ended.
    phase: Time,
    /// Which one it is, by its number.
    period: u64,
}

struct Processor {
    free: usize,
    line: VecDeque<usize>,
}

impl<Work> Stations<Work> {
    /// So many processors in each group.
    pub(super) fn new(processors: impl IntoIterator<Item = usize>) -> Self {
        let processors = processors.into_iter().map(|free| Processor { free, line: VecDeque::new() }).collect();
        Self { stations: Vec::new(), processors, stirred: Vec::new() }
    }

    /// Adds a station to a group of processors. `cpus` is its quota, with periods that end at `phase` and from then on.
    pub(super) fn add(&mut self, processor: usize, width: usize, wake: Wake, cpus: Option<f64>, phase: Time) -> usize {
        let quota = cpus.map(|cpus| {
            let per_period = (cpus * PERIOD as f64) as i64;
            Quota { per_period, left: per_period, phase, period: 0 }
        });
        self.stations.push(Station {
            processor,
            width,
            wake,
            quota,
            waiting: VecDeque::new(),
            under_way: 0,
            rests_since: 0,
            in_line: false,
            awaits_quota: false,
            used: Used::default(),
        });
        self.stations.len() - 1
    }

    /// A piece of work arrives at `now` that takes `time`.
    pub(super) fn arrive(&mut self, now: Time, station: usize, work: Work, time: Time) {
        let there = &mut self.stations[station];
        let is_asleep = there.under_way == 0 && there.waiting.is_empty();
        let wake = if is_asleep { there.wake.after(now - there.rests_since) } else { 0 };
        there.used.woken += u64::from(is_asleep);
        there.waiting.push_back((work, time + wake));
        self.stand_in_line(station);
    }

    /// A piece of work is done.
    pub(super) fn done(&mut self, now: Time, station: usize) {
        self.stations[station].under_way -= 1;
        self.stations[station].rests_since = now;
        self.processors[self.stations[station].processor].free += 1;
        self.stand_in_line(station);
    }

    /// A new period of a station has begun.
    pub(super) fn refilled(&mut self, station: usize) {
        self.stations[station].awaits_quota = false;
        self.stand_in_line(station);
    }

    /// Begins what can be begun at `now`; whoever has no quota left stands in `dry` with the time of its next one.
    pub(super) fn begin(&mut self, now: Time, dry: &mut Vec<(usize, Time)>) -> Option<Begun<Work>> {
        while let Some(stirred) = self.stirred.last() {
            let processor = &mut self.processors[*stirred];
            while processor.free > 0 {
                let Some(index) = processor.line.pop_front() else { break };
                let station = &mut self.stations[index];
                station.in_line = false;
                if let Some(next) = station.dry_until(now) {
                    station.used.throttled += 1;
                    station.awaits_quota = true;
                    dry.push((index, next));
                    continue;
                }
                let Some((work, time)) = station.waiting.pop_front() else { continue };
                processor.free -= 1;
                station.under_way += 1;
                station.spend(time);
                if station.may_begin() {
                    station.in_line = true;
                    processor.line.push_back(index);
                }
                return Some(Begun { station: index, work, ends: now + time });
            }
            self.stirred.pop();
        }
        None
    }

    /// Something beside a station's work takes `time` of its quota at `now`.
    pub(super) fn spend(&mut self, now: Time, station: usize, time: Time) {
        let station = &mut self.stations[station];
        if let Some(quota) = &mut station.quota {
            quota.renew(now);
        }
        station.spend(time);
    }

    /// What a station has used.
    pub(super) fn used(&self, station: usize) -> Used {
        self.stations[station].used
    }

    fn stand_in_line(&mut self, index: usize) {
        let station = &mut self.stations[index];
        if self.stirred.last() != Some(&station.processor) {
            self.stirred.push(station.processor);
        }
        if !station.in_line && station.may_begin() {
            station.in_line = true;
            self.processors[station.processor].line.push_back(index);
        }
    }
}

impl Wake {
    fn after(self, pause: Time) -> Time {
        let share = pause as f64 / (pause + self.half).max(1) as f64;
        (self.most as f64 * share) as Time
    }
}

impl<Work> Station<Work> {
    fn may_begin(&self) -> bool {
        !self.waiting.is_empty() && self.under_way < self.width && !self.awaits_quota
    }

    /// The end of the period, where the quota is used up.
    fn dry_until(&mut self, now: Time) -> Option<Time> {
        let quota = self.quota.as_mut()?;
        quota.renew(now);
        (quota.left <= 0).then_some(quota.phase + quota.period * PERIOD)
    }

    fn spend(&mut self, time: Time) {
        self.used.time += time;
        if let Some(quota) = &mut self.quota {
            quota.left -= i64::try_from(time).unwrap_or(i64::MAX);
        }
    }
}

impl Quota {
    /// Takes what the periods that have begun since bring.
    fn renew(&mut self, now: Time) {
        let period = (now + PERIOD - self.phase) / PERIOD;
        let missed = i64::try_from(period - self.period).unwrap_or(i64::MAX);
        self.left = self.left.saturating_add(self.per_period.saturating_mul(missed)).min(self.per_period);
        self.period = period;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Time = 1_000_000;

    /// When each piece of work ends, told by its name.
    fn run(stations: &mut Stations<&'static str>, mut now: Time) -> Vec<(&'static str, Time)> {
        let (mut ended, mut under_way, mut refills) = (Vec::new(), Vec::<Begun<_>>::new(), Vec::new());
        loop {
            while let Some(begun) = stations.begin(now, &mut refills) {
                under_way.push(begun);
            }
            under_way.sort_by_key(|begun| begun.ends);
            refills.sort_by_key(|(_, time)| *time);
            let refill =
                refills.first().copied().filter(|(_, time)| under_way.first().is_none_or(|one| *time < one.ends));
            if let Some((station, time)) = refill {
                refills.remove(0);
                now = time;
                stations.refilled(station);
            } else if !under_way.is_empty() {
                let begun = under_way.remove(0);
                now = begun.ends;
                stations.done(now, begun.station);
                ended.push((begun.work, now));
            } else {
                return ended;
            }
        }
    }

    #[test]
    fn a_quota_stops_a_station_until_its_next_period() {
        let mut stations = Stations::new([1]);
        let station = stations.add(0, 1, Wake { most: 2 * MS, half: 10 * MS }, Some(0.05), 30 * MS);
        for work in ["a", "b", "c", "d"] {
            stations.arrive(10 * MS, station, work, 3 * MS);
        }
        // Woken once, which takes 1 ms, and 5 ms a period: the second is begun with 1 ms left, and its debt is the next period's.
        assert_eq!(run(&mut stations, 10 * MS), [("a", 14 * MS), ("b", 17 * MS), ("c", 33 * MS), ("d", 133 * MS)]);
        assert_eq!((stations.used(station).time, stations.used(station).throttled), (13 * MS, 2));
    }

    #[test]
    fn what_is_spent_beside_the_work_is_missing_in_its_quota() {
        let mut stations = Stations::new([1]);
        let station = stations.add(0, 1, Wake::default(), Some(0.05), 0);
        stations.spend(210 * MS, station, 4 * MS);
        for work in ["a", "b"] {
            stations.arrive(210 * MS, station, work, 3 * MS);
        }
        assert_eq!(run(&mut stations, 210 * MS), [("a", 213 * MS), ("b", 303 * MS)]);
    }

    #[test]
    fn stations_take_turns_on_a_processor_and_run_side_by_side_on_two() {
        for (processors, ends) in [(1, [3, 6, 9, 12]), (2, [3, 3, 6, 6])] {
            let mut stations = Stations::new([processors]);
            for _ in 0..2 {
                let station = stations.add(0, 1, Wake::default(), None, 0);
                stations.arrive(0, station, "first", 3 * MS);
                stations.arrive(0, station, "second", 3 * MS);
            }
            let ended: Vec<Time> = run(&mut stations, 0).into_iter().map(|(_, time)| time / MS).collect();
            assert_eq!(ended, ends);
        }
    }
}
