// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the bootimage's programs will do to the node image's root, done beforehand on a copy.
//!
//! On a first boot CoreOS's and Ignition's units of the initramfs make directories in `/var`, users and labels, with the
//! bootimage's systemd-tmpfiles, useradd and setfiles. They come after the point of no return, and a failure of one ends in
//! the emergency shell: systemd-tmpfiles 252 does not read the configuration of systemd 257, for one. So each is run here,
//! as its unit will run it, on the new deployment with another `/etc` and `/var` in front of it. The programs are those of the
//! bootimage's deployment, from which its initramfs was made.
//!
//! Tested by `src/slipstream/tests/boot/rehearsal.rs`, `test-vm/src/suite/`.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

/// Longest time for one program, which takes a fraction of a second.
const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);
/// How much of what a program says is read, in bytes.
const MAX_SAID: u64 = 64 << 10;
/// Longest line of it that is shown, in characters.
const MAX_LINE: usize = 200;
/// The user that is made. No image has it.
const USER: &str = "slipstream-rehearsal";
/// As `ignition-ostree-populate-var` has them.
const PREFIXES: [&str; 7] =
    ["/var/home", "/var/roothome", "/var/opt", "/var/srv", "/var/usrlocal", "/var/mnt", "/var/media"];
/// Where a program may be.
const BIN: [&str; 2] = ["/usr/sbin", "/usr/bin"];

/// Runs the programs on the deployment at `root`. Returns why one of them will fail.
pub fn rehearse(root: &Path) -> Result<Option<String>> {
    // In a thread of its own: the mount namespace ends with it.
    let rehearsed = thread::scope(|scope| scope.spawn(|| in_namespace(root)).join());
    rehearsed
        .map_err(|_| anyhow!("the rehearsal panicked"))?
        .context("trying the bootimage's programs on the node image")
}

fn in_namespace(root: &Path) -> Result<Option<String>> {
    unshare(CloneFlags::CLONE_NEWNS).context("creating a mount namespace")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).context("making mounts private")?;
    cover(&root.join("etc"))?;
    // It is the stateroot's that will be mounted there, if there is a place for it.
    if root.join("var").is_dir() {
        cover(&root.join("var"))?;
    }
    copy(&root.join("usr/etc"), &root.join("etc"))?;
    for program in programs(root)? {
        if let Some(why) = program.fails()? {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

fn cover(path: &Path) -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", path, "tmpfs", flags, Some(c"mode=0755")).with_context(|| format!("covering {}", path.display()))
}

/// A program with its arguments.
struct Program {
    name: &'static str,
    arguments: Vec<String>,
}

/// Returns what the units of a first boot run.
fn programs(root: &Path) -> Result<Vec<Program>> {
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that is not UTF-8");
    let path = text(root)?;
    let mut tmpfiles = vec!["--create".to_owned(), "--boot".to_owned(), format!("--root={path}")];
    tmpfiles.extend(PREFIXES.iter().map(|prefix| format!("--prefix={prefix}")));
    let useradd = ["--root", &path, "--no-create-home", "--system", USER].map(str::to_owned).to_vec();
    let mut programs = vec![
        Program { name: "systemd-tmpfiles", arguments: tmpfiles },
        Program { name: "useradd", arguments: useradd },
    ];
    if let Some(contexts) = file_contexts(root)? {
        // -n: nothing is changed.
        let arguments = ["-n", "-F", "-r", &path, &text(&contexts)?, &text(&root.join("etc/passwd"))?];
        programs.push(Program { name: "setfiles", arguments: arguments.map(str::to_owned).to_vec() });
    }
    Ok(programs)
}

/// Returns where a deployment's policy has its labels; `None` without a policy.
fn file_contexts(root: &Path) -> Result<Option<PathBuf>> {
    let path = root.join("etc/selinux/config");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let name = text.lines().rev().find_map(|line| line.trim().strip_prefix("SELINUXTYPE="));
    let name = name.map(str::trim).filter(|name| !name.is_empty() && !name.contains('/')).unwrap_or("targeted");
    let contexts = root.join("etc/selinux").join(name).join("contexts/files/file_contexts");
    Ok(contexts.exists().then_some(contexts))
}

impl Program {
    /// Runs it; returns why it fails. A program that the bootimage does not have is run by no unit of it.
    fn fails(&self) -> Result<Option<String>> {
        let Some(path) = BIN.iter().map(|dir| Path::new(dir).join(self.name)).find(|path| path.exists()) else {
            return Ok(None);
        };
        let mut child = self.start(&path)?;
        let mut said = child.stderr.take().context("no standard error")?;
        let reader = thread::spawn(move || {
            let mut text = Vec::new();
            let _cut = (&mut said).take(MAX_SAID).read_to_end(&mut text);
            // It must not wait for a reader.
            let _rest = std::io::copy(&mut said, &mut std::io::sink());
            text
        });
        let ended = wait(&mut child, Instant::now() + LIMIT).with_context(|| format!("waiting for {}", self.name))?;
        let said = reader.join().unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        for line in said.lines() {
            log::debug!("{}: {line}", self.name);
        }
        let how = match ended {
            Some(status) if status.success() => return Ok(None),
            Some(status) => status.to_string(),
            None => "it did not end in time".to_owned(),
        };
        Ok(Some(format!(
            "the bootimage's {} does not work on the node image's root, and the first boot needs it: {how}{}",
            self.name,
            said.lines().next().map(|line| format!(": {}", shown(line))).unwrap_or_default()
        )))
    }

    // The programs are the bootimage's, which its units would start seconds later. Nothing that they say is parsed.
    #[allow(clippy::disallowed_methods)]
    fn start(&self, path: &Path) -> Result<Child> {
        let mut command = Command::new(path);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // What a unit has.
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("SYSTEMD_LOG_TARGET", "console");
        command.spawn().with_context(|| format!("starting {}", path.display()))
    }
}

fn shown(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { '?' } else { c }).take(MAX_LINE).collect()
}

/// Waits for a program; one that does not end is killed.
fn wait(child: &mut Child, until: Instant) -> Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// Copies a directory, for as far as a program reads it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let reading = || format!("reading {}", from.display());
    for entry in fs::read_dir(from).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let copying = || format!("copying {}", source.display());
        let kind = entry.file_type().with_context(copying)?;
        if kind.is_dir() {
            fs::create_dir(&target).with_context(copying)?;
            copy(&source, &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source).with_context(copying)?, &target).with_context(copying)?;
        } else if kind.is_file() {
            fs::copy(&source, &target).with_context(copying)?;
        }
    }
    Ok(())
}
