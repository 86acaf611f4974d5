//! nginx, the front door of two instances: the repository's configuration, with what is different in one place.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use super::compose::{Compose, DESCRIPTION, NGINX_CONF};
use super::prerequisites::{self, Tool};
use crate::workspace::Workspace;

/// The folder of the sockets in `docker-compose.yml` and `nginx.conf`.
pub(super) const SOCKETS: &str = "/run/peleja";

/// How nginx.conf says which port it listens on.
const LISTEN: &str = "listen 9999";

/// What is different where nginx is to run.
pub(super) struct Place<'a> {
    /// In place of the sockets' folder; the configuration goes there too.
    pub(super) folder: &'a Path,
    /// `ADDRESS:PORT` to listen on.
    pub(super) listen: String,
    /// What else stands in place of what.
    pub(super) instead: Vec<(String, String)>,
}

/// Writes the configuration for a place, and returns what starts nginx with it.
///
/// # Errors
///
/// If nginx is not there, or `nginx.conf` is not what it was when this was written.
pub(super) fn command(workspace: &Workspace, compose: &Compose, place: &Place<'_>) -> anyhow::Result<Command> {
    let source = workspace.path(compose.mounted("nginx", NGINX_CONF)?.unwrap_or_else(|| "nginx.conf".into()));
    let api = workspace.path(compose.mounted("nginx", DESCRIPTION)?.unwrap_or_else(|| "openapi.json".into()));
    let mut text = fs::read_to_string(&source).with_context(|| source.display().to_string())?;
    for wanted in [LISTEN, SOCKETS, DESCRIPTION] {
        ensure!(text.contains(wanted), "{} does not say `{wanted}` any more", source.display());
    }
    for (from, to) in &place.instead {
        text = text.replace(from, to);
    }
    let description = place.folder.join("openapi.json");
    fs::copy(&api, &description).with_context(|| format!("copying {}", api.display()))?;
    let text = text
        .replace(DESCRIPTION, &description.display().to_string())
        .replace(LISTEN, &format!("listen {}", place.listen))
        .replace(SOCKETS, &place.folder.display().to_string());
    let file = place.folder.join("nginx.conf");
    fs::write(&file, text).with_context(|| file.display().to_string())?;
    let mut command = Command::new(prerequisites::find(Tool::Nginx)?);
    command.envs(compose.environment("nginx")?);
    command.arg("-e").arg("stderr").arg("-c").arg(&file);
    Ok(command)
}
