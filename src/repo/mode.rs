// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a repository keeps what a file is besides its content.
//!
//! Tested by `src/slipstream/tests/differential/`, `src/slipstream/tests/hostile/`.

use std::ffi::CString;
use std::fs::File;

use anyhow::{Context, Result};
use rustix::fs::{self, Mode, XattrFlags};

use crate::file_type::{S_IFLNK, S_IFMT};
use crate::gvariant;
use crate::{FileHeader, Xattrs};

/// Where a `bare-user` repository keeps owner, mode and xattrs: a dirmeta in this attribute.
const USER_META: &[u8] = b"user.ostreemeta";

/// The modes that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepoMode {
    /// Files are what they say. The mode of every system repository.
    Bare,
    /// Files belong to the caller: no root is needed.
    BareUser,
}

impl RepoMode {
    /// Returns whether the repository keeps a symbolic link as a file that contains the target.
    pub fn symlinks_are_files(self) -> bool {
        self == Self::BareUser
    }

    /// The permissions that a new file is best made with: most often they are right at once.
    pub fn permissions(self, header: &FileHeader) -> Mode {
        match self {
            Self::Bare => Mode::from_raw_mode(header.mode & 0o777),
            // As libostree: the owner can always read it, and nothing is setuid.
            Self::BareUser if header.target.is_some() => Mode::from_raw_mode(0o644),
            Self::BareUser => Mode::from_raw_mode(header.mode & 0o777 | 0o400),
        }
    }

    /// Give a new file its owner, mode and xattrs. Changing the owner clears other things, so it comes first. Each change
    /// is a transaction of the file system, and a look is not.
    pub fn apply(self, file: &File, header: &FileHeader) -> Result<()> {
        match self {
            Self::Bare => {
                let stat = fs::fstat(file)?;
                if (stat.st_uid, stat.st_gid) != (header.uid, header.gid) {
                    fs::fchown(file, Some(fs::Uid::from_raw(header.uid)), Some(fs::Gid::from_raw(header.gid)))?;
                }
                if stat.st_mode & 0o7777 != header.mode & 0o7777 {
                    fs::fchmod(file, Mode::from_raw_mode(header.mode & 0o7777))?;
                }
                for (name, value) in gvariant::parse_xattrs(&header.xattrs.0)? {
                    fs::fsetxattr(file, c_name(&name)?, &value, XattrFlags::empty())
                        .with_context(|| format!("setting {} of {} bytes", name.escape_ascii(), value.len()))?;
                }
            }
            Self::BareUser => {
                let meta = gvariant::dirmeta(header.uid, header.gid, header.mode, &header.xattrs.0);
                fs::fsetxattr(file, c_name(USER_META)?, &meta, XattrFlags::empty())
                    .context("setting user.ostreemeta")?;
                fs::fchmod(file, self.permissions(header))?;
            }
        }
        Ok(())
    }

    /// What a file is, from what it is on disk. `content` reads it, for a symbolic link that is a file.
    pub fn header_from_disk(
        self,
        on_disk: FileHeader,
        content: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<FileHeader> {
        if self == Self::Bare {
            return Ok(on_disk);
        }
        let list = gvariant::parse_xattrs(&on_disk.xattrs.0)?;
        let meta = list.iter().find(|(name, _)| name == USER_META).context("file object without user.ostreemeta")?;
        let (uid, gid, mode, xattrs) = gvariant::parse_dirmeta(&meta.1)?;
        let target = if mode & S_IFMT == S_IFLNK { Some(content()?) } else { None };
        Ok(FileHeader { uid, gid, mode, xattrs: Xattrs(xattrs.to_vec()), target })
    }
}

/// Returns the name of an extended attribute as the system calls take it.
pub(crate) fn c_name(name: &[u8]) -> Result<CString> {
    CString::new(name).context("name of an extended attribute has a NUL byte in it")
}
