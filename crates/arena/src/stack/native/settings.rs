//! What was chosen at a stack's start, kept in its data directory for those who look later.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::Native;
use crate::record::run::Limit;
use crate::stack::lab::Ports;
use crate::stack::members;

/// What was chosen at the start, kept for those who look later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) port: u16,
    pub(super) database_port: u16,
    pub(super) limits: Vec<Limit>,
    #[serde(default)]
    pub(super) without_limits: bool,
    #[serde(default)]
    pub(super) unlimited_because: Option<String>,
    /// The group below which those of the services are, where it was handed over: another login cannot know it.
    #[serde(default)]
    pub(super) handed_over: Option<PathBuf>,
    pub(super) overlays: Vec<PathBuf>,
    /// The folder of the sockets by way of which the services reach each other, where somebody else serves those.
    #[serde(default)]
    pub(super) detours: Option<PathBuf>,
    pub(super) lab: Option<LabSettings>,
}

/// The same for the lab, where it was started too.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LabSettings {
    pub(super) ports: Ports,
    pub(super) limits: Vec<Limit>,
}

impl Settings {
    /// Those of the stack in a data directory, if it was started.
    pub(super) fn of(data: &Path) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(data.join("settings.json")).ok()?).ok()
    }

    pub(super) fn limit(&self, service: &str) -> Option<&Limit> {
        let of_the_lab = self.lab.iter().flat_map(|lab| &lab.limits);
        self.limits.iter().chain(of_the_lab).find(|limit| limit.service == service)
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limits.iter().any(|limit| limit.cpus.is_some())
    }
}

impl Native {
    pub(super) fn settings(&self) -> Option<Settings> {
        Settings::of(&self.data)
    }

    pub(super) fn settings_of_a_part(&self) -> Option<Settings> {
        self.settings().filter(|_| !members::find(&self.data).main.is_empty())
    }

    pub(super) fn write_settings(&self, settings: &Settings) -> anyhow::Result<()> {
        let text = serde_json::to_string(settings)?;
        fs::write(self.data.join("settings.json"), text).context("settings.json")
    }
}
