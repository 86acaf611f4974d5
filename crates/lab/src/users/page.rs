//! One page for both servers: each shows itself and the other.

use maud::{Markup, html};

use super::store::Side;
use crate::guess::Question;
use crate::page::{self, Experiment, Format, Known, Page, Row, Source, Steps, Visit};

const SIDES: [page::Side; 2] =
    [page::Side { name: "blocking", label: "Blocking" }, page::Side { name: "nonblocking", label: "Non-blocking" }];

const QUESTIONS: [Question; 6] = [
    Question { figure: "blocking.rate", label: "Blocking: requests answered per second", unit: "/s" },
    Question { figure: "nonblocking.rate", label: "Non-blocking: requests answered per second", unit: "/s" },
    Question { figure: "blocking.p99", label: "Blocking: response time that 99 % stay within", unit: "ms" },
    Question { figure: "nonblocking.p99", label: "Non-blocking: response time that 99 % stay within", unit: "ms" },
    Question { figure: "blocking.longest_ping", label: "Blocking: longest ping", unit: "ms" },
    Question { figure: "nonblocking.longest_ping", label: "Non-blocking: longest ping", unit: "ms" },
];

const ROWS: [Row; 7] = [
    Row::of_all("rate", "requests answered", Format::Rate),
    Row::of_all("p50", "response time, median", Format::Milliseconds),
    Row::of_all("p99", "response time, 99 % within", Format::Milliseconds),
    Row::of_all("longest_ping", "longest ping", Format::Milliseconds),
    Row::of_all("failed", "requests failed", Format::Count),
    Row::of_all("peak_in_flight", "most in flight at once", Format::Count),
    Row::of_all("requests", "requests in all", Format::Count),
];

/// What the page tells about its server.
#[derive(Clone, Copy)]
pub(super) struct Setting {
    pub side: Side,
    pub connections: u32,
}

pub(super) fn index(setting: Setting, delay: u32, visit: &Visit, known: &Known, class: Markup) -> Markup {
    let run = &visit.run;
    let k6 = |side: &str, port: u16| {
        format!(
            "k6 run -e RUN={run} -e {}_URL={} k6/{side}.js",
            side.to_uppercase(),
            visit.on_port(port).trim_end_matches('/')
        )
    };
    let blocking = k6("blocking", visit.ports.blocking_port);
    let page = Page {
        experiment: Experiment::Blocking,
        sheet: "blocking",
        title: "Blocking and non-blocking",
        visit,
        sources: sources(setting.side, visit),
    };
    page.experiment(Steps {
        question: page::question(html! {
            p { "Two servers store a user in the same table. In one, a thread waits for every round trip to the database; in the other, a task does, and the thread goes on. Both have " b { (setting.connections) } " connections." }
            p { "Which one answers more requests? Which one costs less? And when the database is slow?" }
        }),
        questions: &QUESTIONS,
        run: html! {
            (page::command(&blocking, "Ten users for five seconds, blocking:"))
            (page::command(&k6("nonblocking", visit.ports.nonblocking_port), "The same, non-blocking:"))
            (page::command(&blocking.replace("k6 run", "k6 run -e VUS=1000"), "A thousand users; the same on the other side. A slow database can be switched on below:"))
            (page::command("cargo arena experiment blocking", "The whole ladder, 10 to 5,000 users, fast and slow database, in one table:"))
            p.note { @if delay > 0 { "This server's queries take " b { (delay) " ms" } " longer." } @else { "The database is as fast as it can be: no delay is added." }
                " While a run goes on, each server answers a ping ten times a second: a request that needs no database, but on the blocking side a free thread. By hand: " code { "curl " (visit.here("/ping")) } }
        },
        watch: html! {
            div.charts {
                (pair(known, "Requests answered", Format::Rate, &["blocking.rate", "nonblocking.rate"]))
                (pair(known, "Response time, median", Format::Milliseconds, &["blocking.p50", "nonblocking.p50"]))
                (pair(known, "Response time, 99 % within", Format::Milliseconds, &["blocking.p99", "nonblocking.p99"]))
                (pair(known, "Ping: a request that needs no database", Format::Milliseconds, &["blocking.ping", "nonblocking.ping"]))
                (pair(known, "Requests in flight", Format::Count, &["blocking.in_flight", "nonblocking.in_flight"]))
                (pair(known, "Threads", Format::Count, &["blocking.threads", "nonblocking.threads"]))
                (pair(known, "Context switches", Format::Rate, &["blocking.switches", "nonblocking.switches"]))
                (pair(known, "Memory", Format::Megabytes, &["blocking.memory", "nonblocking.memory"]))
                (pair(known, "CPU, percent of one", Format::Percent, &["blocking.cpu", "nonblocking.cpu"]))
            }
        },
        sides: &SIDES,
        rows: &ROWS,
        known,
        class,
    })
}

fn pair(known: &Known, title: &str, format: Format, figures: &[&str; 2]) -> Markup {
    page::chart(known, title, format, &[(figures[0], "blocking"), (figures[1], "non-blocking")])
}

fn sources(here: Side, visit: &Visit) -> Vec<Source> {
    let ports = visit.ports;
    let url = |side, port| if side == here { "/live".to_owned() } else { format!("{}live", visit.on_port(port)) };
    let source = |side, port, name| {
        let url = url(side, port);
        Source {
            prefix: prefix(side),
            outcomes: format!("{}outcomes?run={}", url.trim_end_matches("live"), visit.run),
            url,
            name,
        }
    };
    vec![
        source(Side::Blocking, ports.blocking_port, "Blocking"),
        source(Side::NonBlocking, ports.nonblocking_port, "Non-blocking"),
    ]
}

pub(super) fn prefix(side: Side) -> &'static str {
    match side {
        Side::Blocking => "blocking.",
        Side::NonBlocking => "nonblocking.",
    }
}
