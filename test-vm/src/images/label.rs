// SPDX-License-Identifier: Apache-2.0 OR MIT
//! SELinux labels as a kernel with a policy gives them: what is new in a directory gets the directory's.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};
use rustix::io::Errno;

/// The attribute.
const NAME: &str = "security.selinux";
/// More than any label has.
const MAX_LABEL: usize = 4096;
/// The end of the names of a repository's content objects. Their attributes are part of their checksums.
const OBJECT: &[u8] = b".file";

/// Gives `top` this type if it has no label, and what is below it the label of its directory. What has a label keeps
/// it, and so do content objects, and files with several names.
pub fn tree(top: &Path, kind: &str) -> Result<()> {
    below(top, format!("system_u:object_r:{kind}:s0\0").as_bytes())
}

fn below(dir: &Path, wanted: &[u8]) -> Result<()> {
    let own = label(dir, wanted)?;
    let own = own.as_deref().unwrap_or(wanted);
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let entry = entry.with_context(|| format!("listing {}", dir.display()))?;
        let kind = entry.file_type().with_context(|| format!("examining {}", entry.path().display()))?;
        if kind.is_dir() {
            below(&entry.path(), own)?;
        } else {
            label(&entry.path(), own)?;
        }
    }
    Ok(())
}

/// Labels one path, and returns the label that it has then.
fn label(path: &Path, wanted: &[u8]) -> Result<Option<Vec<u8>>> {
    let found = label_of(path)?;
    if found.is_some() || path.as_os_str().as_bytes().ends_with(OBJECT) {
        return Ok(found);
    }
    let metadata = path.symlink_metadata().with_context(|| format!("examining {}", path.display()))?;
    if !metadata.is_dir() && metadata.nlink() > 1 {
        return Ok(None);
    }
    lsetxattr(path, NAME, wanted, XattrFlags::empty()).with_context(|| format!("labelling {}", path.display()))?;
    Ok(Some(wanted.to_vec()))
}

fn label_of(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut buffer = [0; MAX_LABEL];
    match lgetxattr(path, NAME, &mut buffer) {
        Ok(0) | Err(Errno::NODATA) => Ok(None),
        Ok(length) => Ok(Some(buffer[..length].to_vec())),
        Err(error) => Err(error).with_context(|| format!("reading the label of {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::{NAME, label_of, tree};
    use rustix::fs::{XattrFlags, lsetxattr};

    /// Returns the type in a path's label.
    fn kind(path: &Path) -> Option<String> {
        let label = label_of(path).expect("readable")?;
        let text = String::from_utf8(label).expect("text");
        Some(text.split(':').nth(2).expect("a type").to_owned())
    }

    #[test]
    fn what_has_no_label_gets_that_of_its_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("inner/deep")).expect("directories");
        for name in ["plain", "inner/deep/file", "inner/kept", "one.file", "first"] {
            fs::write(top.join(name), "").expect("a file");
        }
        symlink("nowhere", top.join("link")).expect("a link");
        fs::hard_link(top.join("first"), top.join("second")).expect("a second name");
        let set = |name: &str, kind: &str| {
            let label = format!("system_u:object_r:{kind}:s0\0");
            lsetxattr(top.join(name), NAME, label.as_bytes(), XattrFlags::empty())
        };
        if let Err(error) = set("inner/kept", "kept_t") {
            eprintln!("skipped: only root may label files: {error}");
            return;
        }
        set("inner", "inner_t").expect("a label");
        tree(&top, "top_t").expect("labelled");
        for (name, expected) in [
            ("", Some("top_t")),
            ("plain", Some("top_t")),
            ("link", Some("top_t")),
            ("inner", Some("inner_t")),
            ("inner/deep", Some("inner_t")),
            ("inner/deep/file", Some("inner_t")),
            ("inner/kept", Some("kept_t")),
            ("one.file", None),
            ("first", None),
            ("second", None),
        ] {
            assert_eq!(kind(&top.join(name)).as_deref(), expected, "{name}");
        }
    }
}
