// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where importers are ill-treated: a tmpfs in a mount namespace of this process, and a program that is watched.
//!
//! A tmpfs, because every import syncs its file system, and there another program's writes would be waited for.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

/// How often a running program's memory is looked at.
const POLL: Duration = Duration::from_millis(1);

/// Gives this thread, and all that it starts, mounts that no other process sees; or returns why that cannot be.
///
/// To be called before the process has other threads: those would keep the old ones.
pub fn enter() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|error| format!("it needs a mount namespace: {error}"))?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|error| format!("it needs private mounts: {error}"))
}

/// Mounts a tmpfs.
pub fn tmpfs(at: &Path, options: &str) -> Result<()> {
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(options))
        .with_context(|| format!("mounting {}", at.display()))
}

/// A directory of its own, in memory. It goes when it is dropped, with what is mounted below it.
#[derive(Debug)]
pub struct Sandbox {
    work: TempDir,
    slipstream: PathBuf,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Run {
    /// None if it had to be killed.
    pub status: Option<ExitStatus>,
    /// Its output.
    pub stdout: String,
    /// Its output of errors.
    pub stderr: String,
    /// The most memory that it had, in KiB.
    pub peak: u64,
    /// How long it took.
    pub time: Duration,
}

impl Sandbox {
    /// Makes a sandbox for the program `slipstream`. [`enter`] comes first.
    pub fn new(slipstream: &str) -> Result<Self> {
        let work = tempfile::Builder::new().prefix("slipstream-test-").tempdir().context("creating a directory")?;
        tmpfs(work.path(), "mode=0755")?;
        Ok(Self { work, slipstream: PathBuf::from(slipstream) })
    }

    /// Returns its directory.
    pub fn path(&self) -> &Path {
        self.work.path()
    }

    /// Starts `slipstream pull` of an image; its output goes to files.
    pub fn start(&self, source: &str, image: &str, repo: &Path) -> Result<Child> {
        let create = |name: &str| File::create(self.path().join(name)).with_context(|| format!("creating {name}"));
        Command::new(&self.slipstream)
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

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Err(error) = umount2(self.path(), MntFlags::MNT_DETACH) {
            eprintln!("unmounting {}: {error}", self.path().display());
        }
    }
}

/// Returns the high-water mark of a process's memory; none when it is gone.
fn memory_peak(pid: u32) -> Option<u64> {
    let mut text = String::new();
    File::open(format!("/proc/{pid}/status")).ok()?.read_to_string(&mut text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}
