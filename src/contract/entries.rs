// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The boot loader entries, read from their files: for a look at a disk that is not to be changed, without libostree.

use std::cmp::Reverse;

use anyhow::{Context, Result, ensure};

use crate::files::{Files, RootFiles};
use crate::places::PhysicalRoot;

/// Where they are. `/boot/loader` is a symbolic link.
const ENTRIES: &str = "/boot/loader/entries";

/// Start of the names of libostree's entries. Those of other programs may have no options: they start another system.
pub const LIBOSTREE_ENTRIES: &str = "ostree-";

/// A boot loader entry of libostree's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path on the physical root.
    pub path: String,
    /// The kernel arguments.
    pub options: String,
    /// The kernel, a path on the boot partition.
    linux: Option<String>,
    version: u64,
}

impl Entry {
    /// Returns the version of the kernel that it starts: libostree writes it behind `vmlinuz-`.
    pub fn kernel(&self) -> Option<&str> {
        self.linux.as_deref()?.rsplit('/').next()?.strip_prefix("vmlinuz-")
    }
}

/// Reads libostree's entries, the default first: the one with the highest version. That there is none is an error.
pub fn entries(root: &PhysicalRoot) -> Result<Vec<Entry>> {
    let files = RootFiles::new(root.path());
    let mut found = Vec::new();
    let is_entry = |name: &&String| name.starts_with(LIBOSTREE_ENTRIES) && name.ends_with(".conf");
    for name in files.list(ENTRIES)?.unwrap_or_default().iter().filter(is_entry) {
        let path = format!("{ENTRIES}/{name}");
        // libostree passes over everything but files.
        if root.path().join(&path[1..]).metadata().is_ok_and(|metadata| !metadata.is_file()) {
            continue;
        }
        let bytes = files.read(&path)?.with_context(|| format!("{path} is gone"))?;
        let text = String::from_utf8(bytes).with_context(|| format!("reading {path}"))?;
        let options = value(&text, "options").with_context(|| format!("{path} has no options"))?.to_owned();
        let version = value(&text, "version").and_then(|version| version.parse().ok()).unwrap_or(0);
        let linux = value(&text, "linux").map(str::to_owned);
        found.push(Entry { path, options, linux, version });
    }
    ensure!(!found.is_empty(), "{root} has no boot loader entry in {ENTRIES}: mount its boot partition there");
    // Of equal versions the first by name stays the first.
    found.sort_by_key(|entry| Reverse(entry.version));
    Ok(found)
}

/// Returns the value of a key: of several the last one, as libostree does.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().rev().find_map(|line| {
        let (name, value) = line.split_once([' ', '\t'])?;
        (name == key).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_comes_first() {
        let directory = tempfile::tempdir().unwrap();
        let root = PhysicalRoot::new(directory.path());
        let error = entries(&root).unwrap_err().to_string();
        assert!(error.ends_with("has no boot loader entry in /boot/loader/entries: mount its boot partition there"));
        let loader = directory.path().join("boot/loader.1/entries");
        std::fs::create_dir_all(&loader).unwrap();
        std::os::unix::fs::symlink("loader.1", directory.path().join("boot/loader")).unwrap();
        for (name, text) in [
            ("ostree-9.conf", "title x\nversion 9\noptions eight\noptions nine\n"),
            ("ostree-10.conf", "version 10\noptions  ten ostree=/x \nlinux /ostree/os-1/vmlinuz-6.1-rt\n"),
            ("windows.conf", "title another system\nversion 99\nefi /EFI/other.efi\n"),
            ("old.conf.bak", "version 11\noptions eleven\n"),
        ] {
            std::fs::write(loader.join(name), text).unwrap();
        }
        std::fs::create_dir(loader.join("ostree-11.conf")).unwrap();
        let found = entries(&root).unwrap();
        let found: Vec<_> = found.iter().map(|entry| (entry.options.as_str(), entry.kernel())).collect();
        assert_eq!(found, [("ten ostree=/x", Some("6.1-rt")), ("nine", None)]);
    }
}
