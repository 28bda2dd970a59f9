// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A small file on the physical root, by which one boot tells the next what it has done. It stands beside ostree's own
//! directories: libostree looks only at names in `/ostree` that it knows.
//!
//! Tested by `src/contract/tries.rs`, `src/contract/once.rs`.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fs::OFlags;

use crate::places::PhysicalRoot;

/// A file, by its path relative to the physical root, and its largest size in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskFile {
    /// Where it is.
    pub path: &'static str,
    /// What it is written to first. A power cut may leave it.
    pub temporary: &'static str,
    /// Largest size, in bytes.
    pub max: u64,
}

impl DiskFile {
    /// Returns its text. Neither a link is followed nor a pipe waited for.
    pub fn read(self, root: &PhysicalRoot) -> Result<Option<String>> {
        let path = self.at(root);
        let reading = || format!("reading {}", path.display());
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(reading),
        };
        ensure!(file.metadata().with_context(reading)?.is_file(), "{} is not a regular file", path.display());
        let mut text = String::new();
        file.take(self.max + 1).read_to_string(&mut text).with_context(reading)?;
        ensure!(text.len() as u64 <= self.max, "{} is larger than {} bytes", path.display(), self.max);
        Ok(Some(text))
    }

    /// Replaces its text. What is written is on the disk when this returns.
    pub fn write(self, root: &PhysicalRoot, text: &str) -> Result<()> {
        let _writable = root.writable()?;
        let temporary = root.path().join(self.temporary);
        remove(&temporary)?;
        let context = || format!("writing {}", temporary.display());
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).with_context(context)?;
        file.write_all(text.as_bytes()).with_context(context)?;
        file.sync_all().with_context(context)?;
        let path = self.at(root);
        fs::rename(&temporary, &path).with_context(|| format!("renaming to {}", path.display()))?;
        sync_parent(&path)
    }

    /// Removes it, if it is there.
    pub fn remove(self, root: &PhysicalRoot) -> Result<()> {
        let paths = [self.at(root), root.path().join(self.temporary)];
        // The disk is not touched for nothing.
        if paths.iter().all(|path| path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)) {
            return Ok(());
        }
        let _writable = root.writable()?;
        for path in &paths {
            remove(path)?;
        }
        sync_parent(&paths[0])
    }

    /// Returns where it is.
    pub fn at(self, root: &PhysicalRoot) -> PathBuf {
        root.path().join(self.path)
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Has the names in a directory, those that were renamed into it too, be on the disk.
pub fn sync_directory(directory: &Path) -> Result<()> {
    let synced = File::open(directory).and_then(|file| file.sync_all());
    synced.with_context(|| format!("syncing {}", directory.display()))
}

/// The same for the directory of a file.
pub fn sync_parent(path: &Path) -> Result<()> {
    sync_directory(path.parent().context("a path without a directory")?)
}
