//! The pages in a real browser, and without scripts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::ffi::OsStr;

use headless_chrome::{Browser, LaunchOptions, Tab};

mod support;
use support::{Lab, eventually};

fn browser() -> Browser {
    let programs = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    let program = programs.iter().find(|program| std::path::Path::new(program).is_file());
    let program = program.expect("a browser is installed (package chromium)");
    let flags = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"];
    let options = LaunchOptions::default_builder()
        .path(Some(program.into()))
        .sandbox(false)
        .args(flags.iter().map(OsStr::new).collect())
        .idle_browser_timeout(support::PATIENCE)
        .build()
        .unwrap();
    Browser::new(options).unwrap()
}

/// The text of the first element that a selector finds.
fn text(tab: &Tab, selector: &str) -> String {
    let script = format!("document.querySelector({selector:?})?.textContent ?? 'nothing'");
    tab.evaluate(&script, false).unwrap().value.unwrap().as_str().unwrap().to_owned()
}

#[test]
fn a_guess_a_run_and_the_outcome_beside_it() {
    let lab = Lab::serve(&["resource"]);
    let browser = browser();
    let tab = browser.new_tab().unwrap();
    tab.navigate_to(&format!("{}/part1", lab.url)).unwrap().wait_until_navigated().unwrap();
    tab.wait_for_element("input[name=peak_use]").unwrap().type_into("10").unwrap();
    tab.press_key("Enter").unwrap();
    eventually("the guess is written down", || text(&tab, "td[data-guess='10']") == "–");
    eventually("the server is heard", || text(&tab, "[data-source] .word") == "live");

    for _ in 0..20 {
        assert_eq!(lab.get("/part1/async").status, 200);
    }
    eventually("the number moves, with two decimals", || {
        let number = text(&tab, "[data-figure=mean_use]");
        number != "0.00" && number.split_once('.').is_some_and(|(_, decimals)| decimals.len() == 2)
    });
    eventually("the run ends", || text(&tab, "[data-run-state]").contains("ended"));
    assert_eq!(text(&tab, "[data-outcome=requests]"), "20");
    let peak: f64 = text(&tab, "[data-outcome=peak_use]").parse().unwrap();
    let off = text(&tab, "[data-off=peak_use]");
    assert!(peak >= 1.0 && (off.starts_with('×') || off == "exact"), "{peak} {off}");
    let drawn = "document.querySelector('polyline').getAttribute('points').split(' ').length";
    eventually("the chart is drawn", || tab.evaluate(drawn, false).unwrap().value.unwrap().as_f64() > Some(3.0));
}

#[test]
fn everything_but_movement_works_without_scripts() {
    let lab = Lab::serve(&["resource"]);
    let form = "experiment=resource&back=%2Fpart1&requests=5&peak_use=7&p99=%3Cscript%3E";
    let kept = lab.post_form("/guess", form);
    assert_eq!((kept.status, kept.header("location")), (303, "/part1#watch"));
    let cookie = kept.header("set-cookie").split(';').next().unwrap().to_owned();
    for _ in 0..5 {
        lab.get("/part1/serial");
    }
    let page = lab.get_with("/part1", &[("cookie", &cookie)]).body;
    assert!(page.contains("value=\"7\"") && page.contains("data-guess=\"7\""), "the guess stands in form and table");
    assert!(page.contains("data-outcome=\"requests\" data-format=\"count\">5<"), "the outcome too:\n{page}");
    assert!(!page.contains("<script>") && page.contains("<noscript>"));
    assert!(
        page.contains("data-figure=\"threads\" data-format=\"count\">")
            && !page.contains("data-figure=\"threads\" data-format=\"count\">–"),
        "{page}"
    );
    assert!(page.contains("Run 1 is under way.") || page.contains("Run 1 ended: 5 requests in"), "{page}");
    assert_eq!(page.matches("&quot;url&quot;").count(), 1, "one stream a page, see the test of the streams");
    let elsewhere = lab.post_form("/guess", "experiment=resource&back=%2F%2Felsewhere.example&rate=1");
    assert_eq!(elsewhere.status, 400);
}
