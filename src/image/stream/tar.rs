// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A tar reader for untrusted input: ustar, GNU and PAX, every length bounded.
//!
//! Why our own: the well-kept crate `tar` reads long names and PAX records into memory as large as the input says,
//! and gives no way to bound them. How fields are read follows it otherwise, since upstream's importer uses it.

use std::io::{self, BufRead, ErrorKind, Read};

use anyhow::{Context, Result, bail, ensure};

use crate::stream::pax;
use crate::stream::pax::Extensions;
use crate::stream::sparse::{Piece, Sparse};

const BLOCK: usize = 512;
/// What holes are made of.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// Longest path or link target, in bytes. Linux's PATH_MAX is 4096; nothing longer could be created anyway.
const MAX_NAME: u64 = 64 << 10;
/// Largest set of PAX records of one entry, in bytes. The kernel allows 64 KiB for the value of an xattr and 64 KiB
/// for their names; upstream stops at 1 MiB.
const MAX_PAX: u64 = 2 << 20;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file with its bytes behind the header.
    File,
    /// A second name for an entry before it.
    Hardlink,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Directory,
    /// A device, a fifo, or something that we do not know; its type flag.
    Other(u8),
}

/// The header of an entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The path, as the archive has it.
    pub path: Vec<u8>,
    /// The target of a link.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits (07777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification, seconds. It is only of use to know whether it is 0, as ostree writes it.
    pub mtime: u64,
    /// Bytes of content that follow.
    pub size: u64,
    /// Extended attributes (`SCHILY.xattr.*`), name and value, as the archive has them.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A reader that may know a faster way to skip than reading.
pub trait Skip: Read + Sized {
    /// Skip `n` bytes; fewer is an unexpected end.
    fn skip(&mut self, n: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.by_ref().take(n), &mut io::sink())?;
        if skipped == n { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }
}

impl Skip for &[u8] {}

/// Reads entries one after another. Between two calls of [`TarReader::next_entry`], reading from it gives the content of the
/// current entry.
#[derive(Debug)]
pub struct TarReader<R> {
    inner: R,
    /// Content of the current entry that was not read yet.
    left: u64,
    /// Padding behind it.
    padding: u64,
    /// Where that content belongs, if the file has holes.
    sparse: Option<Sparse>,
    /// Offset of what comes next, for messages and for [`TarReader::position`].
    offset: u64,
    done: bool,
}

impl<R: Skip> TarReader<R> {
    /// Read the archive in `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, left: 0, padding: 0, sparse: None, offset: 0, done: false }
    }

    /// Offset of the next byte in the archive: right after `next_entry`, where the content of the entry starts.
    pub fn position(&self) -> u64 {
        self.offset
    }

    /// What is below.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The next entry; the rest of the current one is skipped. `None` at the end of the archive.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let offset = self.offset;
        self.advance().with_context(|| format!("reading tar header after offset {offset}"))
    }

    fn advance(&mut self) -> Result<Option<Entry>> {
        let rest = std::mem::take(&mut self.left) + std::mem::take(&mut self.padding);
        self.sparse = None;
        self.inner.skip(rest)?;
        self.offset += rest;
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.header()? else {
                ensure!(extensions.is_empty(), "archive ends after an extension header");
                return Ok(None);
            };
            let size = match pax::number(&header[124..136]).context("reading size")? {
                size if extensions.size.is_none() || is_extension(header[156]) => size,
                _ => extensions.size.unwrap_or_default(),
            };
            ensure!(i64::try_from(size).is_ok(), "size {size} is too large");
            match header[156] {
                b'L' => extensions.path = Some(trim_nul(self.value(size, MAX_NAME, "long name")?)),
                b'K' => extensions.link = Some(trim_nul(self.value(size, MAX_NAME, "long link")?)),
                b'x' => {
                    let records = self.value(size, MAX_PAX, "PAX records")?;
                    extensions.read(&records).context("reading PAX records")?;
                }
                // Global records: git writes a comment this way. Nothing in them concerns content.
                b'g' => drop(self.value(size, MAX_PAX, "global PAX records")?),
                flag => return self.entry(&header, flag, size, extensions).map(Some),
            }
        }
    }

    /// The next header block; `None` at the end: two zero blocks, or the end of the input between entries.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>> {
        if self.done {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        if !self.block(&mut block)? {
            self.done = true;
            return Ok(None);
        }
        if block.iter().all(|byte| *byte == 0) {
            self.done = true;
            return Ok(None);
        }
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(n, byte)| u64::from(if (148..156).contains(&n) { b' ' } else { *byte }))
            .sum();
        let stored = pax::number(&block[148..156]).context("reading checksum")?;
        ensure!(sum == stored, "header checksum mismatch: expected {stored}, got {sum}");
        Ok(Some(block))
    }

    /// Read one block; false at a clean end of the input.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => bail!("archive ends inside a header"),
                Ok(n) => filled += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.offset += BLOCK as u64;
        Ok(true)
    }

    /// The content of an extension header.
    fn value(&mut self, size: u64, limit: u64, what: &str) -> Result<Vec<u8>> {
        ensure!(size <= limit, "{what} of {size} bytes is over the limit of {limit}");
        let mut value = vec![0; size as usize];
        self.inner.read_exact(&mut value).with_context(|| format!("reading {what}"))?;
        let padding = padding(size);
        self.inner.skip(padding)?;
        self.offset += size + padding;
        Ok(value)
    }

    fn entry(&mut self, header: &[u8; BLOCK], flag: u8, size: u64, extensions: Extensions) -> Result<Entry> {
        let keys = extensions.sparse;
        // A file with holes has a name that no other program would take for its own.
        let path = keys.name.clone().or(extensions.path).unwrap_or_else(|| header_path(header));
        let kind = match flag {
            b'0' | 0 | b'7' => Kind::File,
            b'1' => Kind::Hardlink,
            b'2' => Kind::Symlink,
            b'5' => Kind::Directory,
            other => Kind::Other(other),
        };
        let size = if has_data(flag) { size } else { 0 };
        let is_sparse = kind == Kind::File && keys.is_1_0();
        let supported = flag != b'S' && (is_sparse || keys.is_empty());
        ensure!(supported, "{}: sparse files are not supported, except in PAX 1.0", path.escape_ascii());
        let entry = Entry {
            kind,
            link: extensions.link.unwrap_or_else(|| until_nul(&header[157..257]).to_vec()),
            mode: (pax::number(&header[100..108]).context("reading mode")? & 0o7777) as u32,
            uid: id(extensions.uid, field(header, 108), "uid")?,
            gid: id(extensions.gid, field(header, 116), "gid")?,
            mtime: pax::time(&field(header, 136)),
            size: if kind == Kind::File { size } else { 0 },
            xattrs: extensions.xattrs,
            path,
        };
        self.left = size;
        self.padding = padding(size);
        if !is_sparse {
            return Ok(entry);
        }
        let whole = keys.size.context("a sparse file without a size")?;
        ensure!(i64::try_from(whole).is_ok(), "size {whole} is too large");
        let (sparse, map) = Sparse::read(&mut self.inner, size, whole).context("reading the map of a sparse file")?;
        self.left -= map;
        self.offset += map;
        self.sparse = Some(sparse);
        Ok(Entry { size: whole, ..entry })
    }
}

impl<R> TarReader<R> {
    /// What comes next of the current entry's content.
    fn piece(&self) -> Option<Piece> {
        match &self.sparse {
            Some(sparse) => sparse.next(),
            None => Some(self.left).filter(|left| *left > 0).map(Piece::Data),
        }
    }

    /// So many bytes of a piece were read.
    fn advance_in(&mut self, piece: Piece, n: usize) {
        if let Some(sparse) = &mut self.sparse {
            sparse.advance(n as u64);
        }
        if matches!(piece, Piece::Data(_)) {
            self.left -= n as u64;
            self.offset += n as u64;
        }
    }
}

impl<R: Skip> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.piece() else { return Ok(0) };
        let (Piece::Hole(length) | Piece::Data(length)) = piece;
        let want = buffer.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        let n = match piece {
            Piece::Hole(_) => {
                buffer[..want].fill(0);
                want
            }
            Piece::Data(_) if want == 0 => 0,
            Piece::Data(_) => match self.inner.read(&mut buffer[..want])? {
                0 => return Err(io::Error::new(ErrorKind::UnexpectedEof, "archive ends inside a file")),
                n => n,
            },
        };
        self.advance_in(piece, n);
        Ok(n)
    }
}

impl<R: Skip + BufRead> BufRead for TarReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let available = match self.piece() {
            None => return Ok(&[]),
            Some(Piece::Hole(length)) => return Ok(&ZEROS[..shorter(&ZEROS, length)]),
            Some(Piece::Data(length)) => {
                let available = self.inner.fill_buf()?;
                &available[..shorter(available, length)]
            }
        };
        if available.is_empty() {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "archive ends inside a file"));
        }
        Ok(available)
    }

    fn consume(&mut self, n: usize) {
        // Nothing was shown of another piece.
        let Some(piece) = self.piece() else { return };
        if matches!(piece, Piece::Data(_)) {
            self.inner.consume(n);
        }
        self.advance_in(piece, n);
    }
}

/// The length of a buffer, or less.
fn shorter(buffer: &[u8], length: u64) -> usize {
    buffer.len().min(usize::try_from(length).unwrap_or(usize::MAX))
}

/// A field of a header.
fn field<const N: usize>(header: &[u8; BLOCK], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&header[at..at + N]);
    field
}

/// An owner or group: that of the PAX records, or the header's. A negative number is the one that has the same bits.
fn id(pax: Option<i64>, field: [u8; 8], what: &str) -> Result<u32> {
    let value = match pax {
        Some(value) => value,
        None => pax::signed_number(field).with_context(|| format!("reading {what}"))?,
    };
    let id = u32::try_from(value).ok().or_else(|| Some(i32::try_from(value).ok()?.cast_unsigned()));
    // The largest one means "no change" to chown(2).
    id.filter(|id| *id != u32::MAX).with_context(|| format!("{what} {value} is out of range"))
}

/// Whether bytes of content can follow a header, which then has their number. After links, devices, directories and fifos
/// none do, whatever the size says: POSIX has it so, and Go and libarchive read it so.
fn has_data(flag: u8) -> bool {
    !matches!(flag, b'1'..=b'6')
}

fn is_extension(flag: u8) -> bool {
    matches!(flag, b'L' | b'K' | b'x' | b'g')
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn trim_nul(mut name: Vec<u8>) -> Vec<u8> {
    while name.last() == Some(&0) {
        name.pop();
    }
    name
}

/// `prefix/name` for POSIX headers, `name` for GNU and old ones, which use the prefix's bytes for other things.
fn header_path(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&header[..100]);
    let prefix = until_nul(&header[345..500]);
    if &header[257..263] != b"ustar\0" || prefix.is_empty() {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

#[cfg(test)]
mod tests;
