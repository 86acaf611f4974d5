//! A machine as most people have it, for tests: Debian with systemd, control groups of version 2 and an ordinary user.
//!
//! It is made from Debian's packages once, and emulated in software, so that it needs nothing of the processor: everything
//! takes ten times as long there. It has no network, and forgets what was done in it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::unistd::Uid;

use super::prerequisites::{self, Install, Tool};

/// Debian's packages in it, beside its smallest set.
const PACKAGES: &str =
    "systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,linux-image-cloud-amd64,postgresql,nginx,procps";

/// What starts the work: an archive on the second disk, unpacked at the top, holds `/opt/peleja/run`.
const UNIT: &str = "[Unit]
After=systemd-user-sessions.service systemd-logind.service dbus.service
SuccessAction=poweroff-immediate
FailureAction=poweroff-immediate
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'tar --extract --file /dev/vdb --directory / && exec sh /opt/peleja/run'
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
[Install]
WantedBy=multi-user.target
";

/// How the work's exit status is told on the second serial line.
const STATUS: &str = "guest: exit status ";

const PATIENCE: Duration = Duration::from_secs(900);

/// A guest that can be started.
#[derive(Clone, Debug)]
pub struct Guest {
    folder: PathBuf,
}

impl Guest {
    /// Makes one below a folder, where it is not there yet, in a minute or two.
    ///
    /// # Errors
    ///
    /// Where it cannot be made, and why.
    pub fn prepare(folder: &Path, install: Install) -> anyhow::Result<Self> {
        let codename = codename().context("a guest is made from Debian's packages, and this is no Debian")?;
        ensure!(cfg!(target_arch = "x86_64"), "a guest is one with an x86-64 processor, and so must be its host");
        ensure!(Uid::effective().is_root(), "a guest is made by root: its files belong to many accounts");
        prerequisites::ensure(&[Tool::Qemu, Tool::Debootstrap], install)?;
        let guest = Self { folder: folder.to_owned() };
        if !guest.image().is_file() {
            eprintln!("arena: making a guest of Debian {codename}, once");
            guest.make(&codename)?;
        }
        Ok(guest)
    }

    fn image(&self) -> PathBuf {
        self.folder.join("disk.img")
    }

    fn make(&self, codename: &str) -> anyhow::Result<()> {
        fs::create_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        let scratch = tempfile::tempdir_in(&self.folder).context("a folder for the guest's files")?;
        // The folder itself is root's alone, and a guest's top is everybody's.
        let root = scratch.path().join("root");
        let include = format!("--include={PACKAGES}");
        run(Command::new("debootstrap").args(["--variant=minbase", &include, codename]).arg(&root))?;
        furnish(&root)?;
        for file in ["vmlinuz", "initrd.img"] {
            fs::copy(root.join(file), self.folder.join(file)).with_context(|| format!("the guest's {file}"))?;
        }
        // Under another name until it is whole.
        let new = self.folder.join("disk.new");
        run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-d"]).arg(&root).arg(&new).arg("4G"))?;
        fs::rename(&new, self.image()).context("the guest's disk")
    }

    /// Starts it, has it do the work of an archive, and shows what it says meanwhile. Whether that went well.
    ///
    /// # Errors
    ///
    /// If it does not start, or does not end by itself; its console is kept beside its disk.
    pub fn work(&self, archive: &Path) -> anyhow::Result<bool> {
        let console = self.folder.join("console.log");
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "4G"]);
        command.args(["-nographic", "-no-reboot", "-nic", "none", "-monitor", "none"]);
        command.arg("-kernel").arg(self.folder.join("vmlinuz")).arg("-initrd").arg(self.folder.join("initrd.img"));
        command.args(["-append", "root=/dev/vda rw console=ttyS0 quiet"]);
        command.arg("-drive").arg(drive(&self.image(), "snapshot=on"));
        command.arg("-drive").arg(drive(archive, "readonly=on"));
        command.arg("-serial").arg(format!("file:{}", console.display()));
        command.args(["-chardev", "stdio,id=work,signal=off", "-serial", "chardev:work"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting the guest")?;
        let lines = BufReader::new(child.stdout.take().context("the guest's words")?).lines();
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let mut status = None;
            for line in lines.map_while(Result::ok) {
                eprintln!("  {}", line.trim_end());
                status = line.trim_end().strip_prefix(STATUS).map(|status| status == "0").or(status);
            }
            // Nobody listens any more where patience was lost.
            let _ = sender.send(status);
        });
        let status = receiver.recv_timeout(PATIENCE);
        if status.is_err() {
            child.kill().context("ending the guest")?;
        }
        child.wait().context("the guest's end")?;
        match status {
            Ok(Some(went_well)) => Ok(went_well),
            _ => bail!("the guest did not come to the end of its work; see {}", console.display()),
        }
    }
}

fn drive(file: &Path, option: &str) -> String {
    format!("file={},format=raw,if=virtio,{option}", file.display())
}

/// An ordinary user, and the work that is begun by itself.
fn furnish(root: &Path) -> anyhow::Result<()> {
    let inside = |words: &[&str]| run(Command::new("chroot").arg(root).args(words));
    let write = |path: &str, text: &str| fs::write(root.join(path), text).with_context(|| path.to_owned());
    write("etc/hostname", "guest\n")?;
    write("etc/hosts", "127.0.0.1 localhost guest\n")?;
    write("etc/fstab", "/dev/vda / ext4 rw 0 1\n")?;
    write("etc/systemd/system/peleja.service", UNIT)?;
    inside(&["useradd", "--create-home", "--uid", "1000", "--shell", "/bin/bash", "user"])?;
    inside(&["systemctl", "disable", "--quiet", "postgresql", "nginx"])?;
    inside(&["systemctl", "enable", "--quiet", "peleja"])?;
    inside(&["apt-get", "clean"])
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.env("LC_ALL", "C.UTF-8").output().with_context(|| format!("starting {name}"))?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let last: Vec<&str> = said.lines().rev().take(5).collect();
    ensure!(output.status.success(), "{name} failed:\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
    Ok(())
}

/// The name of this machine's release of Debian, so that programs built here run in the guest.
fn codename() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let codename = value("VERSION_CODENAME=").filter(|_| value("ID=") == Some("debian"))?;
    Some(codename.trim_matches('"').to_owned())
}
