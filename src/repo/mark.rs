// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which refs are ours to remove.
//!
//! Names and commits do not tell: they are those of ostree-ext. So the file of a ref that is ours bears an extended
//! attribute. Whoever sets the ref anew makes another file, without it, and then it is theirs. On a file system without
//! such attributes nothing is ours, and other tools collect what no image needs.
//!
//! Tested by `src/slipstream/tests/boot/others.rs`, `src/slipstream/tests/concurrency/`.

use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{self, XattrFlags};
use rustix::io::Errno;

const XATTR: &str = "user.slipstream";

/// What may become of a ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A layer's: it goes when no image needs the layer.
    Layer,
    /// The ref of an image that was imported to be booted: it goes when no deployment has it.
    Boot,
    /// It stays.
    None,
}

impl Mark {
    fn text(self) -> Option<&'static [u8]> {
        match self {
            Self::Layer => Some(b"layer"),
            Self::Boot => Some(b"boot"),
            Self::None => None,
        }
    }

    /// The mark of a ref of the repository at `repo`.
    pub fn of(repo: &Path, name: &str) -> Result<Self> {
        let mut value = [0; 16];
        match fs::lgetxattr(ref_path(repo, name), XATTR, &mut value[..]) {
            Ok(n) => {
                let found = value.get(..n);
                let known = [Self::Layer, Self::Boot].into_iter().find(|mark| mark.text() == found);
                Ok(known.unwrap_or(Self::None))
            }
            // Another one's attribute of this name would be longer.
            Err(Errno::NODATA | Errno::NOENT | Errno::OPNOTSUPP | Errno::RANGE) => Ok(Self::None),
            Err(error) => Err(error).with_context(|| format!("reading the mark of ref {name}")),
        }
    }

    /// Put it on the open file of a ref.
    pub fn put(self, file: &std::fs::File) -> Result<()> {
        let Some(text) = self.text() else { return Ok(()) };
        match fs::fsetxattr(file, XATTR, text, XattrFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP) => {
                log::debug!("the file system has no user attributes: a ref is not marked");
                Ok(())
            }
            Err(error) => Err(error).context("marking a ref"),
        }
    }

    /// Remove any mark of a ref: somebody wants it to stay.
    pub fn clear(repo: &Path, name: &str) -> Result<()> {
        match fs::lremovexattr(ref_path(repo, name), XATTR) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("removing the mark of ref {name}")),
        }
    }
}

fn ref_path(repo: &Path, name: &str) -> std::path::PathBuf {
    repo.join("refs/heads").join(name)
}
