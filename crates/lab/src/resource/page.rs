//! The pages of the scarce resource.

use maud::{Markup, html};

use super::place::{Resource, Resources};
use super::stage::CONSUMERS;
use crate::guess::Question;
use crate::page::{self, Experiment, Format, Known, Page, Row, Side, Source, Steps, Visit};

const SIDES: [Side; 2] = [Side { name: "serial", label: "Serial" }, Side { name: "async", label: "Async" }];

const LINE: [Side; 1] = [Side { name: "line", label: "In line" }];

const QUESTIONS: [Question; 6] = [
    Question { figure: "serial.peak_use", label: "Serial: most uses under way at once", unit: "uses" },
    Question { figure: "async.peak_use", label: "Async: most uses under way at once", unit: "uses" },
    Question { figure: "serial.p99", label: "Serial: response time that 99 % stay within", unit: "ms" },
    Question { figure: "async.p99", label: "Async: response time that 99 % stay within", unit: "ms" },
    Question { figure: "serial.failed", label: "Serial: requests turned away", unit: "requests" },
    Question { figure: "async.failed", label: "Async: requests turned away", unit: "requests" },
];

const ROWS: [Row; 8] = [
    Row::of_all("peak_use", "most uses under way at once", Format::Count),
    Row::of_all("rate", "requests answered", Format::Rate),
    Row::of_all("p50", "response time, median", Format::Milliseconds),
    Row::of_all("p99", "response time, 99 % within", Format::Milliseconds),
    Row::of_all("failed", "requests turned away", Format::Count),
    Row::of_all("requests", "requests in all", Format::Count),
    Row::of_all("seconds", "from first to last answer", Format::Seconds),
    Row::of_all("work_seconds", "until the last use was over", Format::Seconds),
];

const LINE_QUESTIONS: [Question; 4] = [
    Question { figure: "line.peak_use", label: "Most uses under way at once", unit: "uses" },
    Question { figure: "line.p99", label: "Response time that 99 % stay within", unit: "ms" },
    Question { figure: "line.wait_p50", label: "Time in line, median", unit: "ms" },
    Question { figure: "line.wait_max", label: "Time in line of the last", unit: "ms" },
];

const LINE_ROWS: [Row; 11] = [
    Row::of_all("peak_use", "most uses under way at once", Format::Count),
    Row::of_all("rate", "requests answered", Format::Rate),
    Row::of_all("p50", "response time, median", Format::Milliseconds),
    Row::of_all("p99", "response time, 99 % within", Format::Milliseconds),
    Row::of_all("wait_p50", "time in line, median", Format::Milliseconds),
    Row::of_all("wait_p95", "time in line, 95 % within", Format::Milliseconds),
    Row::of_all("wait_p99", "time in line, 99 % within", Format::Milliseconds),
    Row::of_all("wait_max", "time in line, longest", Format::Milliseconds),
    Row::of_all("requests", "requests in all", Format::Count),
    Row::of_all("seconds", "from first to last answer", Format::Seconds),
    Row::of_all("work_seconds", "until the last use was over", Format::Seconds),
];

pub(super) fn index(resources: &Resources, visit: &Visit) -> Markup {
    let page =
        Page { experiment: Experiment::Resource, sheet: "", title: "Section 1 Examples", visit, sources: vec![] };
    page.render(html! {
        (page::question(html! {
            p { "A resource serves whoever comes, and each use takes half a second. What happens to it, and to those who wait, when hundreds come at once?" }
        }))
        ul.links {
            li { a href="/part1" { "Part 1: concurrent requests" } p { "The same resource used within the request, and after it." } }
            li { a href="/part2" { "Part 2: a queue with " (CONSUMERS) " consumers" } p { "Requests line up, and the resource is used at a steady pace." } }
        }
        h2 { "The resources" }
        div.scroll {
            table {
                thead { tr { th scope="col" { "Name" } th.number scope="col" { "Uses now" } th.number scope="col" { "Limit" } } }
                tbody {
                    @for resource in resources.all() {
                        tr {
                            th scope="row" { a href={ "/part1?resource=" (resource.name) } { (resource.name) } }
                            td.number { (resource.in_use()) }
                            td.number { @if let Some(limit) = resource.limit() { (limit) } @else { "none" } }
                        }
                    }
                }
            }
        }
        p.note { "Every route of part 1 and 2 takes " code { "?resource=NAME" } ". Figures for Prometheus: " a href="/metrics" { "/metrics" } "." }
    })
}

pub(super) fn part1(visit: &Visit, known: &Known, resource: &Resource, class: Markup) -> Markup {
    let which = format!("resource={}", resource.name);
    let url = format!("/part1/live?{which}");
    let outcomes = format!("/outcomes?{which}&run={}", visit.run);
    let page = Page {
        experiment: Experiment::Resource,
        sheet: "resource",
        title: "Concurrent Requests to Mock Resource",
        visit,
        sources: vec![Source { url, outcomes, ..Source::own(visit) }],
    };
    let address = |path: &str| match visit.path.split_once('?') {
        Some(_) => visit.request(&format!("{path}?{which}")),
        None => visit.request(path),
    };
    page.experiment(Steps {
        question: page::question(html! {
            p { "3,000 requests come, 50 at a time, and each uses " b { (resource.name) } " for half a second. Once the answer waits for the use; once it is sent first." }
            p { @match resource.limit() {
                Some(limit) => { "Hard mode: at most " b { (limit) } " uses at once. Whoever finds no place is turned away with status 500." }
                None => { "There is no limit: the hard mode has one, which whoever runs the class can switch on below." }
            } }
        }),
        questions: &QUESTIONS,
        run: html! {
            (page::command(&format!("ab -k -n 3000 -c 50 {}", address("/part1/serial")), "The answer waits for the use:"))
            (page::command(&format!("ab -k -n 3000 -c 50 {}", address("/part1/async")), "The answer is sent at once, the use goes on behind it:"))
            (page::command("cargo arena experiment resource", "Both, and both again with a limit of 15, in one table:"))
        },
        watch: html! {
            div.hero {
                output data-figure="mean_use" data-format="mean" aria-live="off" { (Format::Mean.write(resource.in_use() as f64)) }
                p { "uses of " (resource.name) " at once, mean of 11 samples 20 ms apart" }
            }
            (server_gauges(known))
            div.charts {
                (page::chart(known, "Uses at once", Format::Count, &[("mean_use", "uses")]))
                (page::chart(known, "Requests in flight", Format::Count, &[("in_flight", "requests")]))
                (server_charts(known))
            }
        },
        sides: &SIDES,
        rows: &ROWS,
        known,
        class,
    })
}

pub(super) fn part2(visit: &Visit, known: &Known, class: Markup) -> Markup {
    let page = Page {
        experiment: Experiment::Resource,
        sheet: "line",
        title: "Concurrent Requests to a Queue",
        visit,
        sources: vec![Source::own(visit)],
    };
    page.experiment(Steps {
        question: page::question(html! {
            p { "The same requests, but each only puts an event in line. " (CONSUMERS) " consumers take events from it and use the resource one at a time. The resource is safe now: what is the price, and who pays it?" }
        }),
        questions: &LINE_QUESTIONS,
        run: page::command(&format!("ab -k -n 100 -c 50 {}", visit.request("/part2/genstage")), "A hundred events, which take the consumers about 17 s:"),
        watch: html! {
            (page::gauges(known, &[
                ("enqueued", "Enqueued Events", Format::Count),
                ("in_use", "Concurrent Resource Usage", Format::Count),
                ("mean_processing", "Average Processing Time (ms)", Format::Milliseconds),
                ("mean_wait", "Average time in line", Format::Milliseconds),
            ]))
            (server_gauges(known))
            div.charts {
                (page::chart(known, "Events in line", Format::Count, &[("enqueued", "events")]))
                (page::chart(known, "Uses at once", Format::Count, &[("in_use", "uses")]))
                (server_charts(known))
            }
        },
        sides: &LINE,
        rows: &LINE_ROWS,
        known,
        class,
    })
}

fn server_gauges(known: &Known) -> Markup {
    page::gauges(
        known,
        &[
            ("rate", "Requests answered", Format::Rate),
            ("in_flight", "In flight", Format::Count),
            ("memory", "Memory", Format::Megabytes),
            ("cpu", "CPU", Format::Percent),
            ("threads", "Threads", Format::Count),
            ("tasks", "Tasks", Format::Count),
        ],
    )
}

fn server_charts(known: &Known) -> Markup {
    html! {
        (page::chart(known, "Requests answered", Format::Rate, &[("rate", "requests")]))
        (page::chart(known, "Response time", Format::Milliseconds, &[("p50", "median"), ("p99", "99 % within")]))
        (page::chart(known, "Memory", Format::Megabytes, &[("memory", "memory")]))
        (page::chart(known, "CPU, percent of one", Format::Percent, &[("cpu", "CPU")]))
    }
}
