//! The pages: one shell, and the parts that every experiment's page is made of.

pub mod assets;
pub mod figure;
pub mod origin;
pub mod visit;

use maud::{DOCTYPE, Markup, html};
use serde_json::{Value, json};

use crate::guess::Question;
use crate::live::sampler::Figures;
use crate::server::Ports;
pub use figure::Format;
pub use visit::Visit;

/// The experiments, as the navigation shows them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Experiment {
    /// Blocking and non-blocking.
    Blocking,
    /// Forms, at once and queued.
    Forms,
    /// The scarce resource.
    Resource,
}

impl Experiment {
    const ALL: [Self; 3] = [Self::Blocking, Self::Forms, Self::Resource];

    /// Its name in cookies and in `arena experiment`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::Forms => "forms",
            Self::Resource => "resource",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Blocking => "Blocking or not",
            Self::Forms => "At once or queued",
            Self::Resource => "The scarce resource",
        }
    }

    fn port(self, ports: Ports) -> u16 {
        match self {
            Self::Blocking => ports.blocking_port,
            Self::Forms => ports.forms_port,
            Self::Resource => ports.resource_port,
        }
    }
}

/// Where a page gets its live figures.
pub struct Source {
    /// Goes before the name of each figure; empty where the page has one source only.
    pub prefix: &'static str,
    /// Address of the event stream, relative or absolute.
    pub url: String,
    /// The server's name, for the note that says whether it answers.
    pub name: &'static str,
}

impl Source {
    /// The server that made the page.
    pub fn own() -> Self {
        Self { prefix: "", url: "/live".into(), name: "Server" }
    }
}

/// A page of an experiment.
pub struct Page<'a> {
    /// The experiment it belongs to.
    pub experiment: Experiment,
    /// Title of the window, and the heading.
    pub title: &'a str,
    /// Who looks.
    pub visit: &'a Visit,
    /// Where its figures come from; none for a page that stands still.
    pub sources: Vec<Source>,
}

impl Page<'_> {
    /// The whole document around `main`.
    pub fn render(&self, main: Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.title) " · Peleja lab" }
                    link rel="icon" href="data:,";
                    link rel="stylesheet" href="/assets/lab.css";
                    script src="/assets/lab.js" defer {}
                }
                body data-sources=(self.sources()) {
                    a.skip href="#main" { "Skip to content" }
                    header.top { (self.navigation()) }
                    main #main {
                        h1 { (self.title) }
                        (main)
                    }
                }
            }
        }
    }

    /// The whole document of an experiment: guess, run, watch, compare.
    pub fn experiment(&self, steps: Steps<'_>) -> Markup {
        self.render(html! {
            (steps.question)
            (step(1, "guess", "Guess before you look", guess_form(self, steps.questions)))
            (step(2, "run", "Let it run", steps.run))
            (step(3, "watch", "Watch", html! {
                (source_states(&self.sources))
                (still_note())
                (steps.watch)
            }))
            (step(4, "compare", "Guess and outcome", outcome_table(self, steps.rows, steps.known)))
        })
    }

    fn navigation(&self) -> Markup {
        html! {
            div.bar {
                span.brand { "Peleja lab" }
                nav aria-label="Experiments" {
                    @for experiment in Experiment::ALL {
                        @let here = experiment == self.experiment;
                        a href=(self.visit.address(experiment, self.experiment)) aria-current=[here.then_some("true")] {
                            (experiment.title())
                        }
                    }
                }
            }
        }
    }

    fn sources(&self) -> String {
        let sources = self.sources.iter().map(|source| json!({ "prefix": source.prefix, "url": source.url }));
        Value::Array(sources.collect()).to_string()
    }
}

/// The parts of an experiment that differ; the shell around them is the same for all.
pub struct Steps<'a> {
    /// What the experiment asks, and what else stands before its steps.
    pub question: Markup,
    /// What a visitor may guess.
    pub questions: &'a [Question],
    /// Commands to type.
    pub run: Markup,
    /// What moves while they run.
    pub watch: Markup,
    /// Figures of the outcome.
    pub rows: &'a [Row],
    /// What stands there before the first message comes.
    pub known: &'a Known,
}

/// What is known of a server when a page is made: all that a visitor without scripts sees of it.
pub struct Known {
    /// Prefix of its figures; see [`Source::prefix`].
    pub prefix: &'static str,
    /// Figures of this moment.
    pub figures: Figures,
    /// The run under way or the last one, or null.
    pub run: Value,
}

impl Known {
    fn figure(&self, name: &str) -> Option<f64> {
        let name = name.strip_prefix(self.prefix)?;
        self.figures.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn outcome(&self, name: &str) -> Option<f64> {
        self.run.get(name.strip_prefix(self.prefix)?)?.as_f64()
    }

    /// State and text, as the script writes them.
    fn run_state(&self) -> (&'static str, String) {
        let figure = |name: &str, format: Format| format.write(self.run[name].as_f64().unwrap_or_default());
        let server = match self.prefix {
            "" => "Run",
            "blocking." => "Blocking: run",
            _ => "Nonblocking: run",
        };
        match self.run["running"].as_bool() {
            None => ("", "No run yet. A run begins with the first request and ends after two quiet seconds.".into()),
            Some(true) => ("running", format!("{server} {} is under way.", self.run["number"])),
            Some(false) => {
                let (requests, failed) = (figure("requests", Format::Count), figure("failed", Format::Count));
                let seconds = figure("seconds", Format::Seconds);
                let number = &self.run["number"];
                ("ended", format!("{server} {number} ended: {requests} requests in {seconds} s, {failed} failed."))
            }
        }
    }
}

/// What a page asks, and how its answer is found.
pub fn question(text: Markup) -> Markup {
    html! { div.question { (text) } }
}

/// One numbered step of an experiment.
fn step(number: u8, id: &str, title: &str, content: Markup) -> Markup {
    html! {
        section.step id=(id) aria-labelledby={ (id) "-title" } {
            h2 id={ (id) "-title" } { span.number aria-hidden="true" { (number) } (title) }
            (content)
        }
    }
}

/// The form in which a visitor writes down a guess.
fn guess_form(page: &Page<'_>, questions: &[Question]) -> Markup {
    let guesses = page.visit.guesses(page.experiment);
    html! {
        form.guess action="/guess" method="post" {
            input type="hidden" name="experiment" value=(page.experiment.name());
            input type="hidden" name="back" value=(page.visit.path);
            div.fields {
                @for question in questions {
                    label {
                        span { (question.label) }
                        span.field {
                            input name=(question.figure) value=[guesses.get(question.figure)] inputmode="decimal"
                                autocomplete="off" maxlength="12" size="8" pattern="[0-9]*[.,]?[0-9]*";
                            span.unit { (question.unit) }
                        }
                    }
                }
            }
            button type="submit" { "Write it down" }
        }
    }
}

/// A command to type, with a button that copies it.
pub fn command(text: &str, says: &str) -> Markup {
    html! {
        div.command {
            p { (says) }
            div.line {
                pre tabindex="0" { code { (text) } }
                button.copy type="button" hidden data-copy=(text) aria-label={ "Copy the command " (text) } { "Copy" }
            }
        }
    }
}

/// A row of big live numbers: figure, label and format.
pub fn gauges(known: &Known, list: &[(&str, &str, Format)]) -> Markup {
    html! {
        dl.gauges {
            @for (figure, label, format) in list {
                div.gauge {
                    dt { (label) }
                    dd { span data-figure=(figure) data-format=(format.name()) { (written(known.figure(figure), *format)) } " " span.unit { (format.unit()) } }
                }
            }
        }
    }
}

/// A moving chart of the last minute. Each series is a figure and what it is called.
pub fn chart(known: &Known, title: &str, format: Format, series: &[(&str, &str)]) -> Markup {
    let figures: Vec<&str> = series.iter().map(|(figure, _)| *figure).collect();
    html! {
        figure.chart.pair[series.len() > 1] data-series=(figures.join(" ")) data-format=(format.name()) data-title=(title) data-unit=(format.unit()) {
            figcaption {
                span.title { (title) }
                @for (index, (figure, label)) in series.iter().enumerate() {
                    span.legend {
                        @if series.len() > 1 { span.swatch.{ "series-" (index) } aria-hidden="true" {} (label) " " }
                        b data-figure=(figure) data-format=(format.name()) { (written(known.figure(figure), format)) }
                        @if index + 1 == series.len() { " " span.unit { (format.unit()) } }
                    }
                }
            }
            div.plot {
                span.top aria-hidden="true" {}
                svg viewBox="0 0 600 150" preserveAspectRatio="none" role="img" aria-label={ (title) ", last minute" } {
                    path.grid d="M0 .5H600M0 75H600M0 149.5H600" {}
                    @for index in 0..series.len() { polyline.{ "series-" (index) } points="" {} }
                }
            }
            div.axis aria-hidden="true" { span { "1 min ago" } span { "now" } }
        }
    }
}

/// A column of the table that sets guesses and outcomes side by side.
pub struct Row {
    /// Name of the figure in the outcome, with the prefix of its server.
    pub figure: &'static str,
    /// What it is called.
    pub label: &'static str,
    /// How it is written.
    pub format: Format,
}

/// Guess and outcome side by side.
fn outcome_table(page: &Page<'_>, rows: &[Row], known: &Known) -> Markup {
    let guesses = page.visit.guesses(page.experiment);
    let (state, says) = known.run_state();
    html! {
        p.state role="status" data-run-state=(state) { (says) }
        div.scroll {
            table.outcome {
                thead { tr { th scope="col" { "Figure" } th.number scope="col" { "Your guess" } th.number scope="col" { "Outcome" } th.number scope="col" { "Off by" } } }
                tbody {
                    @for row in rows {
                        @let guess = guesses.get(row.figure);
                        @let value = known.outcome(row.figure);
                        tr {
                            th scope="row" { (row.label) @if !row.format.unit().is_empty() { span.unit { ", " (row.format.unit()) } } }
                            td.number { @if let Some(guess) = guess { (guess) } @else { span.none { "–" } } }
                            td.number data-outcome=(row.figure) data-format=(row.format.name()) { (written(value, row.format)) }
                            td.number data-off=(row.figure) data-guess=[guess] { (off_by(guess, value)) }
                        }
                    }
                }
            }
        }
    }
}

/// A note for those without scripts.
fn still_note() -> Markup {
    html! { noscript { p.note { "Scripts are off, so the figures stand still: reload the page to see newer ones. Rates and charts need scripts; everything else works." } } }
}

/// The marks that tell whether a page's sources answer.
fn source_states(sources: &[Source]) -> Markup {
    html! {
        p.sources {
            @for source in sources {
                span.source data-source=(source.prefix) data-state="waiting" { span.dot aria-hidden="true" {} (source.name) " " span.word { "connecting" } }
            }
        }
    }
}

fn written(value: Option<f64>, format: Format) -> String {
    value.map_or("–".into(), |value| format.write(value))
}

fn off_by(guess: Option<&str>, outcome: Option<f64>) -> String {
    let guess = guess.and_then(|guess| guess.parse::<f64>().ok());
    match (guess, outcome) {
        (Some(guess), Some(outcome)) => figure::off_by(guess, outcome),
        _ => "–".into(),
    }
}
