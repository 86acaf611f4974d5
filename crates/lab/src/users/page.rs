//! One page for both servers: each shows itself and the other.

use maud::{Markup, html};

use super::store::Side;
use crate::guess::Question;
use crate::page::{self, Experiment, Format, Known, Page, Row, Source, Steps, Visit};

const QUESTIONS: [Question; 4] = [
    Question { figure: "blocking.rate", label: "Blocking: requests answered per second", unit: "/s" },
    Question { figure: "nonblocking.rate", label: "Non-blocking: requests answered per second", unit: "/s" },
    Question { figure: "blocking.p99", label: "Blocking: response time that 99 % stay within", unit: "ms" },
    Question { figure: "nonblocking.p99", label: "Non-blocking: response time that 99 % stay within", unit: "ms" },
];

const ROWS: [Row; 10] = [
    Row { figure: "blocking.rate", label: "Blocking: requests answered", format: Format::Rate },
    Row { figure: "nonblocking.rate", label: "Non-blocking: requests answered", format: Format::Rate },
    Row { figure: "blocking.p50", label: "Blocking: response time, median", format: Format::Milliseconds },
    Row { figure: "nonblocking.p50", label: "Non-blocking: response time, median", format: Format::Milliseconds },
    Row { figure: "blocking.p99", label: "Blocking: response time, 99 % within", format: Format::Milliseconds },
    Row { figure: "nonblocking.p99", label: "Non-blocking: response time, 99 % within", format: Format::Milliseconds },
    Row { figure: "blocking.failed", label: "Blocking: requests failed", format: Format::Count },
    Row { figure: "nonblocking.failed", label: "Non-blocking: requests failed", format: Format::Count },
    Row { figure: "blocking.peak_in_flight", label: "Blocking: most in flight at once", format: Format::Count },
    Row { figure: "nonblocking.peak_in_flight", label: "Non-blocking: most in flight at once", format: Format::Count },
];

/// What the page tells about its server.
#[derive(Clone, Copy)]
pub(super) struct Setting {
    pub side: Side,
    pub connections: u32,
    pub query_delay: u32,
}

pub(super) fn index(setting: Setting, visit: &Visit, known: &Known) -> Markup {
    let page = Page {
        experiment: Experiment::Blocking,
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
            (page::command("k6 run k6/blocking.js", "Ten users for five seconds, blocking:"))
            (page::command("k6 run k6/nonblocking.js", "The same, non-blocking:"))
            (page::command("k6 run -e VUS=1000 k6/blocking.js", "A thousand users (for a slow database, start the lab with LAB_QUERY_DELAY=100 in its environment):"))
            (page::command("cargo arena experiment blocking", "The whole ladder, 10 to 5,000 users, fast and slow database, in one table:"))
            p.note { @if setting.query_delay > 0 { "This server's queries take " b { (setting.query_delay) " ms" } " longer." } @else { "The database is as fast as it can be: no delay is added." }
                " While it runs, try " code { "curl " (visit.here("/ping")) } ": an answer that needs no database, but a free thread." }
        },
        watch: html! {
            div.charts {
                (pair(known, "Requests answered", Format::Rate, &["blocking.rate", "nonblocking.rate"]))
                (pair(known, "Response time, median", Format::Milliseconds, &["blocking.p50", "nonblocking.p50"]))
                (pair(known, "Response time, 99 % within", Format::Milliseconds, &["blocking.p99", "nonblocking.p99"]))
                (pair(known, "Requests in flight", Format::Count, &["blocking.in_flight", "nonblocking.in_flight"]))
                (pair(known, "Threads", Format::Count, &["blocking.threads", "nonblocking.threads"]))
                (pair(known, "Context switches", Format::Rate, &["blocking.switches", "nonblocking.switches"]))
                (pair(known, "Memory", Format::Megabytes, &["blocking.memory", "nonblocking.memory"]))
                (pair(known, "CPU, percent of one", Format::Percent, &["blocking.cpu", "nonblocking.cpu"]))
            }
        },
        rows: &ROWS,
        known,
    })
}

fn pair(known: &Known, title: &str, format: Format, figures: &[&str; 2]) -> Markup {
    page::chart(known, title, format, &[(figures[0], "blocking"), (figures[1], "non-blocking")])
}

fn sources(here: Side, visit: &Visit) -> Vec<Source> {
    let ports = visit.ports;
    let url = |side, port| if side == here { "/live".to_owned() } else { format!("{}live", visit.on_port(port)) };
    let source = |side, port, name| Source { prefix: prefix(side), url: url(side, port), name };
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
