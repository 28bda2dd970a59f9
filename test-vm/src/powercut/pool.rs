// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Hundreds of disks that differ in little: files that share their blocks, on an xfs in memory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::cmd;

/// Of the file system with the disks. It is sparse; in use are about 2 GiB.
const SIZE: u64 = 24 << 30;
/// How often, and after what time, a mount that is busy is unmounted again.
const UMOUNT_RETRIES: u32 = 20;
const UMOUNT_DELAY: Duration = Duration::from_millis(100);

/// The disks. Everything is mounted in the mount namespace of this process.
pub struct Pool {
    work: tempfile::TempDir,
}

impl Pool {
    /// A new one below `work`, where there should be memory.
    pub fn new(work: &Path) -> Result<Self> {
        let work = tempfile::Builder::new().prefix("slipstream-power-cuts-").tempdir_in(work);
        let pool = Self { work: work.context("creating a directory for the disks")? };
        let (image, disks) = (pool.path("pool.img"), pool.path("disks"));
        let file = File::create(&image).with_context(|| format!("creating {}", image.display()))?;
        file.set_len(SIZE).with_context(|| format!("creating {}", image.display()))?;
        fs::create_dir(&disks).with_context(|| format!("creating {}", disks.display()))?;
        cmd::run(cmd::words("mkfs.xfs", ["-q", "-m", "reflink=1"]).arg(&image))?;
        cmd::run(cmd::words("mount", ["-t", "xfs", "-o", "loop"]).args([&image, &disks]))?;
        // The mount holds it: it is gone with the last process of the namespace, whatever that one dies of.
        fs::remove_file(&image).with_context(|| format!("removing {}", image.display()))?;
        Ok(pool)
    }

    /// A path that is in memory, but is no disk.
    pub fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// The path of a disk.
    pub fn disk(&self, name: &str) -> PathBuf {
        self.path("disks").join(name)
    }

    /// Take a disk in from elsewhere.
    pub fn take(&self, from: &Path, name: &str) -> Result<File> {
        let to = self.disk(name);
        cmd::run(cmd::words("cp", ["--sparse=always"]).args([from, &to]))?;
        File::options().read(true).write(true).open(&to).with_context(|| format!("opening {}", to.display()))
    }

    /// A copy of a disk that shares all blocks with it.
    pub fn copy(&self, from: &File, name: &str) -> Result<File> {
        let to = self.disk(name);
        let copy = File::options().read(true).write(true).create_new(true).open(&to);
        let copy = copy.with_context(|| format!("creating {}", to.display()))?;
        rustix::fs::ioctl_ficlone(&copy, from).with_context(|| format!("copying a disk to {}", to.display()))?;
        Ok(copy)
    }

    /// Remove a disk.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.disk(name);
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Otherwise the directory could not be removed.
        if let Err(error) = cmd::run(cmd::words("umount", ["--lazy"]).arg(self.path("disks"))) {
            eprintln!("warning: {error:#}");
        }
    }
}

/// A mounted part of a disk; unmounted when dropped.
pub struct Mount(Option<PathBuf>);

impl Mount {
    /// Mount `size` bytes at `offset` of a disk.
    pub fn new(disk: &Path, (offset, size): (u64, u64), fstype: &str, options: &str, at: &Path) -> Result<Self> {
        let options = format!("loop,offset={offset},sizelimit={size}{options}");
        cmd::run(cmd::words("mount", ["-t", fstype, "-o", &options]).args([disk, at]))?;
        Ok(Self(Some(at.to_path_buf())))
    }

    /// Unmount it, and say so if that fails.
    pub fn end(mut self) -> Result<()> {
        let Some(at) = self.0.take() else { return Ok(()) };
        let mut result = cmd::run(&mut cmd::words("umount", [&at]));
        // A child of another thread has our open files from its fork to its exec, and so keeps the mount busy.
        for _ in 0..UMOUNT_RETRIES {
            if result.is_ok() {
                break;
            }
            thread::sleep(UMOUNT_DELAY);
            result = cmd::run(&mut cmd::words("umount", [&at]));
        }
        result
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(at) = &self.0
            && let Err(error) = cmd::run(cmd::words("umount", ["--lazy"]).arg(at))
        {
            eprintln!("warning: {error:#}");
        }
    }
}
