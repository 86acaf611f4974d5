//! What the package managers of several systems call the programs that the arena needs.

use std::path::PathBuf;

/// A package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// Debian's and Ubuntu's: the only one that the arena uses by itself.
    Apt,
    /// Fedora's and Red Hat's.
    Dnf,
    /// Arch's.
    Pacman,
    /// openSUSE's.
    Zypper,
    /// Homebrew.
    Brew,
}

/// What one program is called by each of them; some programs take two packages.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// Debian's and Ubuntu's.
    pub apt: &'static str,
    /// Fedora's and Red Hat's.
    pub dnf: &'static str,
    /// Arch's.
    pub pacman: &'static str,
    /// openSUSE's.
    pub zypper: &'static str,
    /// Homebrew's.
    pub brew: &'static str,
}

impl Manager {
    const ALL: [Self; 5] = [Self::Apt, Self::Dnf, Self::Pacman, Self::Zypper, Self::Brew];

    /// The one that this machine has.
    pub fn here() -> Option<Self> {
        Self::ALL.into_iter().find(|manager| on_path(manager.program()).is_some())
    }

    fn program(self) -> &'static str {
        match self {
            Self::Apt => "apt-get",
            Self::Dnf => "dnf",
            Self::Pacman => "pacman",
            Self::Zypper => "zypper",
            Self::Brew => "brew",
        }
    }

    /// What it calls a program.
    pub fn name(self, names: &Names) -> &'static str {
        match self {
            Self::Apt => names.apt,
            Self::Dnf => names.dnf,
            Self::Pacman => names.pacman,
            Self::Zypper => names.zypper,
            Self::Brew => names.brew,
        }
    }

    /// The command by which a person installs these.
    pub fn command(self, packages: &[&str]) -> String {
        let install = match self {
            Self::Apt => "sudo apt-get install --no-install-recommends",
            Self::Dnf => "sudo dnf install",
            Self::Pacman => "sudo pacman -S",
            Self::Zypper => "sudo zypper install",
            Self::Brew => "brew install",
        };
        format!("{install} {}", packages.join(" "))
    }
}

/// How a person gets these programs: the command, or where no package manager is known here, what each calls them.
pub fn by_hand(programs: &[Names]) -> String {
    let packages = |manager: Manager| -> Vec<&str> { programs.iter().map(|names| manager.name(names)).collect() };
    match Manager::here() {
        Some(manager) => manager.command(&packages(manager)),
        None => {
            let names = Manager::ALL.map(|manager| format!("{} ({})", packages(manager).join(" "), manager.program()));
            format!("install {}", names.join(", "))
        }
    }
}

/// A program on the search path, or where administrators' programs are even if the path does not say so.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_manager_has_names_of_its_own() {
        let jdk = Names { apt: "a", dnf: "d", pacman: "p", zypper: "z", brew: "b" };
        let commands: Vec<String> = Manager::ALL.map(|manager| manager.command(&[manager.name(&jdk)])).to_vec();
        let expected = [
            "sudo apt-get install --no-install-recommends a",
            "sudo dnf install d",
            "sudo pacman -S p",
            "sudo zypper install z",
            "brew install b",
        ];
        assert_eq!(commands, expected);
    }
}
