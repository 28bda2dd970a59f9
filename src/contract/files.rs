// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files that configure us, by absolute path: those of a root directory, or those that the Ignition config is about to
//! write into it. Who asks does not know which, and nothing below here follows a link out of the root.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Largest file, in bytes: the CA bundle of a distribution has half a MiB, and a Kubernetes object at most 1 MiB.
pub const MAX_FILE: u64 = 4 << 20;
/// Most entries of a directory. Drop-in directories have a few, directories of CAs some hundred.
pub const MAX_ENTRIES: usize = 4096;
/// A link to it stands for an empty file, and masks one of the same name elsewhere.
const NULL: &str = "/dev/null";
/// A rename or mount somewhere else makes a lookup ambiguous for the kernel (EAGAIN, openat2(2)): look this often.
const LOOKUPS: usize = 8;

/// Where files are read from.
pub trait Files: Send + Sync {
    /// The bytes of the file at an absolute path. `None` when it does not exist; any other trouble is an error.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>>;
    /// The names in the directory at an absolute path, sorted by bytes. `None` when there is no such directory.
    fn list(&self, dir: &str) -> Result<Option<Vec<String>>>;
}

/// Files below a directory, as if it was `/`: symbolic links, absolute ones too, are resolved inside it.
#[derive(Clone, Debug)]
pub struct RootFiles {
    root: PathBuf,
}

impl RootFiles {
    /// Files below `root`, which is looked at only when one is asked for.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn open(&self, path: &str, flags: OFlags) -> Result<Option<File>> {
        ensure!(path.starts_with('/'), "path {path:?} is not absolute");
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = match rustix::fs::openat(CWD, &self.root, directory, Mode::empty()) {
            Ok(root) => root,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("opening {}", self.root.display())),
        };
        let flags = flags | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..LOOKUPS {
            match rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve) {
                Ok(file) => return Ok(Some(file.into())),
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error).with_context(|| format!("opening {path}")),
            }
        }
        bail!("opening {path}: the file system around it keeps changing")
    }

    /// Returns where the symbolic link at an absolute path leads; `None` if there is none. Links above it are followed.
    pub fn link(&self, path: &str) -> Result<Option<String>> {
        let Some(file) = self.open(path, OFlags::PATH | OFlags::NOFOLLOW)? else { return Ok(None) };
        let reading = || format!("reading link {path}");
        let stat = rustix::fs::fstat(&file).with_context(reading)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Ok(None);
        }
        let target = rustix::fs::readlinkat(&file, "", Vec::new()).with_context(reading)?;
        Ok(Some(target.into_string().with_context(reading)?))
    }
}

impl Files for RootFiles {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        // A root that nobody has booted has no devices.
        if path == NULL || self.link(path)?.as_deref() == Some(NULL) {
            return Ok(Some(Vec::new()));
        }
        // NONBLOCK: opening a FIFO that somebody left there must not stop the boot.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let Some(file) = self.open(path, flags)? else { return Ok(None) };
        let stat = rustix::fs::fstat(&file).with_context(|| format!("reading {path}"))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        ensure!(kind == FileType::RegularFile, "{path} is not a regular file but a {kind:?}");
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).with_context(|| format!("reading {path}"))?;
        ensure!(bytes.len() as u64 <= MAX_FILE, "{path} is larger than {MAX_FILE} bytes");
        Ok(Some(bytes))
    }

    fn list(&self, dir: &str) -> Result<Option<Vec<String>>> {
        let Some(file) = self.open(dir, OFlags::RDONLY | OFlags::DIRECTORY)? else { return Ok(None) };
        let mut names = Vec::new();
        for entry in Dir::read_from(&file).with_context(|| format!("listing {dir}"))? {
            let entry = entry.with_context(|| format!("listing {dir}"))?;
            // No configuration file has a name that is not UTF-8.
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
            ensure!(names.len() <= MAX_ENTRIES, "{dir} has more than {MAX_ENTRIES} entries");
        }
        names.sort_unstable();
        Ok(Some(names))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_of_a_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("etc/conf.d")).unwrap();
        std::fs::write(dir.path().join("secret"), "outside").unwrap();
        std::fs::write(root.join("etc/plain"), "plain").unwrap();
        std::fs::write(root.join("etc/conf.d/b"), "").unwrap();
        std::fs::write(root.join("etc/conf.d/a"), "").unwrap();
        symlink("/etc/plain", root.join("etc/absolute")).unwrap();
        symlink("../../secret", root.join("etc/escape")).unwrap();
        symlink("loop", root.join("etc/loop")).unwrap();
        symlink("/dev/null", root.join("etc/masked")).unwrap();
        rustix::fs::mknodat(CWD, root.join("etc/fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        std::fs::File::create(root.join("etc/huge")).unwrap().set_len(MAX_FILE + 1).unwrap();
        let files = RootFiles::new(&root);
        for (label, path, expected) in [
            ("plain", "/etc/plain", Ok(Some("plain"))),
            ("absolute link stays inside", "/etc/absolute", Ok(Some("plain"))),
            ("dots stay inside", "/../../etc/plain", Ok(Some("plain"))),
            ("link to the outside", "/etc/escape", Ok(None)),
            ("absent", "/etc/absent", Ok(None)),
            ("below a file", "/etc/plain/x", Ok(None)),
            ("relative", "etc/plain", Err("is not absolute")),
            ("directory", "/etc/conf.d", Err("is not a regular file but a Directory")),
            ("mask, without a device", "/etc/masked", Ok(Some(""))),
            ("null", "/dev/null", Ok(Some(""))),
            ("FIFO", "/etc/fifo", Err("is not a regular file but a Fifo")),
            ("loop", "/etc/loop", Err("opening /etc/loop")),
            ("huge", "/etc/huge", Err("is larger than 4194304 bytes")),
        ] {
            match (files.read(path), expected) {
                (Ok(got), Ok(text)) => assert_eq!(got.as_deref(), text.map(str::as_bytes), "{label}"),
                (Err(error), Err(text)) => assert!(format!("{error:#}").contains(text), "{label}: {error:#}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
        assert_eq!(files.list("/etc/conf.d").unwrap().unwrap(), ["a", "b"]);
        for absent in ["/etc/absent", "/etc/plain", "/etc/plain/x"] {
            assert_eq!(files.list(absent).unwrap(), None, "{absent}");
        }
        for (path, target) in [
            ("/etc/absolute", Some("/etc/plain")),
            ("/etc/escape", Some("../../secret")),
            ("/etc/loop", Some("loop")),
            ("/etc/plain", None),
            ("/etc/conf.d", None),
            ("/etc/absent", None),
        ] {
            assert_eq!(files.link(path).unwrap().as_deref(), target, "{path}");
        }
        assert!(RootFiles::new(&root.join("gone")).read("/etc/plain").unwrap().is_none());
    }
}
