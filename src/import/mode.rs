// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a repository keeps what a file is besides its content.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{self, Mode, XattrFlags};

use super::gvariant;
use super::store::c_name;
use super::tree::{S_IFLNK, S_IFMT};
use crate::ostree::{FileHeader, Xattrs};

/// Where a `bare-user` repository keeps owner, mode and xattrs: a dirmeta in this attribute.
const USER_META: &[u8] = b"user.ostreemeta";

/// The modes that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RepoMode {
    /// Files are what they say. The mode of every system repository.
    Bare,
    /// Files belong to the caller: no root is needed.
    BareUser,
}

impl RepoMode {
    /// The mode of the repository at `path`.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path.join("config")).context("reading the repository's config")?;
        Self::parse(&text)
    }

    fn parse(config: &str) -> Result<Self> {
        let mut section = "";
        let mut mode = "bare";
        for line in config.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name;
            }
            let Some((key, value)) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
                continue;
            };
            match (section, key) {
                ("core", "mode") => mode = value,
                // Every object would have to be sealed. `maybe` allows that it is not.
                ("ex-integrity", "fsverity") => ensure!(
                    matches!(value, "no" | "false" | "0" | "maybe"),
                    "repository wants fs-verity, which is not supported"
                ),
                _ => {}
            }
        }
        Ok(match mode {
            "bare" => Self::Bare,
            "bare-user" => Self::BareUser,
            other => bail!("repository has mode {other}; only bare and bare-user can be written"),
        })
    }

    pub(super) fn symlinks_are_files(self) -> bool {
        self == Self::BareUser
    }

    /// Give a new file its owner, mode and xattrs. Changing the owner clears other things, so it comes first.
    pub(super) fn apply(self, file: &File, header: &FileHeader) -> Result<()> {
        match self {
            Self::Bare => {
                fs::fchown(file, Some(fs::Uid::from_raw(header.uid)), Some(fs::Gid::from_raw(header.gid)))?;
                fs::fchmod(file, Mode::from_raw_mode(header.mode & 0o7777))?;
                for (name, value) in gvariant::parse_xattrs(&header.xattrs.0)? {
                    fs::fsetxattr(file, c_name(&name)?, &value, XattrFlags::empty())
                        .with_context(|| format!("setting {} of {} bytes", name.escape_ascii(), value.len()))?;
                }
            }
            Self::BareUser => {
                let meta = gvariant::dirmeta(header.uid, header.gid, header.mode, &header.xattrs.0);
                fs::fsetxattr(file, c_name(USER_META)?, &meta, XattrFlags::empty())
                    .context("setting user.ostreemeta")?;
                // As libostree: the owner can always read it, and nothing is setuid.
                let mode = if header.target.is_some() { 0o644 } else { header.mode & 0o777 | 0o400 };
                fs::fchmod(file, Mode::from_raw_mode(mode))?;
            }
        }
        Ok(())
    }

    /// What a file is, from what it is on disk. `content` reads it, for a symbolic link that is a file.
    pub(super) fn header_from_disk(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        for (config, expected) in [
            ("[core]\nrepo_version=1\nmode=bare\n", Ok(RepoMode::Bare)),
            ("[core]\nmode = bare-user", Ok(RepoMode::BareUser)),
            ("[core]\nmode=archive-z2", Err("repository has mode archive-z2; only bare and bare-user can be written")),
            ("[core]\nmode=bare\n[ex-integrity]\nfsverity=maybe", Ok(RepoMode::Bare)),
            (
                "[core]\nmode=bare\n[ex-integrity]\nfsverity=yes",
                Err("repository wants fs-verity, which is not supported"),
            ),
        ] {
            let got = RepoMode::parse(config).map_err(|error| error.to_string());
            assert_eq!(got, expected.map_err(str::to_owned), "{config}");
        }
    }
}
