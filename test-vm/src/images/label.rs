// SPDX-License-Identifier: Apache-2.0 OR MIT
//! SELinux labels as a kernel with a policy gives them: what is new in a directory gets the directory's.
//!
//! Tested by `test-vm/tests/label.rs`.

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
pub fn label_tree(top: &Path, kind: &str) -> Result<()> {
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
