// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where importers are ill-treated: a tmpfs in a mount namespace of this thread, and a program that is watched.
//!
//! A tmpfs, because every import syncs its file system, and there another program's writes would be waited for.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

/// How often a running program's memory is looked at.
const POLL: Duration = Duration::from_millis(1);

/// A directory that nobody else sees.
pub struct Sandbox {
    work: TempDir,
}

/// What a program did.
pub struct Run {
    /// None if it had to be killed.
    pub status: Option<ExitStatus>,
    pub stdout: String,
    pub stderr: String,
    /// The most memory that it had, in KiB.
    pub peak: u64,
    pub time: Duration,
}

impl Sandbox {
    /// A sandbox for this thread and the programs that it starts, or the reason why there is none.
    pub fn enter() -> Result<std::result::Result<Self, String>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Err("it needs root: owners, device nodes and mounts".to_owned()));
        }
        if Command::new("ostree").arg("--version").output().is_err() {
            return Ok(Err("it needs the program ostree".to_owned()));
        }
        let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).context("creating the work directory")?;
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNS) {
            return Ok(Err(format!("it needs a mount namespace: {error}")));
        }
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("making mounts private")?;
        let sandbox = Self { work };
        sandbox.tmpfs(sandbox.path(), "mode=0755")?;
        Ok(Ok(sandbox))
    }

    pub fn path(&self) -> &Path {
        self.work.path()
    }

    /// Mounts a tmpfs. It goes with the namespace.
    pub fn tmpfs(&self, at: &Path, options: &str) -> Result<()> {
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(options))
            .with_context(|| format!("mounting {}", at.display()))
    }

    /// A new, empty repository at `path`.
    pub fn repo(&self, path: &Path, mode: &str) -> Result<()> {
        let mut init = Command::new("ostree");
        init.arg("init").arg("--repo").arg(path).arg(format!("--mode={mode}"));
        let output = init.output().context("running ostree init")?;
        ensure!(output.status.success(), "ostree init: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Starts `slipstream pull` of the layout in `layout`.
    pub fn start(&self, source: &str, image: &str, repo: &Path) -> Result<Child> {
        let create = |name: &str| File::create(self.path().join(name)).with_context(|| format!("creating {name}"));
        Command::new(env!("CARGO_BIN_EXE_slipstream"))
            .args(["pull", source, "--image", image, "--repo"])
            .arg(repo)
            .stdin(Stdio::null())
            .stdout(create("stdout")?)
            .stderr(create("stderr")?)
            .spawn()
            .context("running slipstream")
    }

    /// Runs `slipstream pull`, for at most `limit`.
    pub fn pull(&self, source: &str, image: &str, repo: &Path, limit: Duration) -> Result<Run> {
        let started = Instant::now();
        let mut child = self.start(source, image, repo)?;
        let mut peak = 0;
        let status = loop {
            peak = peak.max(memory_peak(child.id()).unwrap_or_default());
            if let Some(status) = child.try_wait().context("waiting for slipstream")? {
                break Some(status);
            }
            if started.elapsed() > limit {
                child.kill().context("killing slipstream")?;
                child.wait().context("waiting for slipstream")?;
                break None;
            }
            sleep(POLL);
        };
        let read = |name: &str| -> Result<String> {
            let bytes = fs::read(self.path().join(name)).with_context(|| format!("reading {name}"))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Run { status, stdout: read("stdout")?, stderr: read("stderr")?, peak, time: started.elapsed() })
    }
}

/// The high-water mark of a process's memory; none when it is gone.
fn memory_peak(pid: u32) -> Option<u64> {
    let mut text = String::new();
    File::open(format!("/proc/{pid}/status")).ok()?.read_to_string(&mut text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// What `ostree fsck` finds wrong with a repository; none if it is clean.
pub fn fsck(repo: &Path) -> Result<Option<String>> {
    let output = Command::new("ostree").arg("fsck").arg("--quiet").arg("--repo").arg(repo).output();
    let output = output.context("running ostree fsck")?;
    let text = [output.stdout, output.stderr].concat();
    Ok((!output.status.success()).then(|| String::from_utf8_lossy(&text).trim().replace('\n', " | ")))
}

/// The files below a directory, as sorted paths relative to it; none if it is not there.
pub fn files_below(dir: &Path) -> Result<Vec<String>> {
    let (mut found, mut open) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(prefix) = open.pop() {
        let path = dir.join(&prefix);
        if !path.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&path).with_context(|| format!("listing {}", path.display()))? {
            let entry = entry.with_context(|| format!("listing {}", path.display()))?;
            let below = prefix.join(entry.file_name());
            if entry.file_type().with_context(|| format!("looking at {}", below.display()))?.is_dir() {
                open.push(below);
            } else {
                found.push(below.display().to_string());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Names in the repository's `tmp` that an importer has left.
pub fn staged(repo: &Path) -> Result<Vec<String>> {
    let tmp = repo.join("tmp");
    let mut found = Vec::new();
    for entry in fs::read_dir(&tmp).with_context(|| format!("listing {}", tmp.display()))? {
        let name = entry.context("listing tmp")?.file_name().to_string_lossy().into_owned();
        if name != "cache" && name != ".lock" {
            found.push(name);
        }
    }
    Ok(found)
}
