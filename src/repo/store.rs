// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The repository's objects, read and written without libostree.
//!
//! libostree writes an object with more system calls than it needs, and syncs 256 directories for each transaction.
//! This is the hot path of an import, so it is done here, with the same result: a file with owner, mode, xattrs and
//! a modification time of 0, under its checksum (`ostree-repo-commit.c`).
//!
//! New objects go to a staging directory below the repository's `tmp`. [`Store::publish`] moves them to `objects`
//! after everything in them has been synced: a power cut leaves whole objects or none. The directory is named after
//! this boot of the machine. When the process dies but the machine does not, what is staged is whole, since a file gets
//! its modification time last, and the next run goes on with it. After a power cut nothing in it can be trusted, and
//! all of it goes.
//!
//! Tested by `src/slipstream/tests/differential/`, `src/slipstream/tests/hostile/`,
//! `src/slipstream/tests/interrupt/`.

mod stage;
mod writeback;

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::AtomicU64;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{self, AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::file_type::{S_IFLNK, S_IFMT};
use crate::gvariant;
use crate::mode::RepoMode;
pub use writeback::Writeback;

use contract::names::Digest;

use crate::{FileHeader, ObjectType, Xattrs};

/// Largest metadata object that is read back, in bytes (libostree's `OSTREE_MAX_METADATA_SIZE`).
const MAX_METADATA: u64 = 128 << 20;
/// Start of the name of the staging directory; libostree removes what is old in `tmp`.
pub const STAGE_PREFIX: &str = "slipstream-";
/// Start of the names of files that have not got their own yet.
const TEMPORARY_PREFIX: &[u8] = b"new-";
/// Changes with each boot of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// An object's name in a repository: type and checksum.
pub type ObjectName = (ObjectType, Digest);

/// Where an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// In the repository.
    Published,
    /// In the staging directory.
    Staged,
    /// Nowhere.
    Missing,
}

/// The objects of a repository, and those on their way there. Threads share it.
#[derive(Debug)]
pub struct Store {
    objects: OwnedFd,
    temporary: OwnedFd,
    stage: OwnedFd,
    refs: OwnedFd,
    stage_name: String,
    mode: RepoMode,
    /// Bytes that may still be written.
    room: AtomicU64,
    counter: AtomicU64,
}

impl Store {
    /// Open the repository at `path`, and its staging directory. At most `room` bytes of files will be written. Nobody
    /// else imports: there is a [`Session`](super::session::Session).
    pub fn open(path: &Path, mode: RepoMode, room: u64) -> Result<Self> {
        let open = |name: &str| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            fs::open(path.join(name), flags, Mode::empty()).with_context(|| format!("opening {name} of the repository"))
        };
        let (objects, temporary) = (open("objects")?, open("tmp")?);
        let boot_id = std::fs::read_to_string(BOOT_ID).with_context(|| format!("reading {BOOT_ID}"))?;
        let stage_name = format!("{STAGE_PREFIX}{}", boot_id.trim());
        remove_stages(&path.join("tmp"), Some(&stage_name))?;
        let stage = open_stage(&temporary, &stage_name).context("opening the staging directory")?;
        let store = Self {
            objects,
            temporary,
            stage,
            refs: open("refs/heads")?,
            stage_name,
            mode,
            room: AtomicU64::new(room),
            counter: AtomicU64::new(0),
        };
        store.remove_unfinished().context("cleaning the staging directory")?;
        Ok(store)
    }

    /// Open the repository at `path` for reading only: what is staged there is not seen.
    pub fn open_to_read(path: &Path, mode: RepoMode) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = || fs::open(path.join("objects"), flags, Mode::empty()).context("opening objects of the repository");
        let (stage_name, room, counter) = (String::new(), AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self {
            objects: open()?,
            temporary: open()?,
            stage: open()?,
            refs: open()?,
            stage_name,
            mode,
            room,
            counter,
        })
    }

    /// Do something with the name that an object has; with no name it is `NOENT`.
    ///
    /// A staged object may be published meanwhile by another thread, and never the other way round: looked for in this
    /// order, it is always found.
    fn with<T>(
        &self,
        kind: ObjectType,
        checksum: &Digest,
        mut act: impl FnMut(&OwnedFd, &str, Presence) -> rustix::io::Result<T>,
    ) -> rustix::io::Result<T> {
        match act(&self.stage, &staged_name(kind, checksum), Presence::Staged) {
            Err(Errno::NOENT) => act(&self.objects, &published_name(kind, checksum), Presence::Published),
            other => other,
        }
    }

    /// Where an object is.
    pub fn presence(&self, kind: ObjectType, checksum: &Digest) -> Result<Presence> {
        let found = self.with(kind, checksum, |directory, name, place| {
            let stat = fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            ensure_whole(place, &stat).map(|()| place)
        });
        match found {
            Err(Errno::NOENT) => Ok(Presence::Missing),
            other => other.with_context(|| format!("looking for object {}", checksum.hex())),
        }
    }

    /// Whether an object is there, published or staged.
    pub fn has(&self, kind: ObjectType, checksum: &Digest) -> Result<bool> {
        Ok(self.presence(kind, checksum)? != Presence::Missing)
    }

    fn open_object(&self, kind: ObjectType, checksum: &Digest) -> Result<File> {
        let opened =
            self.with(kind, checksum, |directory, name, place| open_whole(directory, name, place).map(|(f, _)| f));
        match opened {
            Err(Errno::NOENT) => bail!("object {} is missing", checksum.hex()),
            other => other.with_context(|| format!("opening object {}", checksum.hex())),
        }
    }

    /// The bytes of a metadata object.
    pub fn load_metadata(&self, kind: ObjectType, checksum: &Digest) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.open_object(kind, checksum)?.take(MAX_METADATA + 1).read_to_end(&mut bytes);
        read.with_context(|| format!("reading object {}", checksum.hex()))?;
        ensure!(bytes.len() as u64 <= MAX_METADATA, "object {} is too large", checksum.hex());
        Ok(bytes)
    }

    /// The content of a file.
    pub fn open_file(&self, checksum: &Digest) -> Result<File> {
        self.open_object(ObjectType::File, checksum)
    }

    /// What a file is, and its size in bytes.
    pub fn load_header(&self, checksum: &Digest) -> Result<(FileHeader, u64)> {
        let loading = || format!("reading file object {}", checksum.hex());
        let (stat, xattrs, target) = match self.with(ObjectType::File, checksum, read_inode) {
            Err(Errno::NOENT) => bail!("object {} is missing", checksum.hex()),
            other => other.with_context(loading)?,
        };
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let xattrs = Xattrs(gvariant::xattrs(&xattrs));
        let on_disk = FileHeader { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode, xattrs, target };
        self.mode
            .header_from_disk(on_disk, || {
                let mut target = Vec::new();
                self.open_file(checksum)?.read_to_end(&mut target).with_context(loading)?;
                Ok(target)
            })
            .map(|header| (header, size))
    }

    fn remove_unfinished(&self) -> Result<()> {
        let directory = fs::Dir::read_from(&self.stage)?;
        for entry in directory {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = fs::statat(&self.stage, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if name.to_bytes().starts_with(TEMPORARY_PREFIX) || !is_whole(&stat) {
                fs::unlinkat(&self.stage, name, AtFlags::empty())?;
            }
        }
        Ok(())
    }
}

/// Remove the staging directories of imports that are over, except `keep`. The caller has the lock of imports: none of
/// them is in use.
pub fn remove_stages(temporary: &Path, keep: Option<&str>) -> Result<()> {
    let reading = || format!("reading {}", temporary.display());
    for entry in std::fs::read_dir(temporary).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // We make directories; what else has such a name is not ours.
        let directory = entry.file_type().with_context(reading)?.is_dir();
        if name.starts_with(STAGE_PREFIX) && directory && keep != Some(&*name) {
            std::fs::remove_dir_all(entry.path()).with_context(|| format!("removing {}", entry.path().display()))?;
            log::debug!("removed {name}, which an earlier run has left");
        }
    }
    Ok(())
}

fn open_stage(temporary: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    ignore(fs::mkdirat(temporary, name, Mode::RWXU), Errno::EXIST)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    fs::openat(temporary, name, flags, Mode::empty())
}

/// Whether a staged file was written to its end. A symbolic link gets its name when it is whole.
fn is_whole(stat: &Stat) -> bool {
    stat.st_mtime == 0 || stat.st_mode & S_IFMT == S_IFLNK
}

fn extension(kind: ObjectType) -> &'static str {
    match kind {
        ObjectType::DirTree => "dirtree",
        ObjectType::DirMeta => "dirmeta",
        ObjectType::Commit => "commit",
        ObjectType::CommitMeta => "commitmeta",
        ObjectType::File => "file",
    }
}

fn staged_name(kind: ObjectType, checksum: &Digest) -> String {
    format!("{}.{}", checksum.hex(), extension(kind))
}

fn published_name(kind: ObjectType, checksum: &Digest) -> String {
    let hex = checksum.hex();
    format!("{}/{}.{}", &hex[..2], &hex[2..], extension(kind))
}

/// A path to a name in an open directory, for calls that take no directory.
fn through_proc(directory: &impl AsFd, name: &str) -> CString {
    CString::new(format!("/proc/self/fd/{}/{name}", directory.as_fd().as_raw_fd())).unwrap_or_default()
}

/// What is staged counts when it was written to its end.
fn ensure_whole(place: Presence, stat: &Stat) -> rustix::io::Result<()> {
    if place == Presence::Published || is_whole(stat) { Ok(()) } else { Err(Errno::NOENT) }
}

/// Open an object that is a regular file.
fn open_whole(directory: &OwnedFd, name: &str, place: Presence) -> rustix::io::Result<(File, Stat)> {
    let file = fs::openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    let stat = fs::fstat(&file)?;
    ensure_whole(place, &stat)?;
    Ok((File::from(file), stat))
}

/// Names and values of extended attributes.
type XattrList = Vec<(Vec<u8>, Vec<u8>)>;

/// What the disk says of an object besides its content; of a symbolic link also its target.
fn read_inode(
    directory: &OwnedFd,
    name: &str,
    place: Presence,
) -> rustix::io::Result<(Stat, XattrList, Option<Vec<u8>>)> {
    match open_whole(directory, name, place) {
        Ok((file, stat)) => {
            let list =
                read_xattrs(|buffer| fs::flistxattr(&file, buffer), |name, value| fs::fgetxattr(&file, name, value))?;
            Ok((stat, list, None))
        }
        // A symbolic link cannot be opened for its attributes.
        Err(Errno::LOOP) => {
            let stat = fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let target = fs::readlinkat(directory, name, Vec::new())?;
            let path = through_proc(directory, name);
            let list =
                read_xattrs(|buffer| fs::llistxattr(&path, buffer), |name, value| fs::lgetxattr(&path, name, value))?;
            Ok((stat, list, Some(target.into_bytes())))
        }
        Err(error) => Err(error),
    }
}

fn read_xattrs(
    list_names: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&CStr, &mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<XattrList> {
    let mut names = vec![0; 1024];
    let n = loop {
        match list_names(&mut names) {
            Ok(n) => break n,
            Err(Errno::RANGE) if names.len() < 1 << 20 => names.resize(names.len() * 4, 0),
            Err(Errno::OPNOTSUPP) => break 0,
            Err(error) => return Err(error),
        }
    };
    let mut list = Vec::new();
    for name in names[..n].split_inclusive(|byte| *byte == 0) {
        let name = CStr::from_bytes_with_nul(name).map_err(|_| Errno::ILSEQ)?;
        let mut value = vec![0; 256];
        let n = loop {
            match get(name, &mut value) {
                Ok(n) => break n,
                Err(Errno::RANGE) if value.len() < 1 << 20 => value.resize(value.len() * 16, 0),
                Err(error) => return Err(error),
            }
        };
        value.truncate(n);
        list.push((name.to_bytes().to_vec(), value));
    }
    Ok(list)
}

/// The result of a call for which one error is as good as success.
fn ignore(result: rustix::io::Result<()>, expected: Errno) -> rustix::io::Result<()> {
    match result {
        Err(error) if error == expected => Ok(()),
        other => other,
    }
}
