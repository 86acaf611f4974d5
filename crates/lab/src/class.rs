//! What whoever runs a class does: look at all parts, switch their settings, empty them for the next class.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use futures_util::future::BoxFuture;
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use crate::live::recorder::Recorder;
use crate::page::Visit;
use crate::page::origin::refuse_other_sites;
use crate::server::Word;
use crate::switches::{Kind, Setting, Switches};

/// A part of the lab, as whoever runs the class sees it.
pub trait Part: Send + Sync + 'static {
    /// Its settings.
    fn switches(&self) -> &Switches;

    /// Switches a setting.
    fn switch(&self, kind: &'static Kind, value: String) -> BoxFuture<'_, anyhow::Result<()>>;

    /// Forgets everything that a class left, and makes all settings what they were.
    fn reset(&self) -> BoxFuture<'_, anyhow::Result<()>>;

    /// What it holds at this moment.
    fn holds(&self) -> BoxFuture<'_, anyhow::Result<Map<String, Value>>>;
}

/// One server's part.
#[derive(Clone)]
pub struct Class {
    part: Arc<dyn Part>,
    recorder: Arc<Recorder>,
}

type Fields = BTreeMap<String, String>;

impl Class {
    /// The class at a server whose requests `recorder` counts.
    pub fn new(part: Arc<dyn Part>, recorder: Arc<Recorder>) -> Self {
        Self { part, recorder }
    }

    /// `/class.json`, `/class/switch` and `/class/reset`.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/class.json", get(document))
            .route("/class/switch", post(switch))
            .route("/class/reset", post(reset))
            .layer(from_fn(refuse_other_sites))
            .with_state(self.clone())
    }

    /// The end of a page.
    pub fn section(&self, visit: &Visit) -> Markup {
        let settings = self.part.switches().all();
        html! {
            section.step.class aria-labelledby="class-title" {
                h2 #class-title { "For whoever runs the class" }
                form.name action="/class/switch" method="post" {
                    @for setting in &settings { (field(setting)) }
                    (word_field(visit))
                    input type="hidden" name="back" value=(visit.path);
                    button type="submit" { "Switch" }
                }
                form.name action="/class/reset" method="post" {
                    span { "After a class: forget what was stored, all runs, and what was switched." }
                    (word_field(visit))
                    input type="hidden" name="back" value=(visit.path);
                    button type="submit" { "Empty it" }
                }
            }
        }
    }
}

fn field(setting: &Setting) -> Markup {
    html! {
        label {
            span { (setting.kind.label) }
            span.field { input name=(setting.name) value=(setting.value) placeholder="off" size="6" autocomplete="off"; span.unit { (setting.kind.unit) } }
            @if setting.value != setting.started { span.note { "started with " @if setting.started.is_empty() { "none" } @else { (setting.started) } } }
        }
    }
}

/// Where the word is typed, if the lab asks for one.
pub fn word_field(visit: &Visit) -> Markup {
    html! {
        @if visit.asks_for_word {
            label { span { "The class's word" } input type="password" name="word" size="10" autocomplete="current-password"; }
        }
    }
}

/// What is said where the database does not answer.
fn failed(error: &anyhow::Error) -> Response {
    crate::server::complain(format_args!("lab: {error:#}"));
    (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response()
}

async fn document(State(class): State<Class>, Extension(word): Extension<Word>) -> Response {
    let settings: Vec<Setting> = class.part.switches().all();
    let runs = class.recorder.outcomes();
    let running = runs.iter().filter(|(_, run)| run.running).count();
    let holds = class.part.holds().await;
    let database = holds.is_ok();
    let document = json!({
        "schema": 1,
        "settings": settings,
        "runs": runs.len(),
        "running": running,
        "database": database,
        "asks_for_word": word.is_set(),
        "holds": holds.unwrap_or_default(),
    });
    Json(document).into_response()
}

async fn switch(State(class): State<Class>, Extension(word): Extension<Word>, Form(fields): Form<Fields>) -> Response {
    let wanted = fields.iter().filter(|(name, _)| !["word", "back"].contains(&name.as_str()));
    let wanted: Result<Vec<_>, String> = wanted.map(|(name, value)| class.part.switches().read(name, value)).collect();
    if let Err(refusal) = word.check(said(&fields)) {
        return refusal.into_response();
    }
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(error) => return (StatusCode::UNPROCESSABLE_ENTITY, format!("{error}\n")).into_response(),
    };
    for (kind, value) in wanted {
        if let Err(error) = class.part.switch(kind, value).await {
            return failed(&error);
        }
    }
    back(&fields)
}

async fn reset(State(class): State<Class>, Extension(word): Extension<Word>, Form(fields): Form<Fields>) -> Response {
    if let Err(refusal) = word.check(said(&fields)) {
        return refusal.into_response();
    }
    if let Err(error) = class.part.reset().await {
        return failed(&error);
    }
    class.recorder.forget();
    back(&fields)
}

fn said(fields: &Fields) -> &str {
    fields.get("word").map_or("", String::as_str)
}

fn back(fields: &Fields) -> Response {
    let path = fields.get("back").map(String::as_str).filter(|path| path.starts_with('/') && !path.starts_with("//"));
    let plain = path.filter(|path| path.chars().all(|c| c.is_ascii_graphic() && c != '\\'));
    (StatusCode::SEE_OTHER, [(LOCATION, plain.unwrap_or("/").to_owned())]).into_response()
}
