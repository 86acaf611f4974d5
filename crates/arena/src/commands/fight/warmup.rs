//! The warm-up: every kind of request, until connections, statements and caches are there. It leaves no rows.

use std::time::Duration;

use anyhow::{Context, ensure};
use ureq::Agent;

use crate::commands::database::Database;
use crate::load::vocabulary::Vocabulary;

const ROUNDS: usize = 300;

/// Sends requests of every kind, one after another, and removes the people that they stored; `before` people were there.
///
/// # Errors
///
/// If the API answers anything but what it must: there is no point in a bout then.
pub fn warm_up(url: &str, vocabulary: Vocabulary, database: &mut Database, before: u64) -> anyhow::Result<()> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .into();
    let mut stored = Vec::with_capacity(ROUNDS);
    let warmed = (0..ROUNDS).try_for_each(|round| warm_up_once(&agent, url, vocabulary, round, &mut stored));
    match before {
        0 => database.remove_everybody()?,
        _ => database.remove(&stored)?,
    }
    warmed.context("warm-up")?;
    let left = database.people()?.saturating_sub(before);
    ensure!(left == 0, "the warm-up left {left} people");
    Ok(())
}

/// One request of every kind. Whose create was answered with 201 is added to `stored`.
fn warm_up_once(
    agent: &Agent,
    url: &str,
    vocabulary: Vocabulary,
    round: usize,
    stored: &mut Vec<String>,
) -> anyhow::Result<()> {
    let people = format!("{url}{}", vocabulary.people_path());
    let [key, fullname, dob, stack] = vocabulary.person_keys();
    let nickname = format!("warm-up {round}");
    let body =
        format!(r#"{{"{key}":"{nickname}","{fullname}":"Warm Up","{dob}":"2000-01-01","{stack}":["Rust","SQL"]}}"#);
    let created = agent.post(&people).content_type("application/json").send(&body)?;
    expect(created.status().as_u16(), 201, "create")?;
    stored.push(nickname);
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
