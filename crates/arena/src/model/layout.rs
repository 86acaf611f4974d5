//! Who runs where, and what each may use.

/// Machines of one kind. Each has nginx, instances, and the database of one shard of the people.
#[derive(Clone, Debug)]
pub struct Layout {
    /// How many there are; with more than one, a person belongs to one of them by the nickname's hash.
    pub machines: usize,
    /// Processes of nginx on each machine, each with one thread.
    pub proxies: usize,
    /// Instances on each machine, each with one thread.
    pub instances: usize,
    /// Processors of each machine for nginx and the instances together.
    pub front_processors: usize,
    /// Processors of each machine for the database.
    pub database_processors: usize,
    /// What each may use of a processor; without, nothing holds them.
    pub limits: Option<Limits>,
    /// People who are remembered on each machine.
    pub people: f64,
    /// Time from one machine to another, in microseconds.
    pub hop: f64,
    /// Whether a commit waits for a standby on another machine.
    pub synchronous: bool,
}

/// CPUs of each service, as in a Compose file.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of each process of nginx.
    pub proxy: f64,
    /// Of each instance.
    pub instance: f64,
    /// Of the database.
    pub database: f64,
}

impl Layout {
    /// The stack of a bout: nginx and two instances on one processor (`worker_cpu_affinity`, `PELEJA_PROCESSOR`), the
    /// database on another.
    pub fn of_bout(limits: Limits, people: f64) -> Self {
        Self {
            machines: 1,
            proxies: 1,
            instances: 2,
            front_processors: 1,
            database_processors: 1,
            limits: Some(limits),
            people,
            hop: 0.0,
            synchronous: false,
        }
    }
}
