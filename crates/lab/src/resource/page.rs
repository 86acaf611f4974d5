//! The pages of the scarce resource.

use maud::{Markup, html};

use super::place::{Resource, Resources};
use super::stage::CONSUMERS;
use crate::guess::Question;
use crate::page::{self, Experiment, Format, Known, Page, Row, Source, Steps, Visit};

const QUESTIONS: [Question; 4] = [
    Question { figure: "peak_use", label: "Most uses under way at once", unit: "uses" },
    Question { figure: "rate", label: "Requests answered per second", unit: "/s" },
    Question { figure: "p99", label: "Response time that 99 % stay within", unit: "ms" },
    Question { figure: "failed", label: "Requests turned away", unit: "requests" },
];

const ROWS: [Row; 7] = [
    Row { figure: "peak_use", label: "Most uses under way at once", format: Format::Count },
    Row { figure: "rate", label: "Requests answered", format: Format::Rate },
    Row { figure: "p50", label: "Response time, median", format: Format::Milliseconds },
    Row { figure: "p99", label: "Response time, 99 % within", format: Format::Milliseconds },
    Row { figure: "failed", label: "Requests turned away", format: Format::Count },
    Row { figure: "requests", label: "Requests in all", format: Format::Count },
    Row { figure: "seconds", label: "From first to last answer", format: Format::Seconds },
];

pub(super) fn index(resources: &Resources, visit: &Visit) -> Markup {
    let page = Page { experiment: Experiment::Resource, title: "Section 1 Examples", visit, sources: vec![] };
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
                            td.number { @if let Some(limit) = resource.limit { (limit) } @else { "none" } }
                        }
                    }
                }
            }
        }
        p.note { "Every route of part 1 and 2 takes " code { "?resource=NAME" } ". Figures for Prometheus: " a href="/metrics" { "/metrics" } "." }
    })
}

pub(super) fn part1(visit: &Visit, known: &Known, resource: &Resource) -> Markup {
    let url = format!("/part1/live?resource={}", resource.name);
    let page = Page {
        experiment: Experiment::Resource,
        title: "Concurrent Requests to Mock Resource",
        visit,
        sources: vec![Source { url, ..Source::own() }],
    };
    let address = |path: &str| visit.here(path);
    page.experiment(Steps {
        question: page::question(html! {
            p { "3,000 requests come, 50 at a time, and each uses " b { (resource.name) } " for half a second. Once the answer waits for the use; once it is sent first." }
            p { @match resource.limit {
                Some(limit) => { "Hard mode: at most " b { (limit) } " uses at once. Whoever finds no place is turned away with status 500." }
                None => { "There is no limit: the lab started with " code { "LAB_LIMIT=15" } " in its environment has one, the hard mode." }
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
        rows: &ROWS,
        known,
    })
}

pub(super) fn part2(visit: &Visit, known: &Known) -> Markup {
    let page = Page {
        experiment: Experiment::Resource,
        title: "Concurrent Requests to a Queue",
        visit,
        sources: vec![Source::own()],
    };
    page.experiment(Steps {
        question: page::question(html! {
            p { "The same requests, but each only puts an event in line. " (CONSUMERS) " consumers take events from it and use the resource one at a time. The resource is safe now: what is the price, and who pays it?" }
        }),
        questions: &QUESTIONS,
        run: page::command(&format!("ab -k -n 100 -c 50 {}", visit.here("/part2/genstage")), "A hundred events, which take the consumers about 17 s:"),
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
        rows: &ROWS,
        known,
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
