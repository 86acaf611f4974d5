//! What plain processes need of the machine besides programs and ports. `arena doctor` lists it, and what would start a stack
//! refuses in the same words.

use std::path::Path;

use anyhow::ensure;

use super::machine;
use crate::record::metric::Unit;
use crate::record::run::Limit;

/// Cores for 1.5 CPUs of services and for who loads them.
const CORES: usize = 2;

/// Bytes that a bout needs on the disk of the data directory: a log in files of 256 MiB, of which it writes 430 MB, and the
/// cluster itself.
const ROOM: u64 = 1 << 30;

/// Open files that nginx needs, two for each request under way, of which it lets 2,048 pass, and more for those who wait.
const FILES: u64 = 8192;

/// What there is of one thing that is needed, or what is missing of it and the way out.
pub type Finding = Result<String, String>;

/// Everything that this machine must have for services with these limits, by what people call it.
pub fn of_machine(data: &Path, limits: &[Limit]) -> [(&'static str, Finding); 4] {
    let memory_needed = limits.iter().filter_map(|limit| limit.memory_bytes).sum();
    [
        ("cores", cores(std::thread::available_parallelism().map_or(1, usize::from))),
        ("memory", memory(machine::memory_bytes(), memory_needed)),
        ("disk", disk(data)),
        ("open files", open_files()),
    ]
}

/// Fails with everything that is missing.
///
/// # Errors
///
/// One line for each.
pub fn ensure(data: &Path, limits: &[Limit]) -> anyhow::Result<()> {
    let missing: Vec<String> = of_machine(data, limits).into_iter().filter_map(|(_, finding)| finding.err()).collect();
    ensure!(missing.is_empty(), "{} (`cargo arena doctor` lists all that is needed)", missing.join("\n"));
    Ok(())
}

fn cores(there: usize) -> Finding {
    match there {
        there if there < CORES => Err(format!(
            "{CORES} cores are needed, for the services and for who loads them, and {there} is there; give the machine more, \
             or start it from where more may be used (taskset)"
        )),
        there => Ok(there.to_string()),
    }
}

fn memory(there: Option<u64>, needed: u64) -> Finding {
    let size = |bytes: u64| Unit::Bytes.show(bytes as f64);
    match there {
        Some(there) if there < needed => Err(format!(
            "the services' limits add up to {} of memory, and the machine has {}; give it more, or lower the limits with \
             --overlay",
            size(needed),
            size(there)
        )),
        there => Ok(there.map_or_else(|| "unknown".to_owned(), size)),
    }
}

fn disk(data: &Path) -> Finding {
    let there = data.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let free = rustix::fs::statvfs(there).map(|disk| disk.f_bavail * disk.f_frsize);
    let free = free.map_err(|error| format!("{}: {error}", there.display()))?;
    let size = |bytes: u64| Unit::Bytes.show(bytes as f64);
    match free {
        free if free < ROOM => Err(format!(
            "a bout needs {} on the disk of {}, and {} are free; make room, or choose another disk with --data",
            size(ROOM),
            data.display(),
            size(free)
        )),
        free => Ok(format!("{} free for {}", size(free), data.display())),
    }
}

/// Who may raise the limit does so for what he starts; here it is raised no higher than needed, to see whether he may.
fn open_files() -> Finding {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|error| format!("ulimit -n: {error}"))?;
    if hard < FILES && setrlimit(Resource::RLIMIT_NOFILE, soft, FILES).is_err() {
        return Err(format!(
            "{FILES} open files are needed, and {hard} are the most that `ulimit -Hn` allows; raise `nofile` in \
             /etc/security/limits.conf, and log in anew"
        ));
    }
    Ok(format!("{} allowed", hard.max(FILES)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_core_is_too_few_and_two_are_enough() {
        assert!(cores(1).unwrap_err().contains("2 cores are needed"));
        assert_eq!(cores(2), Ok("2".to_owned()));
    }

    #[test]
    fn memory_must_suffice_for_all_limits_together() {
        assert!(memory(Some(2 << 30), 3 << 30).unwrap_err().contains("--overlay"));
        assert!(memory(Some(3 << 30), 3 << 30).is_ok() && memory(None, 1).is_ok());
    }

    #[test]
    fn room_is_looked_for_where_a_folder_is_going_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let free = disk(&folder.path().join("not/yet")).unwrap_or_else(|error| error);
        assert!(free.contains("not/yet"), "{free}");
        assert!(disk(Path::new("/proc/none")).unwrap_err().contains("--data"));
    }
}
