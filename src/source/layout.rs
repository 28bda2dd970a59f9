// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An OCI image layout in a directory.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use contract::names::Digest;
use image::oci::AttachedSignature;
use rustix::fs::{FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use serde_json::Value;

use crate::blobs::Source;
use crate::signatures::{INDEX, read_index, read_listed};

/// The marker file of a layout, and the only version there is.
pub(super) const MARKER: &str = "oci-layout";
pub(super) const VERSION: &str = "1.0.0";
const BLOBS: &str = "blobs/sha256";

/// A layout in a directory. `index.json` is read for signatures only: a digest that is asked for names its own blob.
#[derive(Debug)]
pub(super) struct Layout {
    directory: OwnedFd,
    blobs: OwnedFd,
}

impl Layout {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
        let directory = rustix::fs::open(path, flags, Mode::empty())
            .with_context(|| format!("opening OCI layout {}", path.display()))?;
        let marker = open_regular(&directory, MARKER)
            .with_context(|| format!("opening {MARKER}: {} is no OCI layout", path.display()))?;
        check_marker(marker)?;
        let blobs = openat(&directory, BLOBS, flags, Mode::empty()).with_context(|| format!("opening {BLOBS}"))?;
        Ok(Self { directory, blobs })
    }
}

impl Source for Layout {
    fn open_blob(&self, digest: Digest, _: Option<u64>) -> Result<Box<dyn Read + Send>> {
        let blob = open_regular(&self.blobs, &digest.hex());
        Ok(Box::new(blob.with_context(|| format!("opening blob {digest} in the OCI layout"))?))
    }

    fn signatures(&self, digest: Digest) -> Result<Vec<AttachedSignature>> {
        let index = match open_regular(&self.directory, INDEX) {
            Err(error) if error.downcast_ref() == Some(&Errno::NOENT) => return Ok(Vec::new()),
            index => index.context("opening index.json in the OCI layout")?,
        };
        read_listed(self, &read_index(index)?, digest)
    }
}

/// Open a regular file; what else may be there must neither block nor lead elsewhere.
fn open_regular(directory: &OwnedFd, name: &str) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = openat(directory, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    ensure!(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile, "not a regular file");
    Ok(File::from(file))
}

/// Check the content of the marker file.
pub(super) fn check_marker(marker: impl Read) -> Result<()> {
    let mut bytes = Vec::new();
    marker.take(4096).read_to_end(&mut bytes).with_context(|| format!("reading {MARKER}"))?;
    let value: Value = serde_json::from_slice(&bytes).with_context(|| format!("parsing {MARKER}"))?;
    let version = value.get("imageLayoutVersion").and_then(Value::as_str).unwrap_or_default();
    ensure!(version == VERSION, "OCI layout has version {version:?}, not {VERSION}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn opens_blobs_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let error = Layout::open(path).unwrap_err();
        assert!(error.to_string().contains("is no OCI layout"), "{error}");
        fs::write(path.join(MARKER), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        fs::create_dir_all(path.join(BLOBS)).unwrap();
        let digest = Digest::of(b"x");
        fs::write(path.join(BLOBS).join(digest.hex()), "x").unwrap();
        let layout = Layout::open(path).unwrap();
        let mut text = String::new();
        layout.open_blob(digest, None).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
        let link = Digest::of(b"y");
        std::os::unix::fs::symlink("/etc/passwd", path.join(BLOBS).join(link.hex())).unwrap();
        assert!(layout.open_blob(link, None).is_err(), "a symbolic link");
        let fifo = Digest::of(b"z");
        fs::create_dir(path.join(BLOBS).join(fifo.hex())).unwrap();
        assert!(layout.open_blob(fifo, None).is_err(), "a directory");
        assert!(layout.open_blob(Digest::of(b"missing"), None).is_err(), "missing");
    }

    #[test]
    fn marker_version() {
        check_marker(&br#"{"imageLayoutVersion":"1.0.0"}"#[..]).unwrap();
        assert!(check_marker(&br#"{"imageLayoutVersion":"2.0.0"}"#[..]).is_err());
        assert!(check_marker(&b"1.0.0"[..]).is_err());
    }
}
