//! The way of requests through the stack, as the contender's code has it (`docs/ARCHITECTURE.md`).

use anyhow::Context;
use hdrhistogram::Histogram;

use crate::load::driver::schedule::{Arrival, Kind};
use crate::load::payloads::random::Random;

use super::costs::Costs;
use super::events::{Events, Time, micros};
use super::instance::{Instance, RequestId};
use super::layout::Layout;
use super::outcome::{Outcome, Service};
use super::stations::{PERIOD, Stations, Wake};

/// Between two looks of an instance that nobody asks for one, as in `src/store/follow.rs`.
const PULSE: Time = 250_000_000;

/// Between two times that a database clears its log's buffers.
const CLEARING: Time = 5_000_000_000;

/// After its 201 a user waits 1 to 30 ms, as the event's do.
const PAUSE_MS: (u64, u64) = (1, 30);

/// Response times above this, in microseconds, are told as this.
const LONGEST: u64 = 600_000_000;

/// Plays a load through, until the last answer.
///
/// # Errors
///
/// None that a layout with at least one of everything can cause; the library of histograms reports them as errors.
pub fn simulate(
    costs: &Costs,
    layout: &Layout,
    load: impl Iterator<Item = Arrival>,
    seconds: f64,
    seed: u64,
) -> anyhow::Result<Outcome> {
    let mut simulation = Simulation::new(costs, layout, Random::new(seed), seconds)?;
    simulation.run(load);
    Ok(simulation.outcome)
}

/// What happens.
enum Event {
    /// A station has done a piece of work.
    Done(usize, Work),
    /// A station's next period begins.
    Refill(usize),
    /// Work of so much time reaches a station from another machine.
    Reach(usize, Work, Time),
    /// The group of an instance is on the disk.
    Committed(usize),
    /// Who created a person fetches it.
    Fetch(RequestId),
    /// An instance looks by itself, if it has not looked meanwhile.
    Pulse(usize),
    /// A processor of this station stands still.
    Stall(usize),
    /// A machine's database clears its log's buffers.
    Clear(usize),
}

/// A piece of work, by what is done when it is.
#[derive(Clone, Copy)]
enum Work {
    /// nginx has read a request.
    Taken(RequestId),
    /// An instance has read it.
    Read(RequestId),
    /// An instance has sent its group to the database.
    GroupSent(usize),
    /// The database has written it.
    GroupWritten(usize),
    /// The instance has read the database's answer.
    GroupTold(usize),
    /// An instance has asked for a look.
    LookSent(usize),
    /// The database has looked.
    Looked(usize),
    /// The instance has read what the look found.
    Learnt(usize),
    /// An instance of another machine has read that it is to search.
    Asked(RequestId, usize),
    /// An instance has searched its people.
    Searched(RequestId, usize),
    /// The instance that was asked first has what another one found.
    Merged(RequestId),
    /// nginx has handed the answer on.
    Given(RequestId),
    /// A processor goes on.
    Stalled,
}

struct Request {
    kind: Kind,
    arrived: Time,
    machine: usize,
    proxy: usize,
    instance: usize,
    /// Of a fetch: who stored the person, and when.
    stored: Option<(usize, Time)>,
    /// Of a search: whose people are not searched yet.
    left: usize,
}

/// What a station's work costs in one period, in parts of the mean.
#[derive(Clone, Copy)]
struct Pace {
    /// Standard deviation from period to period.
    unevenness: f64,
    period: Time,
    factor: f64,
}

impl Pace {
    fn of(unevenness: f64) -> Self {
        Self { unevenness, period: Time::MAX, factor: 1.0 }
    }
}

struct Simulation<'a> {
    costs: &'a Costs,
    layout: &'a Layout,
    now: Time,
    ends: Time,
    events: Events<Event>,
    stations: Stations<Work>,
    /// Stations by machine: of nginx, and of the database.
    proxies: Vec<usize>,
    databases: Vec<usize>,
    /// People whose buffers in the log are not cleared, by machine.
    uncleared: Vec<u64>,
    /// What takes processors from all of them, with how many there are.
    hosts: Vec<(usize, usize)>,
    instances: Vec<Instance>,
    requests: Vec<Request>,
    free: Vec<RequestId>,
    /// Whose turn it is on each machine, creates and all else apart.
    turns: Vec<[usize; 2]>,
    /// How costly work is at each station just now.
    paces: Vec<Pace>,
    random: Random,
    outcome: Outcome,
}

impl<'a> Simulation<'a> {
    fn new(costs: &'a Costs, layout: &'a Layout, mut random: Random, seconds: f64) -> anyhow::Result<Self> {
        let machines = layout.machines;
        let processors = (0..machines).flat_map(|_| [layout.front_processors, layout.database_processors]);
        let mut stations = Stations::new(processors);
        let limits = layout.limits;
        let wake = |most: f64| Wake { most: micros(most), half: micros(costs.half_wake) };
        let mut phase = || random.below(PERIOD);
        let (mut proxies, mut instances, mut databases) = (Vec::new(), Vec::new(), Vec::new());
        let mut hosts = Vec::new();
        // One for each station, in their order.
        let mut paces = Vec::new();
        for machine in 0..machines {
            let (front, back) = (2 * machine, 2 * machine + 1);
            for _ in 0..layout.proxies {
                let quota = limits.map(|limits| limits.proxy);
                proxies.push(stations.add(front, 1, wake(costs.nginx.wake), quota, phase()));
                paces.push(Pace::of(costs.nginx.unevenness));
            }
            for _ in 0..layout.instances {
                let quota = limits.map(|limits| limits.instance);
                let station = stations.add(front, 1, wake(costs.instance.wake), quota, phase());
                instances.push(Instance { station, machine, ..Instance::default() });
                paces.push(Pace::of(costs.instance.unevenness));
            }
            let quota = limits.map(|limits| limits.database);
            databases.push(stations.add(back, layout.database_processors, wake(costs.database.wake), quota, phase()));
            paces.push(Pace::of(costs.database.unevenness));
            for (group, processors) in [(front, layout.front_processors), (back, layout.database_processors)] {
                hosts.push((stations.add(group, processors, Wake::default(), None, 0), processors));
                paces.push(Pace::of(0.0));
            }
        }
        let histogram = Histogram::new_with_bounds(1, LONGEST, 3).context("a histogram")?;
        let times = std::array::from_fn(|_| histogram.clone());
        let outcome = Outcome { times, services: Vec::new(), seconds, groups: (0, 0), looks: 0 };
        Ok(Self {
            costs,
            layout,
            now: 0,
            ends: micros(seconds * 1e6),
            events: Events::new(),
            stations,
            proxies,
            databases,
            uncleared: vec![0; machines],
            hosts,
            instances,
            requests: Vec::new(),
            free: Vec::new(),
            turns: vec![[0; 2]; machines],
            paces,
            random,
            outcome,
        })
    }

    fn run(&mut self, load: impl Iterator<Item = Arrival>) {
        for instance in 0..self.instances.len() {
            let first = self.random.below(PULSE);
            self.events.at(first, Event::Pulse(instance));
        }
        for machine in 0..self.layout.machines {
            let first = self.random.below(CLEARING);
            self.events.at(first, Event::Clear(machine));
        }
        for host in 0..self.hosts.len() {
            self.await_stall(host);
        }
        for arrival in load {
            let at = micros(arrival.at.as_secs_f64() * 1e6);
            self.advance_to(at);
            let machine = self.any_machine();
            self.arrive(arrival.kind, machine, None);
        }
        self.advance_to(Time::MAX);
        self.settle_accounts();
    }

    /// Lets everything happen that happens before a time.
    fn advance_to(&mut self, time: Time) {
        while self.events.next_time().is_some_and(|next| next < time) {
            let Some((at, event)) = self.events.next() else { return };
            self.now = at;
            self.happen(event);
            self.begin_work();
        }
        if time != Time::MAX {
            self.now = time;
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Done(station, work) => {
                self.stations.done(self.now, station);
                self.follow(work);
            }
            Event::Refill(station) => self.stations.refilled(station),
            Event::Reach(station, work, time) => self.stations.arrive(self.now, station, work, time),
            Event::Committed(instance) => self.commit(instance),
            Event::Fetch(request) => {
                let Request { machine, stored, .. } = self.requests[request as usize];
                self.free.push(request);
                self.arrive(Kind::Fetch, machine, stored);
            }
            Event::Pulse(instance) => self.pulse(instance),
            Event::Stall(host) => self.stall(host),
            Event::Clear(machine) => self.clear(machine),
        }
    }

    fn begin_work(&mut self) {
        let mut dry = Vec::new();
        while let Some(begun) = self.stations.begin(self.now, &mut dry) {
            self.events.at(begun.ends, Event::Done(begun.station, begun.work));
        }
        for (station, next) in dry {
            self.events.at(next, Event::Refill(station));
        }
    }

    /// A request comes to a machine's nginx; `stored` says of a fetch who stored the person, and when.
    fn arrive(&mut self, kind: Kind, machine: usize, stored: Option<(usize, Time)>) {
        let shard = match (stored, kind) {
            (Some((creator, _)), _) => self.instances[creator].machine,
            (None, Kind::Create) => self.any_machine(),
            (None, _) => machine,
        };
        let proxy =
            self.proxies[machine * self.layout.proxies + self.random.below(self.layout.proxies as u64) as usize];
        let instance = self.next_instance(shard, kind == Kind::Create);
        let request = Request { kind, arrived: self.now, machine, proxy, instance, stored, left: 0 };
        let id = self.keep(request);
        // A fetch comes on the connection of the create before it.
        let connection = if stored.is_some() { 0.0 } else { self.costs.nginx.connection };
        let time = self.time(proxy, connection + self.costs.nginx.take);
        self.stations.arrive(self.now, proxy, Work::Taken(id), time);
        self.begin_work();
    }

    fn any_machine(&mut self) -> usize {
        self.random.below(self.layout.machines as u64) as usize
    }

    fn next_instance(&mut self, shard: usize, creates: bool) -> usize {
        let turn = &mut self.turns[shard][usize::from(creates)];
        *turn = (*turn + 1) % self.layout.instances;
        shard * self.layout.instances + *turn
    }

    fn keep(&mut self, request: Request) -> RequestId {
        match self.free.pop() {
            Some(id) => {
                self.requests[id as usize] = request;
                id
            }
            None => {
                self.requests.push(request);
                (self.requests.len() - 1) as RequestId
            }
        }
    }

    /// What comes after a piece of work.
    fn follow(&mut self, work: Work) {
        let (costs, database) = (&self.costs.instance, &self.costs.database);
        match work {
            Work::Taken(id) => {
                let Request { kind, machine, instance, .. } = self.requests[id as usize];
                let more = if kind == Kind::Create { costs.create } else { 0.0 };
                self.send(machine, instance, Work::Read(id), costs.request + more);
            }
            Work::Read(id) => self.read(id),
            Work::GroupSent(instance) => {
                let rows = self.instances[instance].group.len() as f64;
                self.ask(instance, Work::GroupWritten(instance), database.group + rows * database.row);
            }
            Work::GroupWritten(instance) => {
                let standby = if self.layout.synchronous { 2.0 * self.layout.hop + database.flush } else { 0.0 };
                self.events.at(self.now + micros(database.flush + standby), Event::Committed(instance));
            }
            Work::GroupTold(instance) => self.tell_group(instance),
            Work::LookSent(instance) => {
                let found = self.instances[instance].look_at(self.now);
                self.ask(instance, Work::Looked(instance), database.look + found as f64 * database.seen);
            }
            Work::Looked(instance) => {
                let found = self.instances[instance].snapshot.1 as f64;
                self.work(instance, Work::Learnt(instance), costs.look + found * costs.learn);
            }
            Work::Learnt(instance) => {
                for id in self.instances[instance].learn() {
                    self.go_on(id, instance);
                }
                self.begin_look(instance);
            }
            Work::Asked(id, instance) => self.ask_for_look(id, instance),
            Work::Searched(id, instance) => {
                let own = self.requests[id as usize].instance;
                match self.layout.machines {
                    1 => self.answer(id),
                    _ => self.send(self.instances[instance].machine, own, Work::Merged(id), costs.request),
                }
            }
            Work::Merged(id) => {
                let request = &mut self.requests[id as usize];
                request.left -= 1;
                if request.left == 0 {
                    self.answer(id);
                }
            }
            Work::Given(id) => self.conclude(id),
            Work::Stalled => {}
        }
    }

    fn read(&mut self, id: RequestId) {
        let Request { kind, instance, stored, .. } = self.requests[id as usize];
        match kind {
            Kind::InvalidSearch => self.answer(id),
            Kind::Create if self.chance() < self.costs.refused_share => self.answer(id),
            Kind::Create => {
                self.instances[instance].creates.push(id);
                self.begin_group(instance);
            }
            Kind::Fetch => match stored {
                Some((creator, at)) if creator != instance && at > self.instances[instance].knows_until => {
                    self.ask_for_look(id, instance);
                }
                _ => self.answer(id),
            },
            Kind::Search if self.layout.machines == 1 => self.ask_for_look(id, instance),
            Kind::Search => {
                self.requests[id as usize].left = self.layout.machines;
                let from = self.instances[instance].machine;
                for shard in 0..self.layout.machines {
                    let asked = self.next_instance(shard, false);
                    self.send(from, asked, Work::Asked(id, asked), self.costs.instance.request);
                }
            }
        }
    }

    fn ask_for_look(&mut self, id: RequestId, instance: usize) {
        self.instances[instance].askers.push(id);
        self.begin_look(instance);
    }

    fn begin_look(&mut self, instance: usize) {
        if self.instances[instance].begin_look() {
            self.look(instance);
        }
    }

    fn look(&mut self, instance: usize) {
        self.outcome.looks += 1;
        self.work(instance, Work::LookSent(instance), self.costs.instance.look);
    }

    fn pulse(&mut self, instance: usize) {
        if self.now >= self.ends {
            return;
        }
        let there = &mut self.instances[instance];
        if there.look.is_none() && there.knows_until + PULSE <= self.now {
            there.look = Some(Vec::new());
            self.look(instance);
        }
        self.events.at(self.now + PULSE, Event::Pulse(instance));
    }

    /// By a process beside those that serve: it takes from their quota, and not their turn.
    fn clear(&mut self, machine: usize) {
        if self.now >= self.ends {
            return;
        }
        let costs = &self.costs.database;
        let people = std::mem::take(&mut self.uncleared[machine]) as f64;
        let time = micros((people * costs.clear).min(costs.clear_most));
        self.stations.spend(self.now, self.databases[machine], time);
        self.events.at(self.now + CLEARING, Event::Clear(machine));
    }

    fn await_stall(&mut self, host: usize) {
        let rate = self.costs.machine.stalls * self.hosts[host].1 as f64;
        if rate > 0.0 && self.now < self.ends {
            let pause = micros(self.exponential(1e6 / rate));
            self.events.at(self.now + pause, Event::Stall(host));
        }
    }

    fn stall(&mut self, host: usize) {
        let time = micros(self.exponential(self.costs.machine.stall));
        self.stations.arrive(self.now, self.hosts[host].0, Work::Stalled, time);
        self.await_stall(host);
    }

    /// Whoever waited for a look knows what it found.
    fn go_on(&mut self, id: RequestId, instance: usize) {
        if self.requests[id as usize].kind == Kind::Fetch {
            return self.answer(id);
        }
        let costs = &self.costs.instance;
        let time = costs.search + costs.search_per_million * self.layout.people / 1e6;
        self.work(instance, Work::Searched(id, instance), time);
    }

    fn begin_group(&mut self, instance: usize) {
        if self.instances[instance].begin_group() {
            self.outcome.groups.0 += 1;
            self.outcome.groups.1 += self.instances[instance].group.len() as u64;
            self.work(instance, Work::GroupSent(instance), self.costs.instance.group);
        }
    }

    fn commit(&mut self, instance: usize) {
        let rows = self.instances[instance].group.len() as u64;
        let machine = self.instances[instance].machine;
        let first = machine * self.layout.instances;
        self.uncleared[machine] += rows;
        for other in &mut self.instances[first..first + self.layout.instances] {
            other.unseen += rows;
        }
        for id in &self.instances[instance].group {
            self.requests[*id as usize].stored = Some((instance, self.now));
        }
        self.work(instance, Work::GroupTold(instance), self.costs.instance.group);
    }

    fn tell_group(&mut self, instance: usize) {
        for id in std::mem::take(&mut self.instances[instance].group) {
            self.answer(id);
        }
        self.begin_group(instance);
    }

    /// Hands an answer to nginx.
    fn answer(&mut self, id: RequestId) {
        let Request { machine, proxy, instance, .. } = self.requests[id as usize];
        let from = self.instances[instance].machine;
        self.reach(from, machine, proxy, Work::Given(id), self.costs.nginx.give);
    }

    /// A user has the answer; who created somebody fetches it after a pause.
    fn conclude(&mut self, id: RequestId) {
        let Request { kind, arrived, stored, .. } = self.requests[id as usize];
        self.outcome.times[kind as usize].saturating_record((self.now - arrived) / 1_000);
        match (kind, stored) {
            (Kind::Create, Some(_)) => {
                let pause = self.random.between(PAUSE_MS.0, PAUSE_MS.1) * 1_000_000;
                self.events.at(self.now + pause, Event::Fetch(id));
            }
            _ => self.free.push(id),
        }
    }

    /// Work for an instance, from a machine.
    fn send(&mut self, from: usize, instance: usize, work: Work, cost: f64) {
        let Instance { station, machine, .. } = self.instances[instance];
        self.reach(from, machine, station, work, cost);
    }

    /// Work for an instance, from itself or from its database.
    fn work(&mut self, instance: usize, work: Work, cost: f64) {
        let station = self.instances[instance].station;
        let time = self.time(station, cost);
        self.stations.arrive(self.now, station, work, time);
    }

    /// Work for an instance's database.
    fn ask(&mut self, instance: usize, work: Work, cost: f64) {
        let station = self.databases[self.instances[instance].machine];
        let time = self.time(station, cost);
        self.stations.arrive(self.now, station, work, time);
    }

    fn reach(&mut self, from: usize, to: usize, station: usize, work: Work, cost: f64) {
        let time = self.time(station, cost);
        match from == to {
            true => self.stations.arrive(self.now, station, work, time),
            false => self.events.at(self.now + micros(self.layout.hop), Event::Reach(station, work, time)),
        }
    }

    /// How long a piece of work takes at a station that costs so many microseconds in the mean. What else a machine does is
    /// not even: all of a station's work costs more in one period than in another.
    fn time(&mut self, station: usize, cost: f64) -> Time {
        let period = self.now / PERIOD;
        if self.paces[station].period != period {
            // Three even numbers, added up: nearly normal, of a deviation of one half, and never far out.
            let sum = self.chance() + self.chance() + self.chance() - 1.5;
            let unevenness = self.paces[station].unevenness;
            self.paces[station] = Pace { unevenness, period, factor: 1.0 + 2.0 * unevenness * sum };
        }
        micros(cost * self.paces[station].factor)
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.chance()).ln()
    }

    /// A number from 0 to 1.
    fn chance(&mut self) -> f64 {
        self.random.below(1 << 53) as f64 / (1_u64 << 53) as f64
    }

    /// What each service used, added up over the machines.
    fn settle_accounts(&mut self) {
        let periods = (self.now.div_ceil(PERIOD)).max(1) as f64;
        let mut account = |name: String, stations: Vec<usize>| {
            let used: Vec<_> = stations.iter().map(|station| self.stations.used(*station)).collect();
            let throttled: u64 = used.iter().map(|used| used.throttled).sum();
            self.outcome.services.push(Service {
                name,
                cpu_seconds: used.iter().map(|used| used.time as f64 / 1e9).sum(),
                throttled: throttled as f64 / (periods * used.len() as f64),
            });
        };
        account("nginx".into(), self.proxies.clone());
        for nth in 0..self.layout.instances {
            let of_each = self.instances.iter().skip(nth).step_by(self.layout.instances);
            account(format!("api{}", nth + 1), of_each.map(|instance| instance.station).collect());
        }
        account("db".into(), self.databases.clone());
    }
}
