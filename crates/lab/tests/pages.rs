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
    tab.wait_for_element("input[name='async.peak_use']").unwrap().type_into("10").unwrap();
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
    eventually("the run ends", || text(&tab, "[data-side=async]").contains("ended"));
    assert_eq!(text(&tab, "[data-outcome='async.requests']"), "20");
    let peak: f64 = text(&tab, "[data-outcome='async.peak_use']").parse().unwrap();
    let off = text(&tab, "[data-off='async.peak_use']");
    assert!(peak >= 1.0 && (off.starts_with('×') || off == "exact"), "{peak} {off}");
    let drawn = "document.querySelector('polyline').getAttribute('points').split(' ').length";
    eventually("the chart is drawn", || tab.evaluate(drawn, false).unwrap().value.unwrap().as_f64() > Some(3.0));
}

#[test]
fn everything_but_movement_works_without_scripts() {
    let lab = Lab::serve(&["resource"]);
    let form = "experiment=resource&back=%2Fpart1&serial.requests=5&serial.peak_use=7";
    let kept = lab.post_form("/guess", form);
    assert_eq!((kept.status, kept.header("location")), (303, "/part1#watch"));
    let cookie = kept.header("set-cookie").split(';').next().unwrap().to_owned();
    for _ in 0..5 {
        lab.get("/part1/serial");
    }
    let page = lab.get_with("/part1", &[("cookie", &cookie)]).body;
    assert!(page.contains("value=\"7\"") && page.contains("data-guess=\"7\""), "the guess stands in form and table");
    assert!(page.contains("data-outcome=\"serial.requests\" data-format=\"count\">5<"), "the outcome too:\n{page}");
    assert!(!page.contains("<script>") && page.contains("<noscript>"));
    assert!(
        page.contains("data-figure=\"threads\" data-format=\"count\">")
            && !page.contains("data-figure=\"threads\" data-format=\"count\">–"),
        "{page}"
    );
    assert!(
        page.contains("Serial: run 1 of nobody named is under way") || page.contains("ended: 5 requests in"),
        "{page}"
    );
    assert_eq!(page.matches("&quot;url&quot;").count(), 1, "one stream a page, see the test of the streams");
    let elsewhere = lab.post_form("/guess", "experiment=resource&back=%2F%2Felsewhere.example&serial.rate=1");
    assert_eq!(elsewhere.status, 400);
}

/// The page of somebody with these guesses.
fn page_with(lab: &Lab, path: &str, guesses: &str) -> String {
    let kept = lab.post_form("/guess", &format!("experiment=resource&back=%2Fpart1&{guesses}"));
    assert_eq!(kept.status, 303, "{kept:?}");
    let cookie = kept.header("set-cookie").split(';').next().unwrap().to_owned();
    lab.get_with(path, &[("cookie", &cookie)]).body
}

#[test]
fn a_guess_is_read_as_it_is_meant_and_what_cannot_be_read_is_said() {
    let lab = Lab::serve(&["resource"]);
    for written in ["3%2C000", "3.000", "3+000", "3000"] {
        let page = page_with(&lab, "/part1", &format!("serial.p99={written}"));
        assert!(page.contains("value=\"3,000\"") && page.contains("data-guess=\"3000\""), "{written}: {page}");
    }
    for (written, shown, says) in [
        ("1e3", "1e3", "digits only"),
        ("5+ms", "5 ms", "digits only"),
        ("%3Cscript%3E", "&lt;script&gt;", "digits only"),
        ("-5", "-5", "below zero"),
    ] {
        let kept = lab.post_form("/guess", &format!("experiment=resource&back=%2Fpart1&serial.p99={written}"));
        assert_eq!(kept.header("location"), "/part1#guess", "back to where it is said");
        let page = page_with(&lab, "/part1", &format!("serial.p99={written}"));
        assert!(page.contains(&format!("value=\"{shown}\"")) && page.contains(says), "{written}: {page}");
        assert!(!page.contains("data-guess"), "{written} is no guess: {page}");
    }
    let many: String = (0..2_000).map(|number| format!("&f.{number}=5")).collect();
    let refused = lab.post_form("/guess", &format!("experiment=resource&back=%2Fpart1{many}"));
    assert_eq!((refused.status, refused.header("set-cookie")), (400, ""));
}

#[test]
fn what_a_tool_printed_stands_beside_the_server_s_figure() {
    let lab = Lab::serve(&["resource"]);
    lab.get("/part1/async");
    let paste = "Complete requests:      3000\n  50%      4\n  99%      5\n".replace(' ', "+").replace('\n', "%0A");
    let form = format!(
        "experiment=resource&back=%2Fpart1&side=async&text={}",
        paste.replace(':', "%3A").replace("%\u{2b}", "%25+")
    );
    let form = form.replace("50%+", "50%25+").replace("99%+", "99%25+");
    let kept = lab.post_form("/tool", &form);
    assert_eq!((kept.status, kept.header("location")), (303, "/part1#compare"), "{kept:?}");
    let cookie = kept.header("set-cookie").split(';').next().unwrap().to_owned();
    let guess = lab.post_form("/guess", "experiment=resource&back=%2Fpart1&async.p99=5");
    let guess = guess.header("set-cookie").split(';').next().unwrap().to_owned();
    let page = lab.get_with("/part1", &[("cookie", &format!("{cookie}; {guess}"))]).body;
    assert!(page.contains("data-tool=\"async.p99\">5.00<"), "{page}");
    assert!(
        page.contains("data-off=\"async.p99\" data-guess=\"5\" data-told=\"5\">exact<"),
        "the guess was right: {page}"
    );
    let unread = lab.post_form("/tool", "experiment=resource&back=%2Fpart1&side=async&text=nothing");
    let cookie = unread.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(lab.get_with("/part1", &[("cookie", &cookie)]).body.contains("No figures of ab or k6"));
}

#[test]
fn commands_and_outcome_are_of_the_resource_that_the_page_is_about() {
    let lab = Lab::serve(&["resource", "--resource", "mock,printer"]);
    lab.get("/part1/serial?run=ana");
    for _ in 0..2 {
        lab.get("/part1/serial?resource=printer&run=ana");
    }
    for (path, requests) in [("/part1", 1), ("/part1?resource=printer", 2)] {
        let page = lab.get_with(path, &[("cookie", "run=ana")]).body;
        let outcome = format!("data-outcome=\"serial.requests\" data-format=\"count\">{requests}<");
        assert!(page.contains(&outcome), "{path}: {page}");
    }
    let page = lab.get_with("/part1?resource=printer", &[("cookie", "run=ana")]).body;
    for side in ["serial", "async"] {
        assert!(page.contains(&format!("/part1/{side}?resource=printer&amp;run=ana")), "{side}: {page}");
    }
}

#[test]
fn two_runs_stand_side_by_side() {
    let lab = Lab::serve(&["resource"]);
    for path in ["/part1/serial?run=ana", "/part1/async?run=ana", "/part1/async?run=rui", "/part1/async?run=rui"] {
        assert_eq!(lab.get(path).status, 200);
    }
    let outcome: serde_json::Value = serde_json::from_str(&lab.get("/outcome").body).unwrap();
    assert_eq!((outcome["mixed"].as_bool(), outcome["requests"].as_u64()), (Some(true), Some(4)));
    let mine: serde_json::Value = serde_json::from_str(&lab.get("/outcomes?run=ana").body).unwrap();
    assert_eq!((mine["serial"]["requests"].as_u64(), mine["async"]["requests"].as_u64()), (Some(1), Some(1)));
    assert_eq!(mine["async"]["mixed"].as_bool(), Some(false));
    let page = lab.get("/runs?left=ana+async+on+mock&right=rui+async+on+mock").body;
    assert!(
        page.contains("Side by side") && page.contains("<td class=\"number\">1</td><td class=\"number\">2</td>"),
        "{page}"
    );
    assert!(lab.get("/part1").body.contains("was mixed: 3 senders and sides"));
    assert_eq!(lab.get("/part1/async?run=a%26b").status, 400);
}

#[test]
fn a_visitor_is_given_a_name_and_can_choose_another() {
    let lab = Lab::serve(&["resource"]);
    let first = lab.get("/part1");
    let cookie = first.header("set-cookie").split(';').next().unwrap();
    let name = cookie.strip_prefix("run=").unwrap();
    assert!(first.body.contains(&format!("/part1/serial?run={name}")), "{first:?}");
    let chosen = lab.post_form("/name", "experiment=resource&back=%2Fpart1&name=ana");
    assert_eq!((chosen.status, chosen.header("location")), (303, "/part1#run"));
    assert!(chosen.header("set-cookie").starts_with("run=ana;"));
    assert_eq!(lab.get_with("/part1", &[("cookie", "run=ana")]).header("set-cookie"), "");
    assert_eq!(lab.post_form("/name", "experiment=resource&back=%2Fpart1&name=a+b").status, 400);
}

#[test]
fn time_in_line_is_the_outcome_of_part_two() {
    let lab = Lab::serve(&["resource"]);
    for _ in 0..6 {
        assert_eq!(lab.get("/part2/genstage?run=ana").status, 200);
    }
    let outcome = || -> serde_json::Value { serde_json::from_str(&lab.get("/outcomes?run=ana").body).unwrap() };
    eventually("all are worked off", || outcome()["line"]["running"].as_bool() == Some(false));
    let line = &outcome()["line"];
    assert!(line["wait_max"].as_f64() >= Some(450.0), "the last three stood in line for one use: {line}");
    assert_eq!(line["peak_use"].as_f64(), Some(3.0), "{line}");
    assert!(line["work_seconds"].as_f64() >= Some(0.95), "two uses one after the other: {line}");
    let page = lab.get_with("/part2", &[("cookie", "run=ana")]).body;
    assert!(page.contains("data-outcome=\"line.wait_p99\"") && !page.contains("serial."), "its own sheet: {page}");
}
