//! How hard the driver had it, and so whether a run says something about the server or only about the driver.

use std::time::Duration;

use super::monitor::Monitor;

/// A request sent later than this after its intended time, or than the lag that is let pass, counts as not sent at the
/// intended rate.
const ON_TIME: Duration = Duration::from_secs(1);

/// Below this share of requests on time the rate was not the intended one.
const FEWEST_ON_TIME: f64 = 0.99;

/// A send lag from here on shows in the tail of response times that are measured from the intended time.
const NOTICEABLE_LAG: Duration = Duration::from_millis(5);

/// From this share of a core on the driver begins to wait for itself.
const BUSY: f64 = 0.7;

/// At this share of a core it has no time left.
const EXHAUSTED: f64 = 0.95;

/// How the driver did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conduct {
    /// Requests whose time came.
    pub intended: u64,
    /// Those that the machine had no socket or port for.
    pub unsent: u64,
    /// Those that were sent when it was their time, or not much later.
    pub on_time: u64,
    /// 99th percentile of the time by which requests were sent late.
    pub lag_p99: Duration,
    /// The longest of these times.
    pub lag_max: Duration,
    /// A send lag from here on shows in the tail of response times.
    pub noticeable_lag: Duration,
    /// The send lag that is let pass; from there on response times are the driver's more than the server's.
    pub most_lag: Duration,
    /// The most that the driver used of a core in any second.
    pub busiest: f64,
}

impl Conduct {
    /// How the driver did in a run that may lag by `most_lag`.
    pub fn of(monitor: &Monitor, most_lag: Duration) -> Self {
        let unsent = monitor.unsent.values().sum();
        Self {
            intended: monitor.sent + unsent,
            unsent,
            on_time: monitor.lag.count_between(0, ON_TIME.max(most_lag).as_micros() as u64),
            lag_p99: Duration::from_micros(monitor.lag.value_at_quantile(0.99)),
            lag_max: Duration::from_micros(monitor.lag.max()),
            noticeable_lag: NOTICEABLE_LAG,
            most_lag,
            busiest: monitor.busiest,
        }
    }

    /// Share of the intended requests that were sent on time.
    pub fn achieved(&self) -> f64 {
        if self.intended == 0 { 1.0 } else { self.on_time as f64 / self.intended as f64 }
    }
}

/// How hard the driver had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strain {
    /// It was in time: the run says something about the server.
    None,
    /// It was late now and then: the tail may be the driver's.
    Noticeable,
    /// It was the bottleneck: the run says nothing about the server.
    TooMuch,
}

impl Strain {
    /// The word for tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "VALID",
            Self::Noticeable => "SUSPECT",
            Self::TooMuch => "INVALID",
        }
    }
}

/// The worst that the driver had to bear, and what shows that much of it.
pub fn strain(conduct: &Conduct) -> (Strain, Vec<String>) {
    let findings = [unsent(conduct), rate(conduct), lag(conduct), standstill(conduct), cpu(conduct)];
    let worst = findings.iter().flatten().map(|(strain, _)| *strain).max().unwrap_or(Strain::None);
    let reasons = findings.into_iter().flatten().filter(|(strain, _)| *strain == worst);
    (worst, reasons.map(|(_, reason)| reason).collect())
}

type Finding = Option<(Strain, String)>;

fn unsent(conduct: &Conduct) -> Finding {
    let Conduct { unsent, intended, .. } = conduct;
    let reason =
        || format!("{unsent} of {intended} requests could not be sent: this machine ran out of sockets or ports");
    (*unsent > 0).then(|| (Strain::TooMuch, reason()))
}

fn rate(conduct: &Conduct) -> Finding {
    let achieved = conduct.achieved();
    let reason = || format!("only {:.1} % of the intended requests were sent when it was their time", 100.0 * achieved);
    (achieved < FEWEST_ON_TIME).then(|| (Strain::TooMuch, reason()))
}

fn lag(conduct: &Conduct) -> Finding {
    let lag = conduct.lag_p99;
    let reason = format!("1 % of the requests were sent {:.1} ms late or more", lag.as_secs_f64() * 1e3);
    match lag {
        _ if lag >= conduct.most_lag => Some((Strain::TooMuch, reason)),
        _ if lag >= conduct.noticeable_lag => Some((Strain::Noticeable, reason)),
        _ => None,
    }
}

fn standstill(conduct: &Conduct) -> Finding {
    let longest = conduct.lag_max;
    let reason = || format!("for {:.1} s nothing was sent, though it was time", longest.as_secs_f64());
    (longest >= ON_TIME).then(|| (Strain::Noticeable, reason()))
}

fn cpu(conduct: &Conduct) -> Finding {
    let share = conduct.busiest;
    let reason = format!("the driver used {:.0} % of a core in its busiest second", 100.0 * share);
    match share {
        _ if share >= EXHAUSTED => Some((Strain::TooMuch, reason)),
        _ if share >= BUSY => Some((Strain::Noticeable, reason)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Conduct = Conduct {
        intended: 1000,
        unsent: 0,
        on_time: 1000,
        lag_p99: Duration::from_micros(300),
        lag_max: Duration::from_micros(900),
        noticeable_lag: NOTICEABLE_LAG,
        most_lag: Duration::from_millis(100),
        busiest: 0.2,
    };

    fn of(conduct: Conduct) -> Strain {
        let (strain, reasons) = strain(&conduct);
        assert_eq!(strain == Strain::None, reasons.is_empty());
        strain
    }

    #[test]
    fn a_driver_in_time_is_believed() {
        assert_eq!(of(GOOD), Strain::None);
        assert_eq!(of(Conduct { intended: 0, on_time: 0, ..GOOD }), Strain::None);
        assert_eq!(of(Conduct { on_time: 995, ..GOOD }), Strain::None);
    }

    #[test]
    fn a_tail_of_its_own_is_suspect() {
        assert_eq!(of(Conduct { lag_p99: Duration::from_millis(5), ..GOOD }), Strain::Noticeable);
        assert_eq!(of(Conduct { lag_max: Duration::from_secs(1), ..GOOD }), Strain::Noticeable);
        assert_eq!(of(Conduct { busiest: 0.7, ..GOOD }), Strain::Noticeable);
    }

    #[test]
    fn a_driver_that_cannot_keep_up_is_not_believed() {
        for conduct in [
            Conduct { unsent: 1, ..GOOD },
            Conduct { on_time: 989, ..GOOD },
            Conduct { lag_p99: Duration::from_millis(100), ..GOOD },
            Conduct { busiest: 0.95, ..GOOD },
        ] {
            assert_eq!(of(conduct), Strain::TooMuch, "{conduct:?}");
        }
    }

    #[test]
    fn only_the_weightiest_reasons_are_given() {
        let (strain, reasons) = strain(&Conduct { unsent: 7, busiest: 0.8, ..GOOD });
        assert_eq!(strain, Strain::TooMuch);
        assert_eq!(reasons, ["7 of 1000 requests could not be sent: this machine ran out of sockets or ports"]);
    }
}
