//! How a search is told: how long it takes, and a table of all attempts.

use std::time::Duration;

use super::attempts::told;
use super::question::{Driver, Question};
use super::subject::{Subject, size};
use crate::record::search::{Attempt, Figure, Search};
use crate::terminal;

/// Seconds that an attempt takes beside its load: on a stack that stands, on one that is started for it, on an entry.
const BESIDE: [f64; 3] = [4.0, 9.0, 30.0];

/// Seconds that Gatling takes to start and to read its log.
const OF_GATLING: f64 = 12.0;

/// How long attempts take: `short` ones on a stack that stands, and `whole` ones that each have a stack of their own.
pub fn estimate(question: &Question, subject: &Subject, short: usize, whole: usize) -> Duration {
    let is_entry = subject.entry.is_some();
    let is_gatling = question.driver == Driver::Gatling;
    let beside = |stands: bool| {
        let nth = if is_entry { 2 } else { usize::from(!stands || is_gatling) };
        BESIDE[nth] + if is_gatling { OF_GATLING } else { 0.0 }
    };
    let short = short as f64 * (question.seconds(question.short) + beside(true));
    Duration::from_secs_f64(short + whole as f64 * (question.seconds(1.0) + beside(false)))
}

/// A time in minutes, as people say it.
pub fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..90 => format!("{seconds} s"),
        seconds => format!("{} min", (seconds as f64 / 60.0).round()),
    }
}

/// All attempts as one table.
pub fn table(subject: &Subject, search: &Search) -> String {
    let labels: Vec<String> = subject.groups.iter().map(|group| group.label()).collect();
    let mut headings = vec!["", "for", "CPUs", "memory"];
    headings.extend(labels.iter().map(String::as_str));
    headings.push("what came of it");
    let right = 2..headings.len() - 1;
    let rows = search.attempts.iter().zip(1..).map(|(attempt, nth)| row(subject, attempt, search.figure, nth));
    terminal::markdown(&headings, rows, right)
}

fn row(subject: &Subject, attempt: &Attempt, figure: Figure, nth: usize) -> Vec<String> {
    let (cpus, memory) = subject.by_group(&attempt.limits);
    let (_, start) = subject.start_by_group();
    let cells = cpus.iter().zip(&memory).zip(&start).map(|((cpus, memory), start)| match memory == start {
        true => format!("{cpus:.3}"),
        false => format!("{cpus:.3} {}", size(*memory)),
    });
    let settings = attempt.settings.iter().map(|(name, value)| format!("{name}={value}: "));
    let mut row =
        vec![nth.to_string(), attempt.aim.to_string(), format!("{:.3}", attempt.cpus()), size(attempt.memory_bytes())];
    row.extend(cells);
    row.push(settings.collect::<String>() + &told(attempt, figure));
    row
}
