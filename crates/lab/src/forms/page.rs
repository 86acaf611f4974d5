//! The pages of the forms. They need no script; with one, their figures move.

use maud::{Markup, html};

use super::opinion::{Draft, LONGEST_NAME, LONGEST_OPINION, Refusal, Way};
use super::queue::{DeadLetter, SHOWN};
use super::store::Shown;
use crate::guess::Question;
use crate::page::{self, Experiment, Format, Known, Page, Row, Source, Steps, Visit};

const QUESTIONS: [Question; 4] = [
    Question { figure: "p50", label: "Response time, median", unit: "ms" },
    Question { figure: "p99", label: "Response time that 99 % stay within", unit: "ms" },
    Question { figure: "lag", label: "Queued: from accepted until stored, mean", unit: "ms" },
    Question { figure: "most_waiting", label: "Queued: most that wait at once", unit: "opinions" },
];

const ROWS: [Row; 8] = [
    Row { figure: "p50", label: "Response time, median", format: Format::Milliseconds },
    Row { figure: "p95", label: "Response time, 95 % within", format: Format::Milliseconds },
    Row { figure: "p99", label: "Response time, 99 % within", format: Format::Milliseconds },
    Row { figure: "lag", label: "Queued: from accepted until stored, mean", format: Format::Milliseconds },
    Row { figure: "most_waiting", label: "Queued: most that wait at once", format: Format::Count },
    Row { figure: "requests", label: "Opinions sent", format: Format::Count },
    Row { figure: "failed", label: "Opinions not taken", format: Format::Count },
    Row { figure: "seconds", label: "From first to last answer", format: Format::Seconds },
];

pub(super) fn index(visit: &Visit, known: &Known) -> Markup {
    let page =
        Page { experiment: Experiment::Forms, title: "Forms, at once and queued", visit, sources: vec![Source::own()] };
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
            (page::command("k6 run k6/forms.js", "1,000 opinions in 15 seconds, stored at once:"))
            (page::command("k6 run -e WAY=opinion-async k6/forms.js", "The same, queued:"))
            (page::command("cargo arena experiment forms", "Both, with the time until stored, in one table:"))
            p.note { "Then kill the worker in the middle of it (" code { "kill -9" } "): no opinion is lost, and none is stored twice." }
        },
        watch: html! {
            (page::gauges(known, &[
                ("database", "Database", Format::Presence),
                ("waiting", "Waiting in the queue", Format::Count),
                ("running", "With a worker", Format::Count),
                ("oldest", "Oldest job", Format::Seconds),
                ("lag", "Accepted until stored", Format::Milliseconds),
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
        rows: &ROWS,
        known,
    })
}

pub(super) fn form(visit: &Visit, way: Way, draft: &Draft, refusal: Option<Refusal>) -> Markup {
    let (title, action) = match way {
        Way::AtOnce => ("Say something, stored at once", "/form"),
        Way::Queued => ("Say something, queued", "/async-form"),
    };
    let wrong = |field: &str| refusal.filter(|refusal| refusal.field == field);
    standing(
        visit,
        title,
        html! {
            form.paper action=(action) method="post" {
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
                @if let Some(refusal) = wrong("") { p.wrong role="alert" { (refusal.error) } }
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
                p.note { "There are none. To see one, start the lab with " code { "LAB_REFUSE=WORD" } " in its environment and queue an opinion with that word." }
            } @else {
                @if letters.len() == SHOWN { p.note { "The " (SHOWN) " oldest are shown." } }
                form action="/dead-letters/retry" method="post" { button type="submit" { "Try all again" } }
                @for letter in letters {
                    article.opinion {
                        p { (letter.text) }
                        footer {
                            (letter.name) ", job " (letter.id) ", " (letter.attempts) " attempts"
                            p.wrong { (letter.error) }
                            form action={ "/dead-letters/" (letter.id) "/retry" } method="post" {
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
    let page = Page { experiment: Experiment::Forms, title, visit, sources: vec![] };
    page.render(html! {
        (main)
        p { a href="/" { "Back to the experiment" } }
    })
}
