// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The writing half of the store: objects and refs, staged first and then published.
//!
//! Tested by `src/slipstream/tests/differential/`, `src/slipstream/tests/hostile/`,
//! `src/slipstream/tests/interrupt/`.

use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, anyhow, bail, ensure};
use contract::names::Digest;
use rustix::fs::{self, AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::gvariant;
use crate::mark::Mark;
use crate::mode::c_name;
use crate::store::{ObjectName, Store, ignore, is_whole, published_name, staged_name, through_proc};
use crate::{FileHeader, ObjectType};

/// Files up to this size are written with one system call, and hashed before they are.
const SMALL: usize = 128 << 10;

/// Of what everybody may read: metadata objects and refs.
const METADATA_MODE: Mode = Mode::from_raw_mode(0o644);

impl Store {
    /// Take `size` bytes out of what may be written.
    pub fn take_room(&self, size: u64) -> Result<()> {
        let taken = self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(size));
        taken.map(drop).map_err(|left| {
            anyhow!("not enough space: a file of {size} bytes, and {left} may still be written to the file system")
        })
    }

    /// Bytes that may still be written.
    pub fn room_left(&self) -> u64 {
        self.room.load(Ordering::Relaxed)
    }

    /// Stage a metadata object. With `expected`, bytes with another checksum are an error.
    pub fn write_metadata(&self, kind: ObjectType, expected: Option<&Digest>, bytes: &[u8]) -> Result<Digest> {
        let checksum = Digest::of(bytes);
        ensure_equal(expected, &checksum)?;
        if !self.has(kind, &checksum)? {
            self.create_metadata(&staged_name(kind, &checksum), bytes)?;
        }
        Ok(checksum)
    }

    /// Stage the detached metadata of a commit.
    pub fn write_detached(&self, commit: &Digest, bytes: &[u8]) -> Result<()> {
        self.create_metadata(&staged_name(ObjectType::CommitMeta, commit), bytes)
    }

    fn create_metadata(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.create(name, METADATA_MODE, |file| {
            file.write_all(bytes)?;
            fs::fchmod(&*file, METADATA_MODE).map_err(Into::into)
        })
        .with_context(|| format!("writing object {name}"))
    }

    /// Stage a regular file of `size` bytes from `content`. With `expected`, another checksum is an error.
    pub fn write_file(
        &self,
        expected: Option<&Digest>,
        header: &FileHeader,
        size: u64,
        content: &mut dyn BufRead,
    ) -> Result<Digest> {
        let mut hash = Sha256::new();
        hash.update(gvariant::file_header(header));
        let Some(size) = usize::try_from(size).ok().filter(|size| *size <= SMALL) else {
            return self.write_large(expected, header, size, content, hash);
        };
        let available = content.fill_buf().context("reading a file of the layer")?;
        if let Some(bytes) = available.get(..size) {
            let checksum = self.write_small(expected, header, bytes, hash)?;
            content.consume(size);
            return Ok(checksum);
        }
        let mut bytes = vec![0; size];
        content.read_exact(&mut bytes).context("reading a file of the layer")?;
        self.write_small(expected, header, &bytes, hash)
    }

    fn write_small(
        &self,
        expected: Option<&Digest>,
        header: &FileHeader,
        bytes: &[u8],
        mut hash: Sha256,
    ) -> Result<Digest> {
        hash.update(bytes);
        let checksum = Digest::from_bytes(hash.finalize().into());
        ensure_equal(expected, &checksum)?;
        // A caller that expects an object has looked for it.
        if expected.is_none() && self.has(ObjectType::File, &checksum)? {
            return Ok(checksum);
        }
        self.take_room(bytes.len() as u64)?;
        self.create(&staged_name(ObjectType::File, &checksum), self.mode.permissions(header), |file| {
            file.write_all(bytes)?;
            self.mode.apply(file, header)
        })
        .with_context(|| format!("writing object {}", checksum.hex()))?;
        Ok(checksum)
    }

    /// A large file is written while it is hashed: its name is known at the end.
    fn write_large(
        &self,
        expected: Option<&Digest>,
        header: &FileHeader,
        size: u64,
        content: &mut dyn BufRead,
        mut hash: Sha256,
    ) -> Result<Digest> {
        self.take_room(size)?;
        let temporary = self.temporary_name();
        let mut checksum = None;
        let written = self.create(&temporary, self.mode.permissions(header), |file| {
            let mut left = size;
            while left > 0 {
                let available = content.fill_buf().context("reading a file of the layer")?;
                ensure!(!available.is_empty(), "the content of a file ends {left} bytes early");
                let block = &available[..available.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
                hash.update(block);
                file.write_all(block)?;
                let n = block.len();
                content.consume(n);
                left -= n as u64;
            }
            let got = Digest::from_bytes(hash.finalize_reset().into());
            ensure_equal(expected, &got)?;
            checksum = Some(got);
            self.mode.apply(file, header)
        });
        if let Err(error) = written {
            ignore(fs::unlinkat(&self.stage, &temporary, AtFlags::empty()), Errno::NOENT)?;
            return Err(error).context("writing a file object");
        }
        let checksum = checksum.context("a file without a checksum")?;
        fs::renameat(&self.stage, &temporary, &self.stage, staged_name(ObjectType::File, &checksum))
            .with_context(|| format!("renaming object {}", checksum.hex()))?;
        Ok(checksum)
    }

    /// Stage a symbolic link. With `expected`, another checksum is an error.
    pub fn write_symlink(&self, expected: Option<&Digest>, header: &FileHeader) -> Result<Digest> {
        let target = header.target.as_deref().context("symbolic link without a target")?;
        let checksum = Digest::of(&gvariant::file_header(header));
        ensure_equal(expected, &checksum)?;
        if expected.is_none() && self.has(ObjectType::File, &checksum)? {
            return Ok(checksum);
        }
        let name = staged_name(ObjectType::File, &checksum);
        let writing = || format!("writing symlink object {}", checksum.hex());
        if self.mode.symlinks_are_files() {
            self.create(&name, self.mode.permissions(header), |file| {
                file.write_all(target)?;
                self.mode.apply(file, header)
            })
            .with_context(writing)?;
            return Ok(checksum);
        }
        // A symbolic link has its owner and xattrs only after it is there: it gets its name when it is whole.
        let temporary = self.temporary_name();
        fs::symlinkat(target, &self.stage, &temporary).with_context(writing)?;
        let (uid, gid) = (fs::Uid::from_raw(header.uid), fs::Gid::from_raw(header.gid));
        fs::chownat(&self.stage, &temporary, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).with_context(writing)?;
        let path = through_proc(&self.stage, &temporary);
        for (name, value) in gvariant::parse_xattrs(&header.xattrs.0)? {
            fs::lsetxattr(&path, c_name(&name)?, &value, fs::XattrFlags::empty()).with_context(writing)?;
        }
        fs::renameat(&self.stage, &temporary, &self.stage, &name).with_context(writing)?;
        Ok(checksum)
    }

    /// Create a file in the staging directory; its modification time says that it is whole.
    ///
    /// Another thread may be writing a file of this name. What it has not finished is replaced: it may still fail, and
    /// the layer that this is for may be published before.
    fn create(&self, name: &str, mode: Mode, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
        match self.open_new(name, mode) {
            Ok(file) => finish(file, write),
            Err(Errno::EXIST) if self.is_staged(name)? => Ok(()),
            Err(Errno::EXIST) => {
                let temporary = self.temporary_name();
                finish(self.open_new(&temporary, mode)?, write)?;
                fs::renameat(&self.stage, &temporary, &self.stage, name).map_err(Into::into)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn open_new(&self, name: &str, mode: Mode) -> rustix::io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        fs::openat(&self.stage, name, flags, mode).map(File::from)
    }

    fn temporary_name(&self) -> String {
        format!("new-{}", self.counter.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether a staged file is there and whole.
    pub fn is_staged(&self, name: &str) -> rustix::io::Result<bool> {
        match fs::statat(&self.stage, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(is_whole(&stat)),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Everything that was written to the file system of the repository is on disk when this returns.
    pub fn sync(&self) -> Result<()> {
        fs::syncfs(&self.objects).context("syncing the repository")
    }

    /// Move staged objects to where they belong. They must have been synced.
    pub fn publish(&self, names: impl Iterator<Item = ObjectName>) -> Result<()> {
        for (kind, checksum) in names {
            let (from, to) = (staged_name(kind, &checksum), published_name(kind, &checksum));
            let publishing = || format!("publishing object {}", checksum.hex());
            let mut moved = fs::renameat(&self.stage, &from, &self.objects, &to);
            if moved == Err(Errno::NOENT) {
                let directory = fs::mkdirat(&self.objects, &to[..2], Mode::from_raw_mode(0o755));
                ignore(directory, Errno::EXIST).with_context(publishing)?;
                moved = fs::renameat(&self.stage, &from, &self.objects, &to);
            }
            if moved == Err(Errno::NOENT) {
                // Another layer has it too, and was published before.
                moved = fs::statat(&self.objects, &to, AtFlags::SYMLINK_NOFOLLOW).map(drop);
            }
            moved.with_context(publishing)?;
        }
        Ok(())
    }

    /// Stage a ref on a commit, with a mark. Returns the name to publish it by, after a sync.
    ///
    /// libostree would make its temporary file among the refs, where one that is left behind is a ref too.
    pub fn stage_ref(&self, commit: &Digest, mark: Mark) -> Result<String> {
        let name = self.temporary_name();
        let mut file = self.open_new(&name, METADATA_MODE).context("creating a ref")?;
        writeln!(file, "{}", commit.hex()).context("writing a ref")?;
        fs::fchmod(&file, METADATA_MODE).context("writing a ref")?;
        mark.put(&file)?;
        Ok(name)
    }

    /// Give a staged ref its name.
    pub fn publish_ref(&self, staged: &str, name: &str) -> Result<()> {
        let setting = || format!("setting ref {name}");
        for (end, _) in name.match_indices('/') {
            let made = fs::mkdirat(&self.refs, &name[..end], Mode::from_raw_mode(0o755));
            ignore(made, Errno::EXIST).with_context(setting)?;
        }
        fs::renameat(&self.stage, staged, &self.refs, name).with_context(setting)
    }

    /// Whether there is a ref of this name.
    pub fn has_ref(&self, name: &str) -> Result<bool> {
        match fs::statat(&self.refs, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("looking for ref {name}")),
        }
    }

    /// Remove the staging directory and what is left in it.
    pub fn remove_stage(&self) -> Result<()> {
        let path = through_proc(&self.temporary, &self.stage_name);
        let path = Path::new(path.to_str().context("staging directory has an odd name")?);
        std::fs::remove_dir_all(path).context("removing the staging directory")
    }

    /// Keep `size` bytes for later, without an open file. Returns the name to ask for them by.
    pub fn spool(&self, size: u64, content: &mut impl Read) -> Result<String> {
        self.take_room(size)?;
        let name = self.temporary_name();
        let mut file = self.open_new(&name, Mode::RUSR | Mode::WUSR).context("creating a temporary file")?;
        std::io::copy(content, &mut file).context("writing a temporary file")?;
        Ok(name)
    }

    /// What [`Self::spool`] keeps.
    pub fn open_spool(&self, name: &str) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        fs::openat(&self.stage, name, flags, Mode::empty()).map(File::from).context("opening a temporary file")
    }
}

/// Write a file, and say that it is whole.
fn finish(mut file: File, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    write(&mut file)?;
    let epoch = Timespec { tv_sec: 0, tv_nsec: 0 };
    let keep = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    fs::futimens(&file, &Timestamps { last_access: keep, last_modification: epoch }).map_err(Into::into)
}

fn ensure_equal(expected: Option<&Digest>, got: &Digest) -> Result<()> {
    match expected {
        Some(expected) if expected != got => {
            bail!("object mismatch: expected {}, got {}", expected.hex(), got.hex())
        }
        _ => Ok(()),
    }
}
