// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The boot loader entries, read from their files: for a look at a disk that is not to be changed, without libostree.

use std::path::Path;

use anyhow::{Context, Result};
use contract::files::{Files, RootFiles};

/// Where they are. `/boot/loader` is a symbolic link.
const ENTRIES: &str = "/boot/loader/entries";

/// How the names of libostree's own entries begin. Others may have no options: they start another system.
pub(crate) const OWN_ENTRIES: &str = "ostree-";

/// The options of the entry that boots by default: the one with the highest version, as libostree writes them.
pub fn default_options(physical_root: &Path) -> Result<String> {
    let root = RootFiles::new(physical_root);
    let mut best: Option<(u64, String)> = None;
    for name in root.list(ENTRIES)?.iter().filter(|name| name.starts_with(OWN_ENTRIES) && name.ends_with(".conf")) {
        let path = format!("{ENTRIES}/{name}");
        let bytes = root.read(&path)?.with_context(|| format!("{path} is gone"))?;
        let text = String::from_utf8(bytes).with_context(|| format!("reading {path}"))?;
        let options = value(&text, "options").with_context(|| format!("{path} has no options"))?;
        let version = value(&text, "version").and_then(|version| version.parse().ok()).unwrap_or(0);
        if best.as_ref().is_none_or(|(highest, _)| *highest < version) {
            best = Some((version, options.to_owned()));
        }
    }
    let (_, options) = best.with_context(|| {
        format!("{} has no boot loader entry in {ENTRIES}: mount its boot partition there", physical_root.display())
    })?;
    Ok(options)
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once([' ', '\t'])?;
        (name == key).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_is_the_default() {
        let directory = tempfile::tempdir().unwrap();
        let error = default_options(directory.path()).unwrap_err().to_string();
        assert!(error.ends_with("has no boot loader entry in /boot/loader/entries: mount its boot partition there"));
        let entries = directory.path().join("boot/loader.1/entries");
        std::fs::create_dir_all(&entries).unwrap();
        std::os::unix::fs::symlink("loader.1", directory.path().join("boot/loader")).unwrap();
        for (name, text) in [
            ("ostree-9.conf", "title x\nversion 9\noptions nine\n"),
            ("ostree-10.conf", "version 10\noptions  ten ostree=/x \n"),
            ("windows.conf", "title another system\nversion 99\nefi /EFI/other.efi\n"),
            ("old.conf.bak", "version 11\noptions eleven\n"),
        ] {
            std::fs::write(entries.join(name), text).unwrap();
        }
        assert_eq!(default_options(directory.path()).unwrap(), "ten ostree=/x");
    }
}
