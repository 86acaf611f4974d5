//! Where the checkout is, and what the arena reads from it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// A checkout of this repository.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The checkout that the working directory is in.
    ///
    /// # Errors
    ///
    /// If it is in none.
    pub fn find() -> anyhow::Result<Self> {
        let here = std::env::current_dir().context("the working directory")?;
        for folder in here.ancestors() {
            if folder.join("docker-compose.yml").is_file() && folder.join("crates/arena").is_dir() {
                return Ok(Self { root: folder.to_owned() });
            }
        }
        bail!("{} is not inside a checkout of Peleja; change into one", here.display());
    }

    /// The checkout with that top folder.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The checkout's top folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path below the top folder.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// Builds the program of that name, of the package of that name, and says where it is.
    ///
    /// # Errors
    ///
    /// If cargo is missing or refuses; it has said why.
    pub fn build(&self, program: &str, profile: &str) -> anyhow::Result<PathBuf> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .current_dir(&self.root)
            .args(["build", "--quiet", "--locked", "--profile", profile, "--package", program, "--bin", program])
            .status()
            .context("starting cargo")?;
        ensure!(status.success(), "{program} does not build");
        let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        Ok(self.root.join(target).join(profile).join(program))
    }

    /// The commit that is checked out, with `-dirty` where the tree differs; nothing outside of git.
    pub fn commit(&self) -> Option<String> {
        let git = |arguments: &[&str]| {
            let output = Command::new("git").arg("-C").arg(&self.root).args(arguments).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let hash = git(&["rev-parse", "--short=12", "HEAD"])?;
        let clean = git(&["status", "--porcelain"])?.is_empty();
        Some(if clean { hash } else { format!("{hash}-dirty") })
    }
}
