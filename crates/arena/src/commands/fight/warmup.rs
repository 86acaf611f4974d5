//! The warm-up: every kind of request, until connections, statements and caches are there. It leaves no rows.

use std::time::Duration;

use anyhow::{Context, ensure};
use ureq::Agent;

use crate::commands::database::Database;
use crate::load::vocabulary::Vocabulary;

const ROUNDS: usize = 300;

/// Sends requests of every kind, one after another, and removes everybody that they stored.
///
/// # Errors
///
/// If the API answers anything but what it must: there is no point in a bout then.
pub fn warm_up(url: &str, vocabulary: Vocabulary, database: &mut Database) -> anyhow::Result<()> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .into();
    (0..ROUNDS).try_for_each(|round| warm_up_once(&agent, url, vocabulary, round)).context("warm-up")?;
    database.remove_everybody()?;
    let left = database.people()?;
    ensure!(left == 0, "the warm-up left {left} people");
    Ok(())
}

fn warm_up_once(agent: &Agent, url: &str, vocabulary: Vocabulary, round: usize) -> anyhow::Result<()> {
    let people = format!("{url}{}", vocabulary.people_path());
    let [nickname, fullname, dob, stack] = vocabulary.person_keys();
    let body = format!(
        r#"{{"{nickname}":"warm-up {round}","{fullname}":"Warm Up","{dob}":"2000-01-01","{stack}":["Rust","SQL"]}}"#
    );
    let created = agent.post(&people).content_type("application/json").send(&body)?;
    expect(created.status().as_u16(), 201, "create")?;
    let location = created.headers().get("location").and_then(|location| location.to_str().ok());
    let location = location.context("a create was answered without a Location")?;
    expect(agent.get(format!("{url}{location}")).call()?.status().as_u16(), 200, "fetch")?;
    let search = format!("{people}?{}=warm-up+{round}", vocabulary.search_parameter());
    expect(agent.get(search).call()?.status().as_u16(), 200, "search")?;
    expect(agent.get(&people).call()?.status().as_u16(), 400, "search without a term")
}

fn expect(status: u16, wanted: u16, what: &str) -> anyhow::Result<()> {
    ensure!(status == wanted, "a {what} was answered {status} instead of {wanted}");
    Ok(())
}
