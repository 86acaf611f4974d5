//! The data directory: which folder may be one, who is at work on it, and what is left of it in the end.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::fcntl::{Flock, FlockArg};

use super::Native;
use crate::exit;
use crate::stack::lab::PARTS;
use crate::stack::members::{NEW_CLUSTER, SUPERVISOR};

/// The file that tells a data directory from anybody else's folder.
pub(super) const MARK: &str = ".peleja";

/// A Unix socket's path may have 107 bytes, and this is the longest of those below a data directory.
const LONGEST_FOLDER: usize = 107 - "/run/.s.PGSQL.65535".len();

impl Native {
    /// Whether the data directory is a folder with things in it that are not the arena's.
    pub(super) fn is_foreign(&self) -> bool {
        let ours = [MARK, "settings.json"].iter().any(|name| self.data.join(name).exists());
        !ours && fs::read_dir(&self.data).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Keeps other arenas from the data directory until it is dropped, and waits for one that is at work there. None where
    /// there is no such folder.
    pub(super) fn lock(&self) -> anyhow::Result<Option<Flock<fs::File>>> {
        let mut told = false;
        loop {
            let folder = match fs::File::open(&self.data) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened.with_context(|| self.data.display().to_string())?,
            };
            let held = folder.metadata()?.ino();
            match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
                // Whoever had it may have removed the folder, and the lock with it.
                Ok(lock) if fs::metadata(&self.data).is_ok_and(|now| now.ino() == held) => return Ok(Some(lock)),
                Ok(_) => continue,
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => {}
                Err((_, error)) => return Err(error).with_context(|| format!("locking {}", self.data.display())),
            }
            if !told {
                eprintln!("arena: waiting for another arena that is at work on {}", self.data.display());
                told = true;
            }
            exit::fail_if_interrupted()?;
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(super) fn remove_files(&self, erase: bool) -> anyhow::Result<()> {
        // Only what `up` made: somebody may have put other things beside it.
        let kept: &[&str] = if erase { &[] } else { &["db", "logs"] };
        for folder in
            ["bin", "run", "nginx", "api1", "api2", SUPERVISOR, NEW_CLUSTER, "db", "logs"].iter().chain(&PARTS)
        {
            let path = self.data.join(folder);
            if !kept.contains(folder) && path.is_dir() {
                fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
            }
        }
        // What is kept stays ours, for the next `up` and `down`. The mark goes last: a `down` that failed can be repeated.
        let left = kept.iter().any(|folder| self.data.join(folder).exists());
        let files: &[&str] = if left { &["settings.json"] } else { &["settings.json", MARK] };
        for file in files.iter().map(|name| self.data.join(name)).filter(|file| file.is_file()) {
            fs::remove_file(&file).with_context(|| file.display().to_string())?;
        }
        // Not empty, or never there: either is fine.
        let _ = fs::remove_dir(&self.data);
        Ok(())
    }
}

/// A data directory from the command line, absolute.
///
/// # Errors
///
/// If PostgreSQL, nginx or the kernel could not use it.
pub fn data_folder(text: &str) -> Result<PathBuf, String> {
    let folder = resolve(&std::path::absolute(text).map_err(|error| error.to_string())?);
    let path = folder.to_str().ok_or("it leads to a folder whose name is not UTF-8")?;
    if path.len() > LONGEST_FOLDER {
        return Err(format!("{path} has {} bytes, and sockets below it allow {LONGEST_FOLDER}", path.len()));
    }
    // What else there is means something to PostgreSQL's settings, to nginx.conf, or to connection strings.
    match path.chars().find(|c| !c.is_alphanumeric() && !"/._-+@~".contains(*c)) {
        Some(c) => Err(format!("{c:?} in {path}: only letters, digits and . _ - + @ ~ may be in it")),
        None => Ok(folder),
    }
}

/// The path without links, and without a slash at its end: one folder is one stack, however it is written.
pub(super) fn resolve(path: &Path) -> PathBuf {
    let real = |known: &Path| Some(known.canonicalize().ok()?.join(path.strip_prefix(known).ok()?));
    path.ancestors().find_map(real).as_deref().unwrap_or(path).components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::members::group;

    #[test]
    fn a_folder_is_one_stack_however_it_is_written() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink(root.join("real"), root.join("link")).unwrap();
        let stack = |folder: &str| Native::at(&root.join(folder));
        for folder in ["real/", "./real", "link", "link/"] {
            assert_eq!(group(&stack(folder).data), group(&stack("real").data), "{folder}");
        }
        assert_eq!(stack("link/new/").data, root.join("real/new"));
    }

    #[test]
    fn folders_that_a_service_could_not_use_are_refused() {
        assert_eq!(data_folder("/nowhere/é_1.2-3+4@5~6/").unwrap(), Path::new("/nowhere/é_1.2-3+4@5~6"));
        assert!(data_folder("relative").unwrap().is_absolute());
        for wrong in ["", "/a b", "/a,b", "/a;b", "/a'b", "/a\"b", "/a\\b", "/a\nb", "/$a", "/{a", "/a#b"] {
            assert!(data_folder(wrong).is_err(), "{wrong:?}");
        }
        let long = |bytes: usize| data_folder(&format!("/{}", "a".repeat(bytes - 1)));
        assert!(long(LONGEST_FOLDER).is_ok());
        assert!(long(LONGEST_FOLDER + 1).unwrap_err().contains("bytes"));
    }

    #[test]
    fn somebody_s_own_folders_are_left_alone() {
        let home = tempfile::tempdir().unwrap();
        for folder in ["bin", "logs", "db"] {
            fs::create_dir(home.path().join(folder)).unwrap();
        }
        let native = Native::at(home.path());
        assert!(native.check(1, None).unwrap_err().to_string().contains("holds other things"));
        assert!(native.down(true).is_err());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3);
    }

    #[test]
    fn who_comes_second_waits_for_the_lock_of_the_folder_that_is_there() {
        let root = tempfile::tempdir().unwrap();
        let native = Native::at(&root.path().join("stack"));
        assert!(native.lock().unwrap().is_none());
        fs::create_dir(&native.data).unwrap();
        let first = native.lock().unwrap().unwrap();
        let second = std::thread::spawn({
            let native = native.clone();
            move || native.lock().unwrap()
        });
        std::thread::sleep(Duration::from_millis(150));
        assert!(!second.is_finished());
        fs::remove_dir(&native.data).unwrap();
        drop(first);
        assert!(second.join().unwrap().is_none());
    }
}
