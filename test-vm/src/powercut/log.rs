// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The log of a disk's writes, as QEMU's blklogwrites and the kernel's dm-log-writes make it
//! (<https://docs.kernel.org/admin-guide/device-mapper/log-writes.html>): a super block, then for each request a block
//! with four little-endian numbers (sector, sectors, flags, bytes of extra data) and the data that was written.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
/// Sectors that are plausible: QEMU takes these.
const SECTOR_SIZES: std::ops::RangeInclusive<u32> = 512..=1 << 16;

/// Where disk.sh makes the partition that slipstream's marks go to, and what they start with (`src/failpoint.rs`).
const MARK_OFFSET: u64 = 2 << 20;
const MARK_TEXT: &[u8] = b"slipstream-step ";

/// One request of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Bytes on the disk, and where the log has them.
    Write {
        /// Where on the disk.
        offset: u64,
        /// How many bytes.
        len: u64,
        /// Where in the log.
        data: u64,
        /// On the medium when it is done, whatever else is.
        fua: bool,
    },
    /// All writes before it are on the medium when it is done.
    Flush,
}

/// A log that has been read, but for the data in it.
pub struct Log {
    file: File,
    /// The requests in the order in which they were made.
    pub entries: Vec<Entry>,
}

impl Log {
    /// Read the log at `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let entries = parse(&file).with_context(|| format!("reading the log of writes {}", path.display()))?;
        Ok(Self { file, entries })
    }

    /// Do a write again, on `disk`; only its first `bytes` if that is given. A flush does nothing.
    pub fn apply(&self, entry: &Entry, disk: &File, bytes: Option<u64>) -> Result<()> {
        let Entry::Write { offset, len, data, .. } = *entry else { return Ok(()) };
        let len = bytes.map_or(len, |bytes| len.min(bytes));
        let mut bytes = vec![0; usize::try_from(len).context("writing too much at once")?];
        self.file.read_exact_at(&mut bytes, data).context("reading data of the log")?;
        disk.write_all_at(&bytes, offset).context("writing to the disk")
    }

    /// Steps that slipstream has marked: the entry of the mark, and the step's name.
    pub fn marks(&self) -> Result<Vec<(usize, String)>> {
        let mut marks = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            let Entry::Write { offset: MARK_OFFSET, len: 512, data, .. } = *entry else { continue };
            let mut bytes = [0; 512];
            self.file.read_exact_at(&mut bytes, data).context("reading data of the log")?;
            if let Some(name) = bytes.strip_prefix(MARK_TEXT) {
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                marks.push((at, String::from_utf8_lossy(name).into_owned()));
            }
        }
        Ok(marks)
    }

    /// Have it that nothing was ever flushed.
    pub fn forget_flushes(&mut self) {
        self.entries.retain(|entry| *entry != Entry::Flush);
    }

    /// How many bytes were written.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| if let Entry::Write { len, .. } = entry { *len } else { 0 }).sum()
    }

    /// How many flushes there are.
    pub fn flushes(&self) -> usize {
        self.entries.iter().filter(|entry| **entry == Entry::Flush).count()
    }
}

fn u64_at(block: &[u8], at: usize) -> Result<u64> {
    let bytes = block.get(at..at + 8).context("block is too short")?;
    Ok(u64::from_le_bytes(bytes.try_into().context("block is too short")?))
}

fn parse(file: &File) -> Result<Vec<Entry>> {
    let mut block = [0; 32];
    file.read_exact_at(&mut block, 0).context("reading the super block")?;
    let (magic, version, count) = (u64_at(&block, 0)?, u64_at(&block, 8)?, u64_at(&block, 16)?);
    ensure!(magic == MAGIC && version == VERSION, "not a log of writes: magic {magic:#x}, version {version}");
    let sector = (u64_at(&block, 24)? & 0xffff_ffff) as u32;
    ensure!(SECTOR_SIZES.contains(&sector) && sector.is_power_of_two(), "sectors of {sector} bytes");
    let sector = u64::from(sector);
    let (mut entries, mut at) = (Vec::new(), sector);
    for number in 0..count {
        file.read_exact_at(&mut block, at).with_context(|| format!("reading entry {number} of {count}"))?;
        let (start, sectors, flags, extra) =
            (u64_at(&block, 0)?, u64_at(&block, 8)?, u64_at(&block, 16)?, u64_at(&block, 24)?);
        ensure!(flags & !(FLUSH | FUA | DISCARD | MARK) == 0, "entry {number} has unknown flags {flags:#x}");
        at += sector;
        if flags & MARK != 0 {
            at += extra.div_ceil(sector) * sector;
            continue;
        }
        // Before the data of the same request, as REQ_PREFLUSH has it.
        if flags & FLUSH != 0 {
            entries.push(Entry::Flush);
        }
        // What is discarded may read as anything; to leave it as it was is one of the possibilities.
        if flags & DISCARD != 0 || sectors == 0 {
            continue;
        }
        let len = sectors * sector;
        entries.push(Entry::Write { offset: start * sector, len, data: at, fua: flags & FUA != 0 });
        at += len;
    }
    if entries.is_empty() {
        bail!("nothing was written");
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// A log with these requests: sector, data in bytes, flags.
    fn log(requests: &[(u64, &[u8], u64)]) -> File {
        let mut bytes = vec![0; 512];
        bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..16].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&(requests.len() as u64).to_le_bytes());
        bytes[24..28].copy_from_slice(&512u32.to_le_bytes());
        for (sector, data, flags) in requests {
            let mut block =
                [sector.to_le_bytes(), (data.len() as u64 / 512).to_le_bytes(), flags.to_le_bytes()].concat();
            block.resize(512, 0);
            bytes.extend(block);
            if flags & DISCARD == 0 {
                bytes.extend(*data);
            }
        }
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&bytes).expect("the log");
        file
    }

    #[test]
    fn requests_are_read_and_done_again() {
        let (a, b) = ([1; 1024], [2; 512]);
        let file = log(&[(4, &a, 0), (0, &[], FLUSH), (9, &a, DISCARD), (6, &b, FUA)]);
        let entries = parse(&file).expect("a good log");
        assert_eq!(entries[0], Entry::Write { offset: 2048, len: 1024, data: 1024, fua: false });
        assert_eq!(entries[1], Entry::Flush);
        assert!(matches!(entries[2], Entry::Write { offset: 3072, len: 512, fua: true, .. }), "{:?}", entries[2]);
        assert_eq!(entries.len(), 3);

        let log = Log { file, entries };
        assert_eq!((log.bytes(), log.flushes()), (1536, 1));
        let mut disk = tempfile::tempfile().expect("a disk");
        disk.set_len(8192).expect("its size");
        log.apply(&log.entries[0], &disk, Some(512)).expect("half of a write");
        log.apply(&log.entries[2], &disk, None).expect("a write");
        let mut bytes = Vec::new();
        disk.read_to_end(&mut bytes).expect("the disk");
        assert_eq!((bytes[2048], bytes[2559], bytes[2560], bytes[3072], bytes[3583]), (1, 1, 0, 2, 2));
    }

    #[test]
    fn marks_have_names() {
        let mut mark = [0; 512];
        mark[..20].copy_from_slice(b"slipstream-step swap");
        let file = log(&[(4096, &[1; 512], 0), (0, &[], FLUSH), (4096, &mark, 0), (4097, &mark, 0)]);
        let entries = parse(&file).expect("a good log");
        assert_eq!(Log { file, entries }.marks().expect("marks"), [(2, "swap".to_owned())]);
    }

    #[test]
    fn what_is_no_log_is_refused() {
        for (label, change, expected) in [
            ("magic", (0, 0), "not a log of writes"),
            ("version", (8, 9), "not a log of writes"),
            ("more entries than there are", (16, 9), "reading entry 1 of 9"),
            ("sector size", (24, 7), "sectors of 519"),
            ("flags", (512 + 16, 0xf0), "unknown flags"),
        ] {
            let file = log(&[(0, &[0; 512], 0)]);
            file.write_all_at(&[change.1], change.0).expect("the damage");
            let error = parse(&file).expect_err(label);
            assert!(format!("{error:#}").contains(expected), "{label}: {error:#}");
        }
    }
}
