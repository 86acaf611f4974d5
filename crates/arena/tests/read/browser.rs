//! The page in a real browser, Chromium: it renders, its script works, it says nothing on the console and asks for nothing.
//!
//! Where there is no Chromium the test says so and checks nothing, unless `ARENA_REQUIRE_BROWSER=1`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use arena::read::report;
use arena::read::standings::Standing;
use arena::record::run::{Judged, Outcome, Run, Verdict};
use arena::record::torment::report::Report;
use arena::record::torment::{Asked, Details, Fault, Header, History, Request};
use scraper::{Html, Selector};
use serde_json::Value;
use tempfile::TempDir;

mod common;

/// What a reader does: move along a chart by keyboard, look at another over the same seconds, and choose a theme. What
/// they then see is left in an attribute of the body. Events are made by hand: a window that the system has not given the
/// focus, as a headless one may be, sends none of its own when an element gains or loses it.
const READER: &str = r#"<script>
const charts = [...document.querySelectorAll('figure.chart')];
const [first, second] = charts;
const values = (chart) => [...chart.querySelectorAll('.legend .value')].map((value) => value.textContent);
const before = values(first);
const scrub = first.querySelector('input[type=range]');
scrub.dispatchEvent(new Event('focus'));
scrub.value = 3;
scrub.dispatchEvent(new Event('input'));
const row = [...first.querySelectorAll('tbody tr')[3].cells].slice(1).map((cell) => cell.textContent);
const during = values(first);
const spoken = scrub.getAttribute('aria-valuetext');
const together = !second.querySelector('.rule').hidden;
scrub.dispatchEvent(new Event('blur'));
const background = () => getComputedStyle(document.body).backgroundColor;
const themes = [1, 2, 3].map(() => { document.querySelector('.theme').click(); return background(); });
const within = (element) => element.closest('.scroll') !== null && !element.matches('.scroll');
const wide = [...document.querySelectorAll('body *')]
  .filter((element) => !within(element) && element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map((element) => `${element.tagName} ${element.className.baseVal ?? element.className}`);
const resources = performance.getEntriesByType('resource').map(({ name }) => name);
const heights = charts.map((chart) => chart.querySelector('.plot').getBoundingClientRect().height);
document.body.dataset.seen = JSON.stringify({ before, row, during, after: values(first), spoken, together, themes, wide, resources, heights });
</script></body>"#;

#[test]
fn a_reader_sees_and_hears_the_values_and_nothing_leaves_the_page() {
    let Some(browser) = browser() else { return };
    let failed = Verdict::new(Outcome::Failed, vec!["<img src=//example.org/a.png onerror=alert(1)>".into()]);
    let several = [common::run("one", 60, 1.0), Run { label: Some("x".repeat(200)), ..common::run("two", 60, 2.0) }];
    let pages = [
        report::page(&[common::run("one", 60, 1.0)]).unwrap(),
        report::page(&several).unwrap(),
        report::page(&[Run { judged: Judged::new(failed, None), ..common::run("short", 5, 1.0) }]).unwrap(),
        league(&several),
        torment(),
    ];
    for page in pages {
        for width in [500, 1_400] {
            let visit = Visit::to(&browser, &page, width);

            assert_eq!(visit.console, Vec::<String>::new());
            let seen = &visit.seen;
            assert_eq!(seen["resources"], serde_json::json!([]), "the page asked for something");
            assert_ne!(seen["before"], seen["during"]);
            assert_eq!(seen["before"], seen["after"]);
            for (cell, value) in seen["row"].as_array().unwrap().iter().zip(seen["during"].as_array().unwrap()) {
                assert!(value.as_str().unwrap().starts_with(cell.as_str().unwrap()), "{value} shows {cell}");
                assert!(seen["spoken"].as_str().unwrap().contains(value.as_str().unwrap()), "{seen}");
            }
            assert_eq!(seen["together"], true, "charts over the same seconds are read together");
            assert_ne!(seen["themes"][0], seen["themes"][1], "light and dark look alike");
            assert_eq!(seen["wide"], serde_json::json!([]), "wider than the window of {width}");
            assert!(
                seen["heights"].as_array().unwrap().iter().all(|height| height.as_f64().unwrap() > 100.0),
                "{seen}"
            );
        }
    }
}

/// The page of a league in which others never fought, for reasons with long lines and long words.
fn league(runs: &[Run]) -> String {
    let fought = runs.iter().map(|run| Standing::new("fought".into(), vec![run.clone()], vec![]));
    let reason = format!("it does not start:\n  api | {}\n{}", "no way ".repeat(40), "x".repeat(200));
    let reasons = [reason, "x".repeat(200)].map(|reason| Standing::new("y".repeat(100), vec![], vec![reason]));
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("league.html");
    report::write_league(&fought.chain(reasons).collect::<Vec<_>>(), &path).unwrap();
    fs::read_to_string(path).unwrap()
}

/// The page of a torment of ten seconds in which a create went astray, and a fault could not be tried for a long reason.
fn torment() -> String {
    let details = Details { nickname: "x".repeat(32), fullname: "f".into(), dob: "2000-01-01".into(), stack: None };
    let request = |nth: u64| Request {
        client: 1,
        begin: nth * 20_000,
        end: nth * 20_000 + 1_000 * (1 + nth % 7),
        asked: if nth == 100 { Asked::Create(details.clone()) } else { Asked::Count },
        status: (!nth.is_multiple_of(30)).then_some(if nth == 100 { 422 } else { 200 }),
        said: None,
    };
    let fault =
        |nth: u64, name: &str| Fault { name: name.into(), begin: nth * 1_000_000, end: nth * 1_500_000, back: None };
    let mut header = Header::new("torment".into());
    header.skipped.push(("disk".into(), "no way ".repeat(40)));
    let faults = vec![fault(1, "kill-db"), fault(3, "cut-nginx-api1"), fault(5, "cpu-db")];
    let history = History { header, requests: (0..500).map(request).collect(), faults, rows: Vec::new() };
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("torment.html");
    report::write_torment(&Report::of(&history), &history, &path).unwrap();
    fs::read_to_string(path).unwrap()
}

/// What a visit to a page left behind.
struct Visit {
    /// What the reader saw.
    seen: Value,
    /// Lines on the console; a request that the page's policy refuses is one.
    console: Vec<String>,
}

impl Visit {
    fn to(browser: &Path, page: &str, width: u32) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("page.html");
        fs::write(&path, page.replace("</body>", READER)).unwrap();
        let output = Command::new(browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--dump-dom"])
            .args(["--disable-dev-shm-usage", "--enable-logging=stderr", "--log-level=0"])
            // The browser itself would ask its maker for updates.
            .args(["--host-resolver-rules=MAP * ~NOTFOUND"])
            .arg(format!("--window-size={width},900"))
            .arg(format!("--user-data-dir={}", directory.path().join("profile").display()))
            .arg(format!("file://{}", path.display()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let dom = Html::parse_document(&String::from_utf8_lossy(&output.stdout));
        let body = dom.select(&Selector::parse("body").unwrap()).next().unwrap();
        let seen = body.attr("data-seen").unwrap_or_else(|| panic!("the script did not end: {stderr}"));
        Self {
            seen: serde_json::from_str(seen).unwrap(),
            console: stderr.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect(),
        }
    }
}

fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let directories: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
    let found =
        directories.iter().flat_map(|directory| names.map(|name| directory.join(name))).find(|path| path.is_file());
    if found.is_none() {
        assert!(
            env::var("ARENA_REQUIRE_BROWSER").as_deref() != Ok("1"),
            "no Chromium on PATH, and ARENA_REQUIRE_BROWSER=1"
        );
        eprintln!("no Chromium on PATH: the page was not looked at in a browser");
    }
    found
}
