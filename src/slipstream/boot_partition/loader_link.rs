// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The link to the boot loader entries, and two gaps that libostree leaves when it replaces them: the entries of other
//! programs, and the moment of the change.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use contract::disk_file::sync_directory;
use contract::entries::LIBOSTREE_ENTRIES;
use contract::places::PhysicalRoot;

use crate::listing::list;

/// Name of the link on the boot partition that boot loaders follow to the entries, `loader -> loader.N`. libostree changes
/// them all at once by renaming another one over it.
pub(crate) const NAME: &str = "loader";
/// Start of the name of a directory that it leads to; the version of the entries follows.
const DIRECTORY: &str = "loader.";
/// The entries, in the directory that it leads to.
const ENTRIES: &str = "entries";
/// In the directory that it leads to, for as long as that takes: if the power goes meanwhile, libostree removes it with
/// that directory after the next change.
const SECOND_NAME: &str = ".slipstream-loader";

/// Another name of the link to the entries that are in use.
///
/// The rename is one transaction of the file system's journal, but GRUB reads no journal: it sees blocks that are written
/// one after the other, in any order. On ext4 the old link's inode, deleted, may be there before the directory's new
/// block, and with the power gone in that moment `loader` would be an empty link. With a second name it is not deleted.
#[derive(Debug)]
#[must_use = "the second name stays on the boot partition"]
pub struct SecondName(Option<PathBuf>);

impl SecondName {
    /// Gives the link a second name, if there is one and its file system can.
    pub fn new(root: &PhysicalRoot) -> Self {
        Self::link(&link(root)).unwrap_or_else(|error| {
            log::debug!("giving the link to the boot loader entries a second name: {error:#}");
            Self(None)
        })
    }

    fn link(loader: &Path) -> Result<Self> {
        let Some(directory) = present_directory(loader)? else { return Ok(Self(None)) };
        let path = directory.join(SECOND_NAME);
        // Of a run that was cut.
        Self(Some(path.clone())).remove();
        fs::hard_link(loader, &path).with_context(|| format!("linking {}", path.display()))?;
        Ok(Self(Some(path)))
    }

    fn remove(&mut self) {
        let Some(path) = self.0.take() else { return };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                log::warn!("removing {}: {error}", path.display());
            }
            _ => {}
        }
    }
}

impl Drop for SecondName {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Returns the boot loader entries that libostree has not made, by their present names: it makes a new directory with its
/// own ones only.
pub fn foreign_entries(root: &PhysicalRoot) -> Result<Vec<PathBuf>> {
    let Some(directory) = present_directory(&link(root))? else { return Ok(Vec::new()) };
    let is_foreign = |path: &PathBuf| {
        path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(LIBOSTREE_ENTRIES.as_bytes()))
    };
    Ok(list(&directory.join(ENTRIES), |kind| !kind.is_dir())?.into_iter().filter(is_foreign).collect())
}

/// Puts back the foreign entries that are missing: the same files, by another name, until libostree removes the old
/// directory.
pub fn keep_entries(root: &PhysicalRoot, entries: &[PathBuf]) -> Result<()> {
    let directory = link(root).join(ENTRIES);
    for entry in entries {
        let Some(name) = entry.file_name() else { continue };
        let path = directory.join(name);
        match fs::hard_link(entry, &path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("linking {}", path.display()));
            }
            _ => {}
        }
    }
    if !entries.is_empty() {
        sync_directory(&directory)?;
    }
    Ok(())
}

/// Returns whether a name on the boot partition is that of a directory with entries.
pub(crate) fn is_directory(name: &str) -> bool {
    name.starts_with(DIRECTORY)
}

/// Returns the version of the entries that are in use, 0 or 1; `None` if there is no link that leads to entries of libostree's.
pub(crate) fn version(root: &PhysicalRoot) -> Result<Option<u32>> {
    let Some(directory) = present_directory(&link(root))? else { return Ok(None) };
    let name = directory.file_name().and_then(OsStr::to_str);
    let version = name.and_then(|name| name.strip_prefix(DIRECTORY)?.parse().ok());
    Ok(version.filter(|version| *version <= 1))
}

fn link(root: &PhysicalRoot) -> PathBuf {
    root.boot().join(NAME)
}

/// Returns the directory that the link leads to now: after libostree's change it leads elsewhere. `None`: there is no link.
fn present_directory(loader: &Path) -> Result<Option<PathBuf>> {
    match fs::read_link(loader) {
        Ok(target) => Ok(Some(loader.with_file_name(target))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", loader.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_old_link_outlives_its_name() {
        let root = tempfile::tempdir().unwrap();
        let boot = root.path().join("boot");
        fs::create_dir_all(boot.join("loader.0")).unwrap();
        drop(SecondName::new(&PhysicalRoot::new(root.path())));
        symlink("loader.0", boot.join("loader")).unwrap();
        let second = boot.join("loader.0").join(SECOND_NAME);
        // What a run that was cut has left is no obstacle.
        symlink("loader.7", &second).unwrap();
        let name = SecondName::new(&PhysicalRoot::new(root.path()));
        symlink("loader.1", boot.join("loader.tmp")).unwrap();
        fs::rename(boot.join("loader.tmp"), boot.join("loader")).unwrap();
        assert_eq!(fs::read_link(&second).unwrap(), Path::new("loader.0"));
        drop(name);
        assert!(!second.is_symlink());
        assert_eq!(fs::read_link(boot.join("loader")).unwrap(), Path::new("loader.1"));
        // libostree may have removed the directory meanwhile.
        fs::create_dir(boot.join("loader.1")).unwrap();
        let name = SecondName::new(&PhysicalRoot::new(root.path()));
        fs::remove_dir_all(boot.join("loader.1")).unwrap();
        drop(name);
    }
}
