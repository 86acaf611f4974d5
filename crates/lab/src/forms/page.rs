//! The pages of the forms. They need no script; with one, their figures move.

use maud::{Markup, html};
use uuid::Uuid;

use super::opinion::{Draft, LONGEST_NAME, LONGEST_OPINION, Refusal, Way};
use super::queue::{DeadLetter, SHOWN};
use super::store::Shown;
use crate::class::word_field;
use crate::guess::Question;
use crate::page::{self, Experiment, Format, Known, Page, Row, Side, Source, Steps, Visit};

const SIDES: [Side; 2] =
    [Side { name: Way::AtOnce.side(), label: "At once" }, Side { name: Way::Queued.side(), label: "Queued" }];

const QUESTIONS: [Question; 6] = [
    Question { figure: "at-once.p50", label: "At once: response time, median", unit: "ms" },
    Question { figure: "queued.p50", label: "Queued: response time, median", unit: "ms" },
    Question { figure: "at-once.failed", label: "At once: opinions not taken", unit: "opinions" },
    Question { figure: "queued.failed", label: "Queued: opinions not taken", unit: "opinions" },
    Question { figure: "queued.lag_p99", label: "Queued: from accepted until stored, 99 % within", unit: "ms" },
    Question { figure: "queued.most_waiting", label: "Queued: most that wait at once", unit: "opinions" },
];

const ROWS: [Row; 10] = [
    Row::of_all("p50", "response time, median", Format::Milliseconds),
    Row::of_all("p95", "response time, 95 % within", Format::Milliseconds),
    Row::of_all("p99", "response time, 99 % within", Format::Milliseconds),
    Row::of_all("failed", "opinions not taken", Format::Count),
    Row::of_all("requests", "opinions sent", Format::Count),
    Row::of_all("seconds", "from first to last answer", Format::Seconds),
    Row::of("queued", "lag_p50", "from accepted until stored, median", Format::Milliseconds),
    Row::of("queued", "lag_p99", "from accepted until stored, 99 % within", Format::Milliseconds),
    Row::of("queued", "most_waiting", "most that wait at once", Format::Count),
    Row::of("queued", "stored", "stored so far", Format::Count),
];

/// What runs the parts of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Engine {
    /// Somebody, by hand
    Hand,
    /// `lab all`, which starts again what dies
    All,
    /// The arena, as plain processes
    Native,
    /// Docker Compose
    Docker,
}

impl Engine {
    /// How a worker is killed, and how it comes back.
    fn commands(self, workers: &[i64]) -> (String, &'static str) {
        let pids: Vec<String> = workers.iter().filter(|pid| **pid > 1).map(i64::to_string).collect();
        let kill =
            if pids.is_empty() { "pkill -9 -f 'lab worker'".to_owned() } else { format!("kill -9 {}", pids.join(" ")) };
        match self {
            Self::Docker => {
                ("docker compose kill --signal KILL worker".into(), "docker compose --profile lab up --detach worker")
            }
            Self::Native => (kill, "cargo arena up --lab"),
            Self::All => (kill, "it comes back by itself"),
            Self::Hand => (kill, "lab worker"),
        }
    }
}

pub(super) fn index(visit: &Visit, known: &Known, engine: Engine, workers: &[i64], class: Markup) -> Markup {
    let page = Page {
        experiment: Experiment::Forms,
        sheet: "forms",
        title: "Forms, at once and queued",
        visit,
        sources: vec![Source::own(visit)],
    };
    let url = visit.here("");
    let k6 = |more: &str| format!("k6 run -e RUN={} -e FORMS_URL={url}{more} k6/forms.js", visit.run);
    let (kill, back) = engine.commands(workers);
    page.experiment(Steps {
        question: html! {
            (page::question(html! {
                p { "Two forms take an opinion. One stores it and then answers; the other puts it in a queue, answers, and a worker stores it later. Who waits, for how long, and what if something dies in between?" }
            }))
            ul.links {
                li { a href="/form" { "Say something, stored at once" } }
                li { a href="/async-form" { "Say something, queued" } }
                li { a href="/opinions" { "The latest opinions" } }
                li { a href="/dead-letters" { "Dead letters" } p { "What could not be stored after several attempts." } }
            }
        },
        questions: &QUESTIONS,
        run: html! {
            (page::command(&k6(""), "1,000 opinions in 15 seconds, stored at once:"))
            (page::command(&k6(" -e WAY=opinion-async"), "The same, queued:"))
            (page::command("cargo arena experiment forms", "Both, with the time until stored, in one table:"))
            h3 { "A burst of slow work" }
            p { "Storing takes 200 ms of work where whoever runs the class switches that on below. Then 300 come in 3 s, once at once and once queued. Who is turned away, who waits, and for how long? When is the work really done?" }
            (page::command(&k6(" -e OPINIONS=300 -e SECONDS=3"), "The burst, stored at once:"))
            (page::command(&k6(" -e OPINIONS=300 -e SECONDS=3 -e WAY=opinion-async"), "The burst, queued:"))
            (page::command("cargo arena experiment burst", "Both, in one table:"))
            h3 { "Kill the worker in the middle of it" }
            p { "No opinion is lost, and none is stored twice." }
            (page::command(&kill, "End all workers at once, as a crash would:"))
            (page::command(back, "And bring one back:"))
        },
        watch: html! {
            (page::gauges(known, &[
                ("database", "Database", Format::Presence),
                ("workers", "Workers alive", Format::Count),
                ("waiting", "Waiting in the queue", Format::Count),
                ("running", "With a worker", Format::Count),
                ("oldest", "Oldest job", Format::Seconds),
                ("lag", "Accepted until stored, last 100", Format::Milliseconds),
                ("dead", "Dead letters", Format::Count),
            ]))
            div.charts {
                (page::chart(known, "Opinions taken", Format::Rate, &[("rate", "opinions")]))
                (page::chart(known, "Response time", Format::Milliseconds, &[("p50", "median"), ("p99", "99 % within")]))
                (page::chart(known, "Waiting in the queue", Format::Count, &[("waiting", "opinions")]))
                (page::chart(known, "Accepted until stored", Format::Milliseconds, &[("lag", "lag")]))
                (page::chart(known, "Memory", Format::Megabytes, &[("memory", "memory")]))
                (page::chart(known, "CPU, percent of one", Format::Percent, &[("cpu", "CPU")]))
            }
        },
        sides: &SIDES,
        rows: &ROWS,
        known,
        class,
    })
}

pub(super) fn form(visit: &Visit, way: Way, draft: &Draft, refusal: Option<Refusal>) -> Markup {
    let (title, action) = match way {
        Way::AtOnce => ("Say something, stored at once", "/form"),
        Way::Queued => ("Say something, queued", "/async-form"),
    };
    let id = if draft.id.is_empty() { Uuid::now_v7().to_string() } else { draft.id.clone() };
    let wrong = |field: &str| refusal.filter(|refusal| refusal.field == field);
    standing(
        visit,
        title,
        html! {
            form.paper action={ (action) "?run=" (visit.run) } method="post" {
                // Sent twice, it is stored once.
                input type="hidden" name="id" value=(id);
                label {
                    span { "Your opinion" }
                    textarea #opinion name="opinion" rows="5" maxlength=(LONGEST_OPINION) autofocus[refusal.is_some()]
                        aria-invalid=[wrong("opinion").map(|_| "true")] aria-describedby=[wrong("opinion").map(|_| "opinion-wrong")] {
                        // A line break right after the tag is dropped by browsers, so that one in the text needs this one.
                        "\n" (draft.opinion)
                    }
                }
                @if let Some(refusal) = wrong("opinion") { p.wrong #opinion-wrong role="alert" { (refusal.error) } }
                label {
                    span { "Your name, if you like" }
                    input name="name" value=(draft.name) maxlength=(LONGEST_NAME) autocomplete="name";
                }
                @if let Some(refusal) = wrong("name") { p.wrong role="alert" { (refusal.error) } }
                @if let Some(refusal) = wrong("").or(wrong("id")) { p.wrong role="alert" { (refusal.error) } }
                button type="submit" { "Send" }
            }
        },
    )
}

pub(super) fn opinions(visit: &Visit, latest: &[Shown]) -> Markup {
    standing(
        visit,
        "The latest opinions",
        html! {
            @if latest.is_empty() { p.note { "Nobody has said anything yet." } }
            @for opinion in latest {
                article.opinion {
                    p { (opinion.text) }
                    footer { (opinion.name) ", " time datetime=(opinion.created_at) { (opinion.created_at.strftime("%Y-%m-%d %H:%M:%S UTC")) } }
                }
            }
        },
    )
}

pub(super) fn dead_letters(visit: &Visit, letters: &[DeadLetter]) -> Markup {
    standing(
        visit,
        "Dead letters",
        html! {
            (page::question(html! { p { "Opinions that were accepted, and that no attempt could store. They stay here until somebody mends the cause and tries them again." } }))
            @if letters.is_empty() {
                p.note { "There are none. To see one, have a word refused, which whoever runs the class can switch on, and queue an opinion with that word." }
            } @else {
                @if letters.len() == SHOWN { p.note { "The " (SHOWN) " oldest are shown." } }
                form action="/dead-letters/retry" method="post" { (word_field(visit)) button type="submit" { "Try all again" } }
                @for letter in letters {
                    article.opinion {
                        p { (letter.text) }
                        footer {
                            (letter.name) ", job " (letter.id) ", " (letter.attempts) " attempts"
                            p.wrong { (letter.error) }
                            form action={ "/dead-letters/" (letter.id) "/retry" } method="post" {
                                (word_field(visit))
                                button type="submit" aria-label={ "Try job " (letter.id) " again" } { "Try again" }
                            }
                        }
                    }
                }
            }
        },
    )
}

fn standing(visit: &Visit, title: &str, main: Markup) -> Markup {
    let page = Page { experiment: Experiment::Forms, sheet: "", title, visit, sources: vec![] };
    page.render(html! {
        (main)
        p { a href="/" { "Back to the experiment" } }
    })
}
