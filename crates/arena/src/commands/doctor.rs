//! `arena doctor`: what is there of all that a bout needs, what is missing, and the way out.

use clap::Args;
use serde_json::json;

use crate::exit::{self, Exit};
use crate::stack::Engine;
use crate::stack::packages;
use crate::stack::prerequisites::{self, Tool};
use crate::stack::requirements::Finding;
use crate::stack::which::Which;
use crate::terminal;
use crate::workspace::Workspace;

/// Say what is there of all that a bout needs, what is missing, and the way out
#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    which: Which,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Looks at everything, and starts nothing. [`Exit::Good`] if nothing is missing.
///
/// # Errors
///
/// Outside of a checkout.
pub fn run(arguments: &DoctorArgs) -> anyhow::Result<Exit> {
    let workspace = Workspace::find()?;
    if exit::accept(arguments.which.check_ports()).is_none() {
        return Ok(Exit::Usage);
    }
    let tools = tools(arguments.which.engine);
    let findings: Vec<(&str, Finding)> =
        programs(&tools).into_iter().chain(arguments.which.look_at_machine(&workspace)).collect();
    let missing = findings.iter().filter(|(_, finding)| finding.is_err()).count();
    if arguments.json {
        terminal::print_json(&document(&findings))?;
    } else {
        let line = |(what, finding): &(&str, Finding)| match finding {
            Ok(there) => format!("ok       {what:<11} {there}\n"),
            Err(fault) => format!("missing  {what:<11} {fault}\n"),
        };
        let lines: String = findings.iter().map(line).collect();
        terminal::print(&format!("{lines}\n{}\n", summary(missing, findings.len(), &tools)))?;
    }
    Ok(if missing == 0 { Exit::Good } else { Exit::Failed })
}

fn tools(engine: Engine) -> Vec<Tool> {
    let own: &[Tool] = if engine == Engine::Native { &[Tool::Postgres, Tool::Nginx] } else { &[] };
    [own, &[Tool::Jdk, Tool::Maven]].concat()
}

fn programs(tools: &[Tool]) -> Vec<(&'static str, Finding)> {
    let found: Vec<(&str, Finding)> =
        tools.iter().map(|tool| (tool.name(), tool.look().map(|there| there.to_string()))).collect();
    let are_all_there = tools.iter().all(|tool| tool.is_there());
    let installing = match prerequisites::may_install() {
        Ok(how) => Ok(how.to_owned()),
        Err(_) if are_all_there => Ok("not needed".to_owned()),
        Err(fault) => Err(fault),
    };
    found.into_iter().chain([("installing", installing)]).collect()
}

fn summary(missing: usize, all: usize, tools: &[Tool]) -> String {
    if missing == 0 {
        return "All that a bout needs is there.".into();
    }
    let names: Vec<_> = tools.iter().filter(|tool| !tool.is_there()).filter_map(|tool| tool.names()).collect();
    let all_at_once = if names.is_empty() { String::new() } else { format!(" {}", packages::by_hand(&names)) };
    format!("Missing: {missing} of {all}.{all_at_once}")
}

fn document(findings: &[(&str, Finding)]) -> serde_json::Value {
    let finding = |(what, finding): &(&str, Finding)| {
        let told = finding.as_ref().unwrap_or_else(|fault| fault);
        json!({"what": what, "ok": finding.is_ok(), "told": told})
    };
    json!({"schema": 1, "needs": findings.iter().map(finding).collect::<Vec<_>>()})
}
