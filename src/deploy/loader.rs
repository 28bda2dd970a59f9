// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What libostree leaves open when it writes boot loader entries: those of others, and the moment of the change.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::files;

/// The boot loader entries, and how the names of libostree's own begin.
const ENTRIES: &str = "boot/loader/entries";
const OWN_ENTRIES: &str = "ostree-";
/// Largest entry that is read, in bytes: they are a few lines.
const MAX_ENTRY: u64 = 64 << 10;
/// The link that boot loaders follow to the entries; libostree changes them all at once by renaming another one over it.
const LOADER: &str = "boot/loader";
/// In the directory that it leads to, for as long as that takes: if the power goes meanwhile, libostree removes it with
/// that directory after the next change.
const SECOND_NAME: &str = ".slipstream-loader";

/// Another name of the link to the entries that are in use.
///
/// The rename is one transaction of the file system's journal, but GRUB reads no journal: it sees blocks that are written
/// one after the other, in any order. On ext4 the old link's inode, deleted, may be there before the directory's new
/// block, and with the power gone in that moment `loader` would be an empty link. With a second name it is not deleted.
#[must_use = "the second name stays on the boot partition"]
pub struct SecondName(Option<PathBuf>);

impl SecondName {
    /// Give the link a second name, if there is one and its file system can.
    pub fn new(physical_root: &Path) -> Self {
        match Self::link(&physical_root.join(LOADER)) {
            Ok(path) => Self(Some(path)),
            Err(error) => {
                log::debug!("giving {LOADER} a second name: {error}");
                Self(None)
            }
        }
    }

    fn link(loader: &Path) -> io::Result<PathBuf> {
        // By its present name: after the change `loader` leads elsewhere.
        let directory = loader.with_file_name(fs::read_link(loader)?);
        let path = directory.join(SECOND_NAME);
        // Of a run that was cut.
        Self(Some(path.clone())).remove();
        fs::hard_link(loader, &path)?;
        Ok(path)
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

/// The boot loader entries that libostree has not made, with their text. It writes a new directory with its own ones only.
pub fn foreign_entries(physical_root: &Path) -> Result<Vec<(OsString, Vec<u8>)>> {
    let directory = physical_root.join(ENTRIES);
    let mut found = Vec::new();
    for path in files(&directory)? {
        let Some(name) = path.file_name() else { continue };
        if name.as_encoded_bytes().starts_with(OWN_ENTRIES.as_bytes()) {
            continue;
        }
        let mut text = Vec::new();
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        file.take(MAX_ENTRY).read_to_end(&mut text).with_context(|| format!("reading {}", path.display()))?;
        found.push((name.to_owned(), text));
    }
    Ok(found)
}

/// Put back what is missing of them.
pub fn keep_entries(physical_root: &Path, entries: &[(OsString, Vec<u8>)]) -> Result<()> {
    let directory = physical_root.join(ENTRIES);
    for (name, text) in entries {
        let path = directory.join(name);
        if path.symlink_metadata().is_ok() {
            continue;
        }
        // What boot loaders do not take for an entry.
        let temporary = directory.join(".slipstream-entry");
        let writing = || format!("writing {}", path.display());
        let mut file = File::create(&temporary).with_context(writing)?;
        file.write_all(text).and_then(|()| file.sync_all()).with_context(writing)?;
        fs::rename(&temporary, &path).with_context(writing)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_old_link_outlives_its_name() {
        let root = tempfile::tempdir().unwrap();
        let boot = root.path().join("boot");
        fs::create_dir_all(boot.join("loader.0")).unwrap();
        drop(SecondName::new(root.path()));
        symlink("loader.0", boot.join("loader")).unwrap();
        let second = boot.join("loader.0").join(SECOND_NAME);
        // What a run that was cut has left is no obstacle.
        symlink("loader.7", &second).unwrap();
        let name = SecondName::new(root.path());
        symlink("loader.1", boot.join("loader.tmp")).unwrap();
        fs::rename(boot.join("loader.tmp"), boot.join("loader")).unwrap();
        assert_eq!(fs::read_link(&second).unwrap(), Path::new("loader.0"));
        drop(name);
        assert!(!second.is_symlink());
        assert_eq!(fs::read_link(boot.join("loader")).unwrap(), Path::new("loader.1"));
        // libostree may have removed the directory meanwhile.
        fs::create_dir(boot.join("loader.1")).unwrap();
        let name = SecondName::new(root.path());
        fs::remove_dir_all(boot.join("loader.1")).unwrap();
        drop(name);
    }
}
