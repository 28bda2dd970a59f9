// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writes one layer: a tar with exactly the bytes a case is about.
//!
//! Names and link targets go into the header as they stand, since a case may ask just that: what an importer does with
//! `./`, `//` and `..`.

use std::fmt;
use std::io::{self, Read, Write};

use tar::{Builder, EntryType, Header};

/// A time that ostree-ext takes for "changed since the base", as any above zero.
const CHANGED: u64 = 1_700_000_001;
/// A name longer than this does not fit the header's own field.
const NAME_MAX: usize = 100;

/// How names over 100 bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongNames {
    /// An entry of GNU's kind before the entry.
    Gnu,
    /// A PAX record.
    Pax,
}

/// The attributes of the next entry; they go back to the default after it.
#[derive(Clone, Debug)]
struct Attributes {
    mode: Option<u32>,
    uid: u64,
    gid: u64,
    mtime: u64,
    pax: Vec<(String, Vec<u8>)>,
    fields: Vec<(usize, Vec<u8>)>,
}

impl Default for Attributes {
    fn default() -> Self {
        Self { mode: None, uid: 0, gid: 0, mtime: CHANGED, pax: Vec::new(), fields: Vec::new() }
    }
}

/// A layer under construction. After an error nothing more is written; [`Layer::close`] returns it.
pub struct Layer<W: Write = Vec<u8>> {
    tar: Builder<W>,
    next: Attributes,
    long: LongNames,
    error: Option<io::Error>,
}

impl<W: Write> fmt::Debug for Layer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").field("next", &self.next).field("error", &self.error).finish_non_exhaustive()
    }
}

impl Default for Layer {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer {
    /// Begins a layer in memory.
    pub fn new() -> Self {
        Self::over(Vec::new())
    }

    /// Ends the layer and returns the tar.
    pub fn finish(self) -> Vec<u8> {
        self.close().expect("a Vec takes every write")
    }
}

impl<W: Write> Layer<W> {
    /// Begins a layer that goes to `writer`.
    pub fn over(writer: W) -> Self {
        Self { tar: Builder::new(writer), next: Attributes::default(), long: LongNames::Gnu, error: None }
    }

    /// Chooses how long names are written from now on.
    pub fn long_names(&mut self, long: LongNames) -> &mut Self {
        self.long = long;
        self
    }

    /// Gives the next entry a mode.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.next.mode = Some(mode);
        self
    }

    /// Gives the next entry an owner.
    pub fn owner(&mut self, uid: u64, gid: u64) -> &mut Self {
        (self.next.uid, self.next.gid) = (uid, gid);
        self
    }

    /// Gives the next entry a time.
    pub fn mtime(&mut self, mtime: u64) -> &mut Self {
        self.next.mtime = mtime;
        self
    }

    /// Gives the next entry a PAX record.
    pub fn pax(&mut self, key: &str, value: &[u8]) -> &mut Self {
        self.next.pax.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Writes these bytes into the header of the next entry, at this offset, whatever they mean there.
    pub fn field(&mut self, offset: usize, bytes: &[u8]) -> &mut Self {
        self.next.fields.push((offset, bytes.to_owned()));
        self
    }

    /// Gives the next entry an extended attribute.
    pub fn xattr(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }

    /// Adds a directory.
    pub fn dir(&mut self, path: &str) -> &mut Self {
        self.entry(EntryType::Directory, path.as_bytes(), b"", b"")
    }

    /// Adds a regular file with some text.
    pub fn file(&mut self, path: &str, data: &str) -> &mut Self {
        self.entry(EntryType::Regular, path.as_bytes(), b"", data.as_bytes())
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.entry(EntryType::Symlink, path.as_bytes(), target.as_bytes(), b"")
    }

    /// Adds a hard link.
    pub fn hardlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.entry(EntryType::Link, path.as_bytes(), target.as_bytes(), b"")
    }

    /// Adds an entry of any kind, with any bytes as its name.
    pub fn entry(&mut self, kind: EntryType, path: &[u8], link: &[u8], data: &[u8]) -> &mut Self {
        self.read_entry(kind, path, link, data.len() as u64, data)
    }

    /// Adds a regular file of so many bytes, however large: its content is read while it is written.
    pub fn read_file(&mut self, path: &str, size: u64, content: impl Read) -> &mut Self {
        self.read_entry(EntryType::Regular, path.as_bytes(), b"", size, content.take(size))
    }

    fn read_entry(&mut self, kind: EntryType, path: &[u8], link: &[u8], size: u64, data: impl Read) -> &mut Self {
        let attributes = std::mem::take(&mut self.next);
        if self.error.is_none() {
            self.error = self.append(attributes, kind, (path, link), (size, data)).err();
        }
        self
    }

    fn append(
        &mut self,
        attributes: Attributes,
        kind: EntryType,
        (path, link): (&[u8], &[u8]),
        (size, data): (u64, impl Read),
    ) -> io::Result<()> {
        let mut pax = attributes.pax;
        for (key, name, gnu) in [("path", path, b'L'), ("linkpath", link, b'K')] {
            if name.len() > NAME_MAX && self.long == LongNames::Pax {
                pax.push((key.to_owned(), name.to_owned()));
            } else if name.len() > NAME_MAX {
                self.gnu_long(gnu, name)?;
            }
        }
        if !pax.is_empty() {
            let records = pax.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
            self.tar.append_pax_extensions(records)?;
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(attributes.mode.unwrap_or(default_mode(kind)));
        header.set_uid(attributes.uid);
        header.set_gid(attributes.gid);
        header.set_mtime(attributes.mtime);
        header.set_size(size);
        if matches!(kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(0)?;
            header.set_device_minor(0)?;
        }
        put(&mut header.as_old_mut().name, path);
        put(&mut header.as_old_mut().linkname, link);
        for (offset, bytes) in &attributes.fields {
            put(&mut header.as_mut_bytes()[*offset..], bytes);
        }
        header.set_cksum();
        self.tar.append(&header, data)
    }

    /// Writes GNU's own form of a long name: an entry before the entry.
    fn gnu_long(&mut self, kind: u8, name: &[u8]) -> io::Result<()> {
        let mut data = name.to_vec();
        data.push(0);
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::new(kind));
        header.set_mode(0o644);
        header.set_size(data.len() as u64);
        put(&mut header.as_old_mut().name, b"././@LongLink");
        header.set_cksum();
        self.tar.append(&header, data.as_slice())
    }

    /// Ends the layer and returns what it was written to.
    pub fn close(self) -> io::Result<W> {
        match self.error {
            Some(error) => Err(error),
            None => self.tar.into_inner(),
        }
    }
}

/// Returns the mode that a container build writes.
fn default_mode(kind: EntryType) -> u32 {
    match kind {
        EntryType::Directory => 0o755,
        EntryType::Symlink => 0o777,
        _ => 0o644,
    }
}

/// Copies as much of a name as the field holds.
fn put(field: &mut [u8], name: &[u8]) {
    let len = name.len().min(field.len());
    field[..len].copy_from_slice(&name[..len]);
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::{Layer, LongNames};

    #[test]
    fn a_file_that_is_read_is_one_that_is_there() {
        let (mut there, mut read) = (Layer::new(), Layer::new());
        for long in [LongNames::Gnu, LongNames::Pax] {
            let path = format!("usr/{}", "n".repeat(150));
            there.long_names(long).mode(0o600).owner(1, 2).xattr("user.a", b"b").file(&path, "abc").file("x", "y");
            read.long_names(long).mode(0o600).owner(1, 2).xattr("user.a", b"b").read_file(&path, 3, &b"abcdef"[..]);
            read.file("x", "y");
        }
        assert_eq!(there.finish(), read.finish());
    }

    #[test]
    fn attributes_are_those_of_one_entry() {
        let mut layer = Layer::new();
        layer.mode(0o600).mtime(7).file("a", "").file("b", "");
        let tar = layer.finish();
        let mut archive = tar::Archive::new(&*tar);
        let found = archive.entries().expect("a tar").map(|entry| {
            let header = entry.expect("an entry").header().clone();
            (header.mode().expect("a mode"), header.mtime().expect("a time"))
        });
        assert_eq!(found.collect::<Vec<_>>(), [(0o600, 7), (0o644, super::CHANGED)]);
    }

    /// A disk that is full.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_first_error_is_returned_at_the_end() {
        let mut layer = Layer::over(Full);
        layer.file("a", "a").file("b", "b");
        assert_eq!(layer.close().err().map(|error| error.kind()), Some(io::ErrorKind::StorageFull));
    }
}
