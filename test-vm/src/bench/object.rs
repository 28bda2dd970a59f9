// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writing an object with the fewest plain system calls, for the floor.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use sha2::{Digest, Sha256};

/// Content is read, hashed and written in blocks of this size.
const BLOCK: usize = 128 << 10;

/// Owner and mode.
#[derive(Clone, Copy)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

/// A repository's `objects`, and a directory where files lie until they are whole.
pub struct Objects {
    objects: OwnedFd,
    stage: OwnedFd,
    counter: AtomicU64,
}

impl Objects {
    /// Make the directories.
    pub fn create(dir: &Path) -> Result<Self> {
        for n in 0..=255 {
            let path = dir.join(format!("objects/{n:02x}"));
            std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        }
        let open = |name: &str| {
            let path = dir.join(name);
            std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
            fs::open(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .with_context(|| format!("opening {}", path.display()))
        };
        Ok(Self { objects: open("objects")?, stage: open("stage")?, counter: AtomicU64::new(0) })
    }

    fn temporary(&self) -> String {
        self.counter.fetch_add(1, Ordering::Relaxed).to_string()
    }

    fn publish(&self, temporary: &str, checksum: &str, extension: &str) -> Result<()> {
        let name = format!("{}/{}.{extension}", &checksum[..2], &checksum[2..]);
        fs::renameat(&self.stage, temporary, &self.objects, name).context("renaming an object")
    }

    /// A regular file. Its name is `checksum`, or its sha256 if it has none; it is hashed in any case.
    pub fn file(
        &self,
        checksum: Option<&str>,
        extension: &str,
        owner: Owner,
        xattrs: &[u8],
        content: &mut impl Read,
    ) -> Result<()> {
        let temporary = self.temporary();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = fs::openat(&self.stage, &temporary, flags, Mode::RUSR | Mode::WUSR).context("creating a file")?;
        let mut file = File::from(file);
        let mut hash = Sha256::new();
        let mut buffer = vec![0; BLOCK];
        loop {
            let n = content.read(&mut buffer).context("reading a file")?;
            if n == 0 {
                break;
            }
            hash.update(&buffer[..n]);
            file.write_all(&buffer[..n]).context("writing a file")?;
        }
        let sum: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        fs::fchown(&file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))
            .context("giving a file away")?;
        fs::fchmod(&file, Mode::from_raw_mode(owner.mode)).context("setting a mode")?;
        for (name, value) in parse_xattrs(xattrs).context("reading xattrs")? {
            fs::fsetxattr(&file, c_name(name)?, value, XattrFlags::empty()).context("setting an xattr")?;
        }
        let epoch = Timespec { tv_sec: 0, tv_nsec: 0 };
        let keep = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        fs::futimens(&file, &Timestamps { last_access: keep, last_modification: epoch }).context("setting a time")?;
        drop(file);
        self.publish(&temporary, checksum.unwrap_or(&sum), extension)
    }

    /// A symbolic link.
    pub fn symlink(&self, checksum: &str, owner: Owner, xattrs: &[u8], target: &[u8]) -> Result<()> {
        let temporary = self.temporary();
        fs::symlinkat(target, &self.stage, &temporary).context("creating a symbolic link")?;
        let (uid, gid) = (Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)));
        fs::chownat(&self.stage, &temporary, uid, gid, AtFlags::SYMLINK_NOFOLLOW).context("giving a link away")?;
        let path = format!("/proc/self/fd/{}/{temporary}", self.stage.as_raw_fd());
        for (name, value) in parse_xattrs(xattrs).context("reading xattrs")? {
            fs::lsetxattr(&path, c_name(name)?, value, XattrFlags::empty()).context("setting an xattr")?;
        }
        self.publish(&temporary, checksum, "file")
    }

    /// All of it is on disk when this returns.
    pub fn sync(&self) -> Result<()> {
        fs::syncfs(&self.objects).context("syncing")
    }
}

fn c_name(name: &[u8]) -> Result<CString> {
    CString::new(name.strip_suffix(&[0]).unwrap_or(name)).context("reading the name of an xattr")
}

/// Names and values of a serialized `a(ayay)`; none if it is malformed.
fn parse_xattrs(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut found = Vec::new();
    if bytes.is_empty() {
        return Some(found);
    }
    let width = offset_width(bytes.len());
    let table = offset(bytes, bytes.len().checked_sub(width)?, width)?;
    bytes.get(table..)?;
    let mut start = 0;
    for at in (table..bytes.len()).step_by(width) {
        let end = offset(bytes, at, width)?;
        let pair = bytes.get(start..end)?;
        let width = offset_width(pair.len());
        let split = pair.len().checked_sub(width)?;
        let name_end = offset(pair, split, width)?;
        found.push((pair.get(..name_end)?, pair.get(name_end..split)?));
        start = end;
    }
    Some(found)
}

/// How many bytes an offset has in a container of this size (GVariant specification, 2.3.3).
pub fn offset_width(size: usize) -> usize {
    match size {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        _ => 4,
    }
}

fn offset(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(width)?)?;
    Some(field.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::parse_xattrs;

    #[test]
    fn serialized_xattrs() {
        assert_eq!(parse_xattrs(b""), Some(Vec::new()));
        // Two pairs, each with the end of its name, then the ends of the pairs.
        let bytes = b"user.a\0one\x07user.b\0\x07\x0b\x13";
        let expected: Vec<(&[u8], &[u8])> = vec![(b"user.a\0", b"one"), (b"user.b\0", b"")];
        assert_eq!(parse_xattrs(bytes), Some(expected));
        assert_eq!(parse_xattrs(b"user.a\0one\x07\xff"), None, "an offset beyond the end");
    }
}
