//! `arena lab`: what whoever runs a class does with the lab, and what `arena up --lab` says of it.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Subcommand;
use serde_json::Value;

use crate::exit::Exit;
use crate::stack::lab::{Host, Lab};
use crate::stack::which::Which;
use crate::terminal::{self, plain_table};
use crate::workspace::Workspace;

/// What the settings of the lab are called in the environment.
const SETTINGS: [&str; 4] = ["LAB_LIMIT", "LAB_QUERY_DELAY", "LAB_REFUSE", "LAB_WORK"];

/// The word that the lab asks for.
const WORD: &str = "LAB_WORD";

/// How long a part may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A class after a class: look at the lab, switch its settings, empty it
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say what each part holds and how it is set
    Status(Asked),
    /// Forget what was stored, all runs, and what was switched
    Reset(Asked),
    /// Switch settings while the lab runs: limit, query_delay, refuse, work
    Set {
        /// NAME=VALUE; nothing or 0 behind the sign switches it off
        #[arg(required = true, value_name = "NAME=VALUE", value_parser = pair)]
        settings: Vec<(String, String)>,
        #[command(flatten)]
        asked: Asked,
    },
}

#[derive(Debug, clap::Args)]
struct Asked {
    #[command(flatten)]
    which: Which,
    /// The word that the lab was started with.
    #[arg(long, value_name = "WORD", env = WORD, hide_env_values = true, default_value = "", hide_default_value = true)]
    word: String,
}

/// Runs one of them; exit status 1 where the lab does not run, or a part does not do it.
///
/// # Errors
///
/// If the lab does not run, or a part refuses.
pub fn run(arguments: &Args) -> anyhow::Result<Exit> {
    match &arguments.what {
        What::Status(asked) => status(&lab(asked)?),
        What::Reset(asked) => reset(&lab(asked)?, &asked.word),
        What::Set { settings, asked } => set(&lab(asked)?, settings, &asked.word),
    }
}

/// Whether the lab may be opened to others as the caller's environment stands.
///
/// # Errors
///
/// Where nothing would keep them from emptying it.
pub fn check(host: Host) -> anyhow::Result<()> {
    let word = std::env::var(WORD).unwrap_or_default();
    ensure!(
        !host.is_open() || !word.is_empty(),
        "--lab-host {host} lets others in: set {WORD} to the word without which nobody empties the lab or switches its settings"
    );
    Ok(())
}

/// What opening the lab means, for whoever did.
pub fn opened(host: Host) -> String {
    if !host.is_open() {
        return String::new();
    }
    format!(
        "The lab is open: whoever reaches {host} can load it and read and store opinions. \
         What empties, tries again or switches asks for {WORD}. The API and the database stay on this machine.\n"
    )
}

/// What the caller's environment asks for and a lab that runs does not do.
pub fn unheard(lab: &Lab) -> String {
    let documents: Vec<Value> = lab.ports.pages().filter_map(|(_, page)| document(&page).ok()).collect();
    let mut text = String::new();
    for variable in SETTINGS {
        let Ok(wanted) = std::env::var(variable) else { continue };
        let name = variable.trim_start_matches("LAB_").to_lowercase();
        let known = documents.iter().find_map(|document| setting(document, &name));
        let known = known.unwrap_or_default();
        let wanted = if wanted == "0" { String::new() } else { wanted };
        if known != wanted {
            let known = if known.is_empty() { "off".to_owned() } else { known };
            // Writing into a string does not fail.
            let _ = writeln!(
                text,
                "{variable}={wanted} changes nothing in it, where it is {known}: `cargo arena lab set {name}={wanted}` does."
            );
        }
    }
    text
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    let known = SETTINGS.map(|variable| variable.trim_start_matches("LAB_").to_lowercase());
    if known.iter().any(|known| known == name) {
        return Ok((name.to_owned(), value.to_owned()));
    }
    Err(format!("there is no setting {name}, only {}", known.join(", ")))
}

fn lab(asked: &Asked) -> anyhow::Result<Lab> {
    let workspace = Workspace::find()?;
    asked.which.lab(&workspace)?.context("the lab does not run; `cargo arena up --lab` starts it")
}

fn status(lab: &Lab) -> anyhow::Result<Exit> {
    let mut table = plain_table(&["part", "page", "runs", "settings", "holds"]);
    let mut whole = lab.running;
    for (part, page) in lab.ports.pages() {
        let row = match document(&page) {
            Ok(document) => row(part, page, &document),
            Err(error) => {
                whole = false;
                vec![part.to_owned(), page, String::new(), String::new(), format!("{error:#}")]
            }
        };
        table.add_row(row);
    }
    terminal::print(&format!("{table}\n"))?;
    Ok(if whole { Exit::Good } else { Exit::Failed })
}

fn row(part: &str, page: String, document: &Value) -> Vec<String> {
    let settings = document["settings"].as_array().into_iter().flatten();
    let settings = settings.map(|setting| {
        let value = setting["value"].as_str().filter(|value| !value.is_empty()).unwrap_or("off");
        format!("{} {value}", plain(&setting["name"]))
    });
    let holds = document["holds"].as_object().into_iter().flatten();
    let holds: Vec<String> = holds.map(|(name, value)| format!("{name} {}", plain(value))).collect();
    let database = if document["database"] == true { holds.join(", ") } else { "the database does not answer".into() };
    let runs = format!("{}, {} under way", plain(&document["runs"]), plain(&document["running"]));
    vec![part.to_owned(), page, runs, settings.collect::<Vec<_>>().join(", "), database]
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.len().to_string(),
        value => value.to_string(),
    }
}

fn reset(lab: &Lab, word: &str) -> anyhow::Result<Exit> {
    for (part, page) in lab.ports.pages() {
        post(&format!("{page}class/reset"), &[("word", word)]).with_context(|| format!("emptying {part}"))?;
    }
    terminal::print("The lab is empty, and set as it was started.\n")?;
    Ok(Exit::Good)
}

fn set(lab: &Lab, settings: &[(String, String)], word: &str) -> anyhow::Result<Exit> {
    for (name, value) in settings {
        // One server of those that share a setting tells the others of it.
        let knows =
            |(_, page): &(&str, String)| document(page).is_ok_and(|document| setting(&document, name).is_some());
        let (_, page) = lab.ports.pages().find(knows).with_context(|| format!("no part answers that has {name}"))?;
        post(&format!("{page}class/switch"), &[("word", word), (name, value)])
            .with_context(|| format!("switching {name}"))?;
    }
    terminal::print("Switched; every part follows within a second.\n")?;
    Ok(Exit::Good)
}

fn setting(document: &Value, name: &str) -> Option<String> {
    let settings = document["settings"].as_array()?;
    let setting = settings.iter().find(|setting| setting["name"] == name)?;
    Some(setting["value"].as_str()?.to_owned())
}

fn document(page: &str) -> anyhow::Result<Value> {
    let mut answer = agent().get(format!("{page}class.json")).call()?;
    Ok(serde_json::from_str(&answer.body_mut().read_to_string()?)?)
}

fn post(url: &str, fields: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut answer = agent().post(url).send_form(fields.iter().copied())?;
    let status = answer.status().as_u16();
    let said = answer.body_mut().read_to_string()?;
    ensure!(status < 400, "{}", said.trim());
    Ok(())
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE));
    config.http_status_as_error(false).max_redirects(0).max_redirects_will_error(false).build().into()
}
