//! The pages: one shell, and the parts that every experiment's page is made of.

pub mod assets;
pub mod figure;
pub mod origin;
pub mod runs;
pub mod visit;

use maud::{DOCTYPE, Markup, html};
use serde_json::{Map, Value, json};

use crate::guess::{self, Question};
use crate::live::sampler::Figures;
use crate::server::Ports;
use crate::visitor::Notes;
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
    /// Address of the outcomes of this visitor's runs.
    pub outcomes: String,
    /// The server's name, for the note that says whether it answers.
    pub name: &'static str,
}

impl Source {
    /// The server that made the page.
    pub fn own(visit: &Visit) -> Self {
        Self { prefix: "", url: "/live".into(), outcomes: format!("/outcomes?run={}", visit.run), name: "Server" }
    }
}

/// A page of an experiment.
pub struct Page<'a> {
    /// The experiment it belongs to.
    pub experiment: Experiment,
    /// What guesses and a tool's figures are kept under; pages that ask the same share it.
    pub sheet: &'a str,
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
            (step(2, "run", "Let it run", html! {
                (name_form(self))
                (steps.run)
            }))
            (step(3, "watch", "Watch", html! {
                (source_states(&self.sources))
                (still_note())
                (steps.watch)
            }))
            (step(4, "compare", "Guess and outcome", html! {
                (outcome_table(self, steps.sides, steps.rows, steps.known))
                (the_rest(self, steps.sides))
            }))
            (steps.class)
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
        let sources = self.sources.iter();
        let sources =
            sources.map(|source| json!({ "prefix": source.prefix, "url": source.url, "outcomes": source.outcomes }));
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
    /// The sides whose runs are set side by side.
    pub sides: &'a [Side],
    /// Figures of the outcome.
    pub rows: &'a [Row],
    /// What stands there before the first message comes.
    pub known: &'a Known,
    /// What whoever runs the class can do.
    pub class: Markup,
}

/// One of the sides that an experiment compares.
#[derive(Clone, Copy)]
pub struct Side {
    /// As it stands in a run's key.
    pub name: &'static str,
    /// As people read it.
    pub label: &'static str,
}

/// What is known of a server when a page is made: all that a visitor without scripts sees of it.
pub struct Known {
    /// Prefix of its figures; see [`Source::prefix`].
    pub prefix: &'static str,
    /// Figures of this moment.
    pub figures: Figures,
    /// The last run of each side, this visitor's or else nobody's, or null.
    pub sides: Map<String, Value>,
    /// The server's run under way or its last one, whoever sent it, or null.
    pub server: Value,
}

impl Known {
    fn figure(&self, name: &str) -> Option<f64> {
        let name = name.strip_prefix(self.prefix)?;
        self.figures.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn outcome(&self, side: &str, figure: &str) -> Option<f64> {
        self.sides.get(side)?.get(figure)?.as_f64()
    }

    /// What became of the run of a side, as the script writes it too.
    fn says_of(&self, side: Side) -> String {
        let run = self.sides.get(side.name).unwrap_or(&Value::Null);
        let figure = |name: &str, format: Format| format.write(run[name].as_f64().unwrap_or_default());
        let Some(running) = run["running"].as_bool() else {
            return format!("{}: no run yet", side.label);
        };
        let name = run["name"].as_str().filter(|name| !name.is_empty()).unwrap_or("nobody named");
        let (label, number) = (side.label, &run["number"]);
        if running {
            return format!("{label}: run {number} of {name} is under way");
        }
        let (requests, failed) = (figure("requests", Format::Count), figure("failed", Format::Count));
        let seconds = figure("seconds", Format::Seconds);
        format!("{label}: run {number} of {name} ended: {requests} requests in {seconds} s, {failed} failed")
    }

    /// Whether several senders or sides ran at once, as the script writes it too.
    fn mixed(&self) -> String {
        let parts = &self.server["parts"];
        match self.server["mixed"].as_bool() {
            Some(true) => format!(
                "The server's last run was mixed: {parts} senders and sides are in it, so each may have had only what the others left."
            ),
            _ => String::new(),
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
    let guesses = page.visit.guesses(page.sheet);
    html! {
        form.guess action="/guess" method="post" {
            (belongs_to(page))
            div.fields {
                @for question in questions {
                    @let guess = guesses.get(question.figure);
                    @let wrong = guess.and_then(|guess| guess::read(guess).err());
                    label {
                        span { (question.label) }
                        span.field {
                            input name=(question.figure) value=[guess.map(as_written)] inputmode="decimal" autocomplete="off" maxlength="24" size="8"
                                aria-invalid=[wrong.map(|_| "true")];
                            span.unit { (question.unit) }
                        }
                        @if let Some(wrong) = wrong { span.wrong role="alert" { "This cannot be read: " (wrong) "." } }
                    }
                }
            }
            button type="submit" { "Write it down" }
        }
    }
}

/// A guess as the page writes numbers, or else as it was typed.
fn as_written(guess: &str) -> String {
    guess::read(guess).map_or(guess.to_owned(), figure::exactly)
}

/// The form in which a visitor says what runs are to be called.
fn name_form(page: &Page<'_>) -> Markup {
    html! {
        form.name action="/name" method="post" {
            (belongs_to(page))
            label { span { "Your runs are called" } input name="name" value=(page.visit.run) maxlength="40" size="14" autocomplete="nickname"; }
            button type="submit" { "Call them so" }
            a href="/runs" { "All runs" }
        }
    }
}

fn belongs_to(page: &Page<'_>) -> Markup {
    html! {
        input type="hidden" name="experiment" value=(page.sheet);
        input type="hidden" name="back" value=(page.visit.path);
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

/// A figure of the table that sets guesses and outcomes side by side.
pub struct Row {
    /// Name of the figure in the outcome.
    pub figure: &'static str,
    /// What it is called.
    pub label: &'static str,
    /// How it is written.
    pub format: Format,
    /// The one side that has it; none where all have it.
    pub only: Option<&'static str>,
}

impl Row {
    /// A figure that every side has.
    pub const fn of_all(figure: &'static str, label: &'static str, format: Format) -> Self {
        Self { figure, label, format, only: None }
    }

    /// A figure that one side has.
    pub const fn of(side: &'static str, figure: &'static str, label: &'static str, format: Format) -> Self {
        Self { figure, label, format, only: Some(side) }
    }
}

/// Guess and outcome side by side, the sides of each figure below each other.
fn outcome_table(page: &Page<'_>, sides: &[Side], rows: &[Row], known: &Known) -> Markup {
    let guesses = page.visit.guesses(page.sheet);
    let tool = page.visit.tool(page.sheet);
    html! {
        p.state role="status" data-run-state="" {
            @for (index, side) in sides.iter().enumerate() {
                @if index > 0 { br; }
                span data-side=(side.name) data-label=(side.label) { (known.says_of(*side)) } "."
            }
        }
        p.note data-mixed="" { (known.mixed()) }
        div.scroll {
            table.outcome {
                thead { tr {
                    th scope="col" { "Figure" }
                    th.number scope="col" { "Your guess" }
                    th.number scope="col" { "In the server" }
                    th.number scope="col" { "Your tool" }
                    th.number scope="col" { "The rest" }
                    th.number scope="col" { "Off by" }
                } }
                tbody {
                    @for row in rows {
                        @for side in sides.iter().filter(|side| row.only.is_none_or(|only| only == side.name)) {
                            (outcome_row(row, *side, &guesses, &tool, known))
                        }
                    }
                }
            }
        }
        p.note { "A run is yours where its address ends in " code { "?run=" (page.visit.run) } "; until you have one, the last that nobody put a name to is shown." }
    }
}

fn outcome_row(row: &Row, side: Side, guesses: &Notes, tool: &Notes, known: &Known) -> Markup {
    let figure = format!("{}.{}", side.name, row.figure);
    let guess = guesses.get(&figure).and_then(|guess| guess::read(guess).ok());
    let told: Option<f64> = tool.get(&figure).and_then(|told| told.parse().ok());
    let value = known.outcome(side.name, row.figure);
    let rest =
        told.zip(value).filter(|_| row.format == Format::Milliseconds).map(|(told, value)| (told - value).max(0.0));
    let off = guess.zip(told.or(value)).map(|(guess, outcome)| figure::off_by(guess, outcome));
    html! {
        tr {
            th scope="row" { (side.label) ": " (row.label) @if !row.format.unit().is_empty() { span.unit { ", " (row.format.unit()) } } }
            td.number { @if let Some(guess) = guess { (figure::exactly(guess)) } @else { span.none { "–" } } }
            td.number data-outcome=(figure) data-format=(row.format.name()) { (written(value, row.format)) }
            td.number data-tool=[told.map(|_| &figure)] { (written(told, row.format)) }
            td.number data-rest=[(row.format == Format::Milliseconds).then_some(&figure)] data-told=[told] { (written(rest, row.format)) }
            td.number data-off=(figure) data-guess=[guess] data-told=[told] { (off.unwrap_or_else(|| "–".into())) }
        }
    }
}

/// A lesson of its own: why a tool sees longer times than the server.
fn the_rest(page: &Page<'_>, sides: &[Side]) -> Markup {
    let unread = page.visit.tool(page.sheet).get("unread").is_some_and(|side| !side.is_empty());
    html! {
        h3 { "Where did the rest go?" }
        p { "The server looks at its clock when it has read a request and again when the answer is ready. Your tool looks when it begins to send and again when all has come. What lies between is connections, queues in the kernel, a turn on the CPU, and the tool itself. Lay the two beside each other: your guess is about what callers see." }
        form.tool action="/tool" method="post" {
            (belongs_to(page))
            label { span { "What " code { "ab" } " or " code { "k6" } " printed" } textarea name="text" rows="4" maxlength="20000" {} }
            @if unread { p.wrong role="alert" { "No figures of ab or k6 were found in it." } }
            fieldset {
                legend { "of" }
                @for (index, side) in sides.iter().enumerate() {
                    label.choice { input type="radio" name="side" value=(side.name) checked[index == 0]; (side.label) }
                }
            }
            button type="submit" { "Lay it beside" }
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
