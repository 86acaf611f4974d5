//! Where runs are kept and found again: one JSON document each in `runs/` of the checkout.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use tempfile::Builder;

use super::gatling_log::import;
use super::run::{Run, SCHEMA};
use crate::workspace::Workspace;

/// An id for a run that ends now, such as `20261121T034500Z-bench-1a2b`: unique, and sorted by time.
pub fn new_id(driver: &str) -> String {
    let now = jiff::Timestamp::now();
    // Two runs of one second differ in process or in fraction of the second.
    let rest = now.subsec_nanosecond().unsigned_abs() ^ std::process::id();
    format!("{}-{driver}-{:04x}", now.strftime("%Y%m%dT%H%M%SZ"), rest & 0xffff)
}

/// Keeps `run` as `runs/<id>.json` in the checkout and returns that path. See [`History::save`].
pub fn save(run: &Run) -> anyhow::Result<PathBuf> {
    History::of_checkout()?.save(run)
}

/// Loads the one run that `name` stands for from the checkout's `runs/`. See [`History::load`].
pub fn load(name: &str) -> anyhow::Result<Run> {
    History::of_checkout()?.load(name)
}

/// A directory of run documents.
#[derive(Clone, Debug)]
pub struct History {
    directory: PathBuf,
}

/// What a directory of run documents holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// The runs that could be read, oldest first.
    pub runs: Vec<Run>,
    /// Why each of the others could not.
    pub unreadable: Vec<anyhow::Error>,
}

impl History {
    /// The directory that `ARENA_RUNS` names, else `runs/` of the checkout that the current directory is in.
    ///
    /// # Errors
    /// The current directory is not inside a checkout, and `ARENA_RUNS` is not set.
    pub fn of_checkout() -> anyhow::Result<Self> {
        if let Some(directory) = std::env::var_os("ARENA_RUNS") {
            return Ok(Self::at(directory));
        }
        Ok(Self::at(Workspace::find()?.path("runs")))
    }

    /// The given directory. It is made when the first run is saved.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Where its documents are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes `<id>.json` and returns its path. A reader sees the old document, the new one, or none, never a part of
    /// one, and once this returns the document outlives a power cut. A run of the same id is replaced.
    ///
    /// # Errors
    /// The id is not a plain file name, or the directory cannot be written.
    pub fn save(&self, run: &Run) -> anyhow::Result<PathBuf> {
        ensure!(is_plain(&run.id), "the run's id {:?} is not a plain file name", run.id);
        let path = self.path(&run.id);
        self.write(run, &path).with_context(|| format!("cannot keep the run as {}", path.display()))?;
        Ok(path)
    }

    /// Loads the one run that `name` stands for.
    ///
    /// # Errors
    /// As [`History::select`], or the name stands for more than one run.
    pub fn load(&self, name: &str) -> anyhow::Result<Run> {
        let mut runs = self.select(name)?;
        match runs.pop() {
            Some(run) if runs.is_empty() => Ok(run),
            _ => bail!("{name:?} stands for {} runs, and one is wanted here: give an id", runs.len() + 1),
        }
    }

    /// Loads the runs that `name` stands for, oldest first. That is, whichever fits first: the path of a document
    /// (with a `/` or ending in `.json`) or of a directory with Gatling's results, `latest`, `latest~N` (the Nth before it), an id, a label (all runs that carry it), or the
    /// beginning of one id.
    ///
    /// # Errors
    /// Nothing fits, the beginning is that of several ids, or a document cannot be read.
    pub fn select(&self, name: &str) -> anyhow::Result<Vec<Run>> {
        ensure!(!name.is_empty(), "the name of a run is empty");
        if name.contains('/') || name.ends_with(".json") {
            let path = Path::new(name);
            return Ok(vec![if path.is_dir() { import::read(path)? } else { read(path)? }]);
        }
        if let Some(age) = age_behind_latest(name) {
            return Ok(vec![self.nth_newest(age)?]);
        }
        if is_plain(name) && self.path(name).is_file() {
            return Ok(vec![read(&self.path(name))?]);
        }
        let runs = self.all()?.runs;
        let labelled: Vec<Run> = runs.iter().filter(|run| run.label.as_deref() == Some(name)).cloned().collect();
        if !labelled.is_empty() {
            return Ok(labelled);
        }
        let begun: Vec<Run> = runs.into_iter().filter(|run| run.id.starts_with(name)).collect();
        match begun.len() {
            1 => Ok(begun),
            0 => bail!("no run {name:?} in {} (`cargo arena history` lists them)", self.directory.display()),
            _ => bail!("{name:?} begins several ids: {}", ids(&begun)),
        }
    }

    /// Loads the runs that all of `names` stand for, in the order given; each name may be several, separated by commas.
    ///
    /// # Errors
    /// As [`History::select`], or two names stand for the same run.
    pub fn select_all(&self, names: &[impl AsRef<str>]) -> anyhow::Result<Vec<Run>> {
        let mut runs: Vec<Run> = Vec::new();
        for name in names.iter().flat_map(|names| names.as_ref().split(',')) {
            for run in self.select(name.trim())? {
                ensure!(runs.iter().all(|known| known.id != run.id), "the run {} is named twice", run.id);
                runs.push(run);
            }
        }
        Ok(runs)
    }

    /// Where the page of a run stands; the directory is made if need be.
    ///
    /// # Errors
    /// The id is not a plain file name, or the directory cannot be made.
    pub fn page(&self, id: &str) -> anyhow::Result<PathBuf> {
        let name = format!("{id}.html");
        ensure!(Path::new(&name).file_name() == Some(name.as_ref()), "the run's id {id:?} is not a plain file name");
        fs::create_dir_all(&self.directory).with_context(|| format!("cannot make {}", self.directory.display()))?;
        Ok(self.directory.join(name))
    }

    /// Reads every document of the directory. A directory that does not exist holds none.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn all(&self) -> anyhow::Result<Contents> {
        let mut contents = Contents::default();
        for path in self.documents()? {
            match read(&path) {
                Ok(run) => contents.runs.push(run),
                Err(error) => contents.unreadable.push(error),
            }
        }
        contents.runs.sort_by(|a, b| a.age().cmp(&b.age()));
        Ok(contents)
    }

    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    fn write(&self, run: &Run, path: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let as_umask_allows = Permissions::from_mode(0o666);
        let mut file = Builder::new().prefix(".saving-").permissions(as_umask_allows).tempfile_in(&self.directory)?;
        serde_json::to_writer(&mut file, run)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        fs::File::open(&self.directory)?.sync_all()?;
        Ok(())
    }

    fn nth_newest(&self, age: usize) -> anyhow::Result<Run> {
        let mut runs = self.all()?.runs;
        let held = runs.len();
        let index = held
            .checked_sub(age + 1)
            .with_context(|| format!("{} holds {held} runs, too few to go {age} back", self.directory.display()))?;
        Ok(runs.swap_remove(index))
    }

    fn documents(&self) -> anyhow::Result<Vec<PathBuf>> {
        if !self.directory.exists() {
            return Ok(Vec::new());
        }
        let list = || -> std::io::Result<Vec<PathBuf>> {
            fs::read_dir(&self.directory)?.map(|entry| Ok(entry?.path())).collect()
        };
        let mut paths = list().with_context(|| format!("cannot list {}", self.directory.display()))?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        Ok(paths)
    }
}

/// Reads one document.
///
/// # Errors
/// The file cannot be read, is not a run document, or is one of a newer [`SCHEMA`].
pub fn read(path: &Path) -> anyhow::Result<Run> {
    #[derive(Deserialize)]
    struct Versioned {
        schema: u32,
    }

    let text = fs::read_to_string(path).with_context(|| format!("cannot read the run {}", path.display()))?;
    let not_a_run = || format!("{} is not a run document", path.display());
    let Versioned { schema } = serde_json::from_str(&text).with_context(not_a_run)?;
    ensure!(
        schema <= SCHEMA,
        "{} was written by a newer arena: its schema is {schema}, this arena reads up to {SCHEMA}; update the checkout",
        path.display()
    );
    serde_json::from_str(&text).with_context(not_a_run)
}

fn is_plain(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !id.is_empty() && !id.starts_with('.') && id.bytes().all(plain)
}

fn age_behind_latest(name: &str) -> Option<usize> {
    match name.strip_prefix("latest")? {
        "" => Some(0),
        rest => rest.strip_prefix('~')?.parse().ok(),
    }
}

fn ids(runs: &[Run]) -> String {
    runs.iter().map(|run| run.id.as_str()).collect::<Vec<_>>().join(", ")
}
