//! The page of a run: whole, accessible, and harmless whatever the document says.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use arena::read::report;
use arena::record::history::History;
use arena::record::run::{Goodput, Judged, Limit, Machine, Outcome, People, Percentiles, Run, Series, Step, Verdict};
use scraper::{ElementRef, Html, Selector};
use tempfile::TempDir;

mod common;

#[test]
fn a_page_says_the_verdict_first_and_then_everything_else() {
    let page = page(&[common::run("one", 205, 1.0)]);

    assert_eq!(text(&one(&page, "h1")), "Clean");
    assert_eq!(
        text(&one(&page, "main > section:first-child .verdict p")),
        "None of 126,896 requests failed, and all 46,576 people are stored."
    );
    let sections: Vec<String> = all(&page, "h2").iter().map(text).collect();
    assert_eq!(sections, ["Response times", "Load", "Cost", "Conditions"]);
    let charts: Vec<String> = all(&page, "figure.chart h3").iter().map(text).collect();
    for chart in [
        "Requests a second",
        "Requests in flight",
        "Median response time",
        "99th percentile of the response time",
        "Response time by percentile",
        "nginx",
        "api1",
        "api2",
        "db",
        "Memory by service",
    ] {
        assert!(charts.iter().any(|title| title == chart), "{chart} is not in {charts:?}");
    }
    let conditions = text(&one(&page, ".conditions"));
    for fact in ["34fb0571c2ab", "15.14", "AMD EPYC 7B13", "synchronous_commit", "one per user", "0.65 CPU, 2 GB"] {
        assert!(conditions.contains(fact), "{fact} is not in {conditions}");
    }
}

#[test]
fn a_ramp_shows_its_goodput_over_what_was_offered() {
    let step = |rate: f64, good: f64, refused| Step {
        users_per_second: rate,
        seconds: 11.0,
        requests: Vec::new(),
        broken: Vec::new(),
        goodput: Some(Goodput {
            seconds: 10.0,
            per_second: good,
            refused,
            response: [("create".to_owned(), Percentiles { p99: rate / 100.0, ..Percentiles::default() })].into(),
        }),
    };
    let steps = vec![step(250.0, 400.0, 0), step(1000.0, 1500.0, 20), step(4000.0, 1450.0, 50_000)];
    let run = Run { steps, ..common::run("one", 205, 1.0) };

    let alone = page(std::slice::from_ref(&run));
    let charts: Vec<String> = all(&alone, "figure.chart h3").iter().map(text).collect();
    let at = charts.iter().position(|title| title == "Goodput over offered load").unwrap();
    assert_eq!(charts[at + 1], "99th percentile of the successful requests");
    let chart = &all(&alone, "figure.chart")[at];
    let cells = |row: &ElementRef| within(row, "th, td").iter().map(text).collect::<Vec<_>>().join(" ");
    let rows: Vec<String> = within(chart, "tbody tr").iter().map(cells).collect();
    assert_eq!(rows, ["250 users/s 400 0 0", "1,000 users/s 1,500 2 0", "4,000 users/s 1,450 5,000 0"]);

    let both = page(&[run.clone(), Run { id: "two".to_owned(), ..run }]);
    let charts: Vec<String> = all(&both, "figure.chart h3").iter().map(text).collect();
    assert!(charts.iter().any(|title| title == "99th percentile of the successful requests: create"), "{charts:?}");
    let plain = page(&[common::run("one", 205, 1.0)]);
    assert!(all(&plain, "figure.chart h3").iter().all(|title| !text(title).contains("Goodput")));
}

#[test]
fn every_chart_has_a_title_a_description_and_its_data_as_a_table() {
    for runs in [vec![common::run("one", 205, 1.0)], three()] {
        let page = page(&runs);
        let ids = ids(&page);
        let charts = all(&page, "figure.chart");
        assert!(charts.len() >= 10);
        for chart in charts {
            let plot = first(&chart, "[role=img]");
            for reference in ["aria-labelledby", "aria-describedby"] {
                assert!(ids.contains(plot.attr(reference).unwrap()), "{reference}");
            }
            let points = chart.attr("data-x").unwrap().split(' ').count();
            assert_eq!(within(&chart, "details tbody tr").len(), points);
            let lines = within(&chart, "svg .line[d]:not(.key .line)").len();
            let columns = within(&chart, "details thead th").len();
            assert!(lines >= 1 && columns > lines, "{lines} lines, {columns} columns");
            assert_eq!(within(&chart, ".legend .value").len(), columns - 1, "the script pairs columns with the legend");
        }
    }
}

#[test]
fn the_throttled_seconds_and_the_limit_are_marked() {
    let mut run = common::run("one", 20, 1.0);
    let nginx = run.series.services.get_mut("nginx").unwrap();
    nginx.throttled_periods = (0..20).map(|second| u64::from(second == 7)).collect();
    let page = page(&[run]);

    let chart = all(&page, "figure.chart").into_iter().find(|chart| text(&first(chart, "h3")) == "nginx").unwrap();

    assert_eq!(first(&chart, ".plot .mark").attr("d").unwrap().matches('M').count(), 1);
    assert!(first(&chart, ".plot .limit").attr("d").unwrap().starts_with('M'));
    assert!(text(&first(&chart, ".legend")).contains("in 1 s"));
}

#[test]
fn what_became_of_a_service_and_what_was_only_sampled_is_said() {
    let mut run = common::run("one", 10, 1.0);
    run.services[1].restarts = 2;
    run.services[2].ended = true;
    run.services[3].memory_peak_sampled = true;
    let page = page(&[run]);
    let notes: Vec<String> = all(&page, "p.note").iter().map(text).collect();
    let of_api1 = "api1 began anew twice during the load; its figures are those of all its beginnings.";
    assert!(notes.iter().any(|note| note == of_api1), "{notes:?}");
    assert!(notes.iter().any(|note| note == "api2 had ended before the load did."), "{notes:?}");
    let cells: Vec<String> = all(&page, "table.figures td").iter().map(text).collect();
    assert_eq!(cells.iter().filter(|cell| cell.ends_with("MB sampled")).count(), 2, "the database and all: {cells:?}");
}

#[test]
fn several_runs_stand_side_by_side_with_what_they_differ_in() {
    let page = page(&three());

    assert_eq!(text(&one(&page, "h1")), "3 runs side by side");
    let headings: Vec<String> = all(&page, ".runs thead th").iter().map(text).collect();
    assert_eq!(headings, ["Run", "TCP", "Unix sockets", "third"], "labels where they are unique, else ids");
    assert!(text(&one(&page, ".caution")).contains("third failed"));
    let differs: Vec<String> = all(&page, ".differs th").iter().map(text).collect();
    assert!(differs.iter().any(|name| name.starts_with("sockets")), "{differs:?}");
    assert!(text(&one(&page, ".runs")).contains("+60 %"));
}

#[test]
fn sets_of_runs_share_a_colour_and_are_told_apart_by_dashes() {
    let names = [("1", "TCP"), ("2", "Unix"), ("3", "TCP"), ("4", "Unix"), ("5", "TCP"), ("6", "Unix")];
    let runs = names.map(|(id, label)| Run { label: Some(label.to_owned()), ..common::run(id, 20, 1.0) });
    let page = page(&runs);

    let headings = all(&page, ".runs thead th[class]");
    let names: Vec<String> = headings.iter().map(text).collect();
    assert_eq!(names, ["TCP #1", "Unix #1", "TCP #2", "Unix #2", "TCP #3", "Unix #3"]);
    let looks = ["c0 d0", "c1 d0", "c0 d1", "c1 d1", "c0 d2", "c1 d2"];
    assert!(headings.iter().zip(looks).all(|(heading, look)| heading.attr("class") == Some(look)));
    for chart in all(&page, "figure.chart") {
        let lines = within(&chart, "path.line[class*=' ']");
        assert!(lines.iter().zip(looks).all(|(line, look)| line.attr("class") == Some(&format!("line {look}"))));
    }
}

#[test]
fn a_kind_and_a_service_look_alike_in_every_chart_of_every_page() {
    let whole = common::run("one", 20, 1.0);
    let mut part = whole.clone();
    part.requests.retain(|requests| requests.kind == "search");
    part.series.requests.retain(|kind, _| kind == "search");
    part.services.retain(|cost| cost.service == "db");
    part.series.services.retain(|service, _| service == "db");

    let (whole, part) = (page(&[whole]), page(&[part]));
    for (page, chart, line, look) in [
        (&whole, "Requests a second", "search", "c2 d2"),
        (&part, "Requests a second", "search", "c2 d2"),
        (&part, "Response time by percentile", "search", "c2 d2"),
        (&whole, "Memory by service", "db", "c3 d3"),
        (&whole, "db", "CPUs used", "c3 d3"),
        (&part, "db", "CPUs used", "c3 d3"),
        (&part, "Requests in flight", "in flight", "c6 d0"),
    ] {
        let charts = all(page, "figure.chart");
        let chart = charts.iter().find(|figure| text(&first(figure, "h3")) == chart).unwrap();
        let entries = within(chart, ".legend li");
        let entry = entries.iter().find(|entry| text(&first(entry, ".name")) == line).unwrap();
        assert_eq!(entry.attr("class"), Some(look), "{line}");
    }
}

#[test]
fn hostile_text_stays_text() {
    let hostile = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)><style>*{display:none}</style>";
    let mut run = common::run("one", 5, 1.0);
    run.id = hostile.into();
    run.label = Some(hostile.into());
    run.commit = Some(hostile.into());
    run.started = hostile.into();
    run.judged = Judged::new(Verdict::new(Outcome::Failed, vec![hostile.into()]), run.people());
    run.settings.more.insert(hostile.into(), hostile.into());
    run.versions.insert(hostile.into(), hostile.into());
    run.machine.cpu = hostile.into();
    run.requests[0].kind = hostile.into();
    run.requests[0].failures.insert(hostile.into(), 3);
    run.services[0].service = hostile.into();
    let series = run.series.requests["create"].clone();
    run.series.requests.insert(hostile.into(), series);
    let series = run.series.services["nginx"].clone();
    run.series.services.insert(hostile.into(), series);
    run.budget.push(Limit { service: hostile.into(), cpus: Some(0.1), memory_bytes: None });

    for runs in [vec![run.clone()], vec![run.clone(), Run { id: "other".into(), ..run }]] {
        let page = page(&runs);
        assert_eq!(all(&page, "script").len(), 1);
        assert_eq!(all(&page, "style").len(), 1);
        assert_eq!(all(&page, "img").len(), 0);
        assert!(text(&page.root_element()).contains("<img src=x onerror=alert(1)>"));
        for element in all(&page, "*") {
            assert!(element.value().attrs().all(|(name, _)| !name.starts_with("on")), "{}", element.html());
        }
    }
}

#[test]
fn a_page_refers_to_nothing_outside_of_it() {
    let html = report::page(&three()).unwrap();
    let page = Html::parse_document(&html);

    for element in all(&page, "[src], [href], [data], [action], [poster], [srcset]") {
        assert_eq!(element.attr("href"), Some("data:,"), "{}", element.html());
    }
    assert!(!html.contains("url(") && !html.contains("@import"));
    let policy = one(&page, "meta[http-equiv=Content-Security-Policy]");
    assert!(policy.attr("content").unwrap().starts_with("default-src 'none'"));
}

#[test]
fn runs_of_which_little_is_known_make_a_page_too() {
    let whole = common::run("whole", 5, 1.0);
    let silent = Run {
        judged: Judged::new(whole.verdict().clone(), None),
        requests: Vec::new(),
        services: Vec::new(),
        budget: Vec::new(),
        durability: None,
        generator: None,
        series: Series::default(),
        machine: Machine::default(),
        versions: Default::default(),
        ..whole.clone()
    };
    let mut all_failed = whole.clone();
    all_failed.judged = Judged::new(
        Verdict::new(Outcome::Failed, vec!["nothing answered".into()]),
        Some(People { stored: 0, ceiling: 46_576, acknowledged: None }),
    );
    for requests in &mut all_failed.requests {
        requests.failures.insert("connection refused".into(), requests.count);
        requests.response = Default::default();
        requests.histogram = None;
    }
    let mut nothing_sent = whole.clone();
    for requests in &mut nothing_sent.requests {
        requests.count = 0;
    }
    let mut ragged = whole.clone();
    ragged.series.in_flight.truncate(1);
    ragged.series.requests.get_mut("fetch").unwrap().p99.clear();
    ragged.series.services.get_mut("db").unwrap().cpus.extend([0.0; 40]);

    for run in [silent, all_failed, nothing_sent, ragged, common::run("short", 1, 1.0), common::run("none", 0, 1.0)] {
        for runs in [vec![run.clone()], vec![whole.clone(), Run { id: "other".into(), ..run }]] {
            let html = report::page(&runs).unwrap();
            assert!(!html.contains("NaN") && !html.contains(">inf"), "{}", runs[0].id);
            assert_eq!(all(&Html::parse_document(&html), "h1").len(), 1);
        }
    }
}

#[test]
fn a_last_second_that_is_not_whole_is_no_break_down() {
    let whole = common::run("one", 20, 1.0);
    let run = Run { series: common::run("one", 21, 1.0).series, seconds: 20.4, ..whole.clone() };
    let mut unobserved = run.clone();
    unobserved.series.services.get_mut("db").unwrap().memory_bytes[20] = 0;
    let last = |run: &Run, chart: &str, column: usize| {
        let page = page(std::slice::from_ref(run));
        let charts = all(&page, "figure.chart");
        let chart = charts.iter().find(|figure| text(&first(figure, "h3")) == chart).unwrap();
        let rows = within(chart, "tbody tr");
        text(&within(rows.last().unwrap(), "td")[column])
    };

    for chart in ["Requests a second", "db"] {
        assert_eq!(last(&run, chart, 0), "–", "{chart}");
        assert_ne!(last(&whole, chart, 0), "–", "{chart}");
    }
    let memory = "Memory by service";
    let db = 3;
    assert_ne!(last(&run, memory, db), "–");
    assert_eq!(last(&unobserved, memory, db), "–");
}

#[test]
fn a_single_second_is_drawn_as_dots() {
    let page = page(&[common::run("short", 1, 1.0)]);
    let dots = all(&page, ".plot .dot").iter().filter(|dot| dot.attr("d").unwrap().ends_with("h0")).count();
    assert!(dots >= 8, "{dots}");
}

#[test]
fn a_long_run_makes_no_heavier_page_than_ten_minutes_do() {
    let html = report::page(&[common::run("hours", 7_200, 1.0)]).unwrap();
    let page = Html::parse_document(&html);
    let most = all(&page, "figure.chart").iter().map(|chart| within(chart, "tbody tr").len()).max().unwrap();

    assert_eq!(most, 600);
    assert!(html.len() < 1_500_000, "{} bytes", html.len());
    assert!(html.contains("one point for each 12 seconds"));
}

#[test]
fn a_page_holds_one_to_eight_runs() {
    let runs =
        |count: usize| -> Vec<Run> { (0..count).map(|nth| common::run(&format!("run-{nth}"), 2, 1.0)).collect() };
    assert!(report::page(&runs(0)).is_err());
    assert!(report::page(&runs(8)).is_ok());
    assert!(report::page(&runs(9)).is_err());
}

#[test]
fn the_command_writes_beside_the_document_or_where_it_is_told() {
    let directory = TempDir::new().unwrap();
    History::at(directory.path()).save(&common::run("one", 2, 1.0)).unwrap();
    let arena = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
        command.arg("report").args(args).env("ARENA_RUNS", directory.path()).output().unwrap()
    };

    assert_eq!(arena(&[]).status.code(), Some(0));
    assert!(fs::read_to_string(directory.path().join("one.html")).unwrap().contains("<h1>Clean</h1>"));
    let elsewhere = directory.path().join("page.html");
    assert_eq!(arena(&["one", "-o", elsewhere.to_str().unwrap()]).status.code(), Some(0));
    assert!(elsewhere.is_file());
    let unknown = arena(&["two"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert_eq!(String::from_utf8(unknown.stderr).unwrap().lines().count(), 1);
}

#[test]
fn a_page_stays_in_its_directory_whatever_id_the_document_has() {
    let directory = TempDir::new().unwrap();
    let document = directory.path().join("kept.json");
    fs::write(&document, serde_json::to_string(&common::run("../escaped", 2, 1.0)).unwrap()).unwrap();
    let report = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
        command.arg("report").arg(&document).args(more).env("ARENA_RUNS", directory.path().join("runs"));
        command.output().unwrap()
    };

    let refused = report(&[]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("--output") && said.lines().count() == 1, "{said}");
    assert!(!directory.path().join("escaped.html").exists());
    assert!(report(&["--output", directory.path().join("page.html").to_str().unwrap()]).status.success());
}

#[test]
fn a_checkout_that_kept_no_run_yet_can_make_a_page_of_gatlings_results() {
    let directory = TempDir::new().unwrap();
    let runs = directory.path().join("runs");
    let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
    command
        .args(["report", concat!(env!("CARGO_MANIFEST_DIR"), "/src/record/gatling_log/testdata")])
        .env("ARENA_RUNS", &runs);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(runs.join("testdata.html").is_file());
}

#[test]
fn a_directory_of_gatlings_results_makes_a_page() {
    let directory = TempDir::new().unwrap();
    let results = directory.path().join("bout-1");
    fs::create_dir(&results).unwrap();
    fs::copy(
        concat!(env!("CARGO_MANIFEST_DIR"), "/src/record/gatling_log/testdata/simulation.log"),
        results.join("simulation.log"),
    )
    .unwrap();

    let runs = History::at(directory.path()).select(results.to_str().unwrap()).unwrap();
    let page = page(&runs);

    assert_eq!(text(&one(&page, "h1")), "Failed");
    assert!(text(&one(&page, ".verdict")).contains("status 502"));
}

fn three() -> Vec<Run> {
    let mut runs = [("first", "TCP", 1.0), ("second", "Unix sockets", 0.8), ("third", "", 1.6)]
        .map(|(id, label, slowness)| Run { label: Some(label.to_owned()), ..common::run(id, 205, slowness) });
    runs[0].settings.more.insert("sockets".into(), "tcp".into());
    runs[2].label = None;
    let failed = Verdict::new(Outcome::Failed, vec!["212 creates failed".into()]);
    runs[2].judged = Judged::new(failed, runs[2].people());
    runs.to_vec()
}

fn page(runs: &[Run]) -> Html {
    Html::parse_document(&report::page(runs).unwrap())
}

fn all<'a>(page: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    within(&page.root_element(), selector)
}

fn within<'a>(element: &ElementRef<'a>, selector: &str) -> Vec<ElementRef<'a>> {
    element.select(&Selector::parse(selector).unwrap()).collect()
}

fn first<'a>(element: &ElementRef<'a>, selector: &str) -> ElementRef<'a> {
    within(element, selector).into_iter().next().unwrap()
}

fn one<'a>(page: &'a Html, selector: &str) -> ElementRef<'a> {
    let found = all(page, selector);
    assert_eq!(found.len(), 1, "{selector}");
    found[0]
}

fn text(element: &ElementRef) -> String {
    element.text().collect::<String>().trim().to_owned()
}

/// All ids of the page, each of which stands there once.
fn ids(page: &Html) -> BTreeSet<String> {
    let ids: Vec<String> = all(page, "[id]").iter().map(|element| element.attr("id").unwrap().to_owned()).collect();
    let unique: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(ids.len(), unique.len(), "an id stands twice");
    unique
}
