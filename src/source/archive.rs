// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An OCI image layout in an uncompressed tar, read in place: no copy, no unpacking.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use contract::names::Digest;
use image::oci::AttachedSignature;
use image::stream::{Kind, Skip, TarReader};
use rustix::fs::{Mode, OFlags, open};

use crate::blobs::Source;
use crate::layout::{MARKER, check_marker};
use crate::signatures::{INDEX, read_index, read_listed};

/// Most blobs in an archive: the layers of several images.
const MAX_BLOBS: usize = 16 << 10;

/// Where blobs are in the archive.
#[derive(Debug)]
pub(super) struct Archive {
    file: Arc<File>,
    blobs: HashMap<Digest, (u64, u64)>,
    index: Option<(u64, u64)>,
}

impl Archive {
    /// Read the headers of the archive once.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // Not blocking: a fifo would wait for a writer for ever.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(
            open(path, flags, Mode::empty()).with_context(|| format!("opening OCI archive {}", path.display()))?,
        );
        ensure!(file.metadata()?.is_file(), "OCI archive {} is not a regular file", path.display());
        let mut archive = Self { file: Arc::new(file), blobs: HashMap::new(), index: None };
        archive.scan().with_context(|| format!("reading OCI archive {}", path.display()))?;
        Ok(archive)
    }

    fn scan(&mut self) -> Result<()> {
        let mut tar = TarReader::new(self.part(0, u64::MAX));
        let mut marked = false;
        while let Some(entry) = tar.next_entry()? {
            if entry.kind != Kind::File {
                continue;
            }
            let Ok(path) = std::str::from_utf8(&entry.path) else { continue };
            let path = path.trim_start_matches("./");
            let (start, size) = (tar.position(), entry.size);
            if path == MARKER {
                check_marker(self.part(start, size))?;
                marked = true;
            } else if path == INDEX {
                self.index = Some((start, size));
            } else if let Some(digest) = path.strip_prefix("blobs/sha256/") {
                let Ok(digest) = Digest::from_hex(digest) else { continue };
                ensure!(self.blobs.len() < MAX_BLOBS, "more than {MAX_BLOBS} blobs");
                self.blobs.insert(digest, (start, size));
            }
        }
        if !marked {
            bail!("no {MARKER} in it: this is no OCI archive");
        }
        Ok(())
    }

    fn part(&self, start: u64, size: u64) -> Part {
        Part { file: Arc::clone(&self.file), position: start, end: start.saturating_add(size) }
    }
}

impl Source for Archive {
    fn open_blob(&self, digest: Digest, _: Option<u64>) -> Result<Box<dyn Read + Send>> {
        let found = self.blobs.get(&digest);
        let (start, size) = *found.with_context(|| format!("blob {digest} is not in the OCI archive"))?;
        Ok(Box::new(self.part(start, size)))
    }

    fn signatures(&self, digest: Digest) -> Result<Vec<AttachedSignature>> {
        let Some((start, size)) = self.index else { return Ok(Vec::new()) };
        read_listed(self, &read_index(self.part(start, size))?, digest)
    }
}

/// A part of a file, read by position: many can be open at once.
#[derive(Debug)]
struct Part {
    file: Arc<File>,
    position: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let want = buffer.len().min(left);
        let n = self.file.read_at(&mut buffer[..want], self.position)?;
        self.position += n as u64;
        Ok(n)
    }
}

impl Skip for Part {
    /// Skipping is free here. A skip past the end shows at the next read.
    fn skip(&mut self, n: u64) -> io::Result<()> {
        self.position = self.position.saturating_add(n).min(self.end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn entry(name: &str, content: &[u8]) -> Vec<u8> {
        let mut block = vec![0; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[156] = b'0';
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block.extend_from_slice(content);
        block.resize(block.len().next_multiple_of(512), 0);
        block
    }

    #[test]
    fn finds_blobs() {
        let (one, two) = (vec![b'1'; 1000], vec![b'2'; 10]);
        let name = |blob: &[u8]| format!("blobs/sha256/{}", Digest::of(blob).hex());
        let marker = entry("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        let tar = [entry(&name(&one), &one), marker, entry(&name(&two), &two), vec![0; 1024]].concat();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image.tar");
        fs::write(&path, &tar).unwrap();
        let archive = Archive::open(&path).unwrap();
        for blob in [&one, &two] {
            let mut content = Vec::new();
            archive.open_blob(Digest::of(blob), None).unwrap().read_to_end(&mut content).unwrap();
            assert_eq!(&content, blob);
        }
        assert!(archive.open_blob(Digest::of(b"3"), None).is_err());
        for (label, bytes, expected) in [
            ("no marker", [entry(&name(&one), &one), vec![0; 1024]].concat(), "this is no OCI archive"),
            ("cut", tar[..700].to_vec(), "this is no OCI archive"),
            ("not a tar", vec![b'x'; 2000], "is not an octal number"),
        ] {
            fs::write(&path, &bytes).unwrap();
            let error = format!("{:#}", Archive::open(&path).unwrap_err());
            assert!(error.contains(expected), "{label}: {error}");
        }
    }
}
