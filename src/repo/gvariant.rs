// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The few GVariant types of ostree's metadata objects, written and read by hand.
//!
//! Serialization: <https://people.gnome.org/~desrt/gvariant-serialisation.pdf>. Types: libostree's `ostree-core.h`.
//! Numbers in metadata objects are big-endian, whatever the machine is.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, Result, ensure};
use contract::names::Digest;

use crate::file_type::S_IFDIR;
use crate::{FileHeader, ObjectType};

/// Bytes of a container with the offsets of its variable-sized members.
#[derive(Default)]
struct Container {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Container {
    fn align(&mut self, alignment: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment), 0);
    }

    fn fixed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn member(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
    }

    /// An array: every element has an offset.
    fn array(self) -> Vec<u8> {
        let ends = self.ends.clone();
        self.framed(&ends)
    }

    /// A tuple whose last member is of variable size: that one has no offset, the others' are in reverse order.
    fn tuple(self) -> Vec<u8> {
        let ends: Vec<usize> = self.ends.iter().rev().skip(1).copied().collect();
        self.framed(&ends)
    }

    fn framed(self, ends: &[usize]) -> Vec<u8> {
        let mut bytes = self.bytes;
        let width = offset_width_for(bytes.len(), ends.len());
        for end in ends {
            bytes.extend_from_slice(&(*end as u64).to_le_bytes()[..width]);
        }
        bytes
    }
}

/// Width of offsets in a container of `total` bytes, offsets included.
fn offset_width(total: usize) -> usize {
    match total {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    }
}

fn offset_width_for(body: usize, count: usize) -> usize {
    [1, 2, 4, 8].into_iter().find(|width| offset_width(body + count * width) <= *width).unwrap_or(8)
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// Extended attributes, `a(ayay)`, as libostree reads them back from disk: sorted by name, each name once (the last
/// value counts), none that is empty. Otherwise an object would not have the checksum that is its name.
pub fn xattrs(list: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let sorted: BTreeMap<_, _> = list.iter().map(|(name, value)| (name, value)).collect();
    serialize_xattrs(sorted.into_iter().filter(|(_, value)| !value.is_empty()))
}

/// Check extended attributes that somebody else serialized: in normal form, each name once.
pub fn check_xattrs(bytes: &[u8]) -> Result<()> {
    let list = parse_xattrs(bytes)?;
    let mut seen = HashSet::with_capacity(list.len());
    for (name, value) in &list {
        ensure!(!name.is_empty() && !name.contains(&0), "bad name of an extended attribute");
        // libostree does not read one back, and the object would have another checksum.
        ensure!(!value.is_empty(), "extended attribute {} has no value", name.escape_ascii());
        ensure!(seen.insert(name), "extended attribute {} is given twice", name.escape_ascii());
    }
    let again = serialize_xattrs(list.iter().map(|(name, value)| (name, value)));
    ensure!(again == bytes, "extended attributes are not in normal form");
    Ok(())
}

/// Check a metadata object that somebody else serialized, as libostree does before it writes one.
pub fn check_metadata(kind: ObjectType, bytes: &[u8]) -> Result<()> {
    match kind {
        ObjectType::DirTree => {
            let tree = parse_dirtree(bytes)?;
            let files = tree.files.iter().map(|(name, checksum)| (name.as_str(), *checksum));
            let dirs = tree.dirs.iter().map(|(name, tree, meta)| (name.as_str(), *tree, *meta));
            ensure!(dirtree(files, dirs) == bytes, "dirtree is not in normal form");
        }
        ObjectType::DirMeta => {
            let (.., mode, attributes) = parse_dirmeta(bytes)?;
            ensure!(mode & !0o7777 == S_IFDIR, "dirmeta has mode {mode:o}");
            check_xattrs(attributes)?;
        }
        ObjectType::Commit => drop(parse_commit(bytes)?),
        ObjectType::CommitMeta | ObjectType::File => {}
    }
    Ok(())
}

fn serialize_xattrs<'a>(list: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>) -> Vec<u8> {
    let mut array = Container::default();
    for (name, value) in list {
        let mut pair = Container::default();
        pair.member(&[name.as_slice(), &[0]].concat());
        pair.member(value);
        array.member(&pair.tuple());
    }
    array.array()
}

/// The directory's owner, mode (with `S_IFDIR`) and extended attributes: `(uuua(ayay))`.
pub fn dirmeta(uid: u32, gid: u32, mode: u32, xattrs: &[u8]) -> Vec<u8> {
    [&uid.to_be_bytes()[..], &gid.to_be_bytes(), &mode.to_be_bytes(), xattrs].concat()
}

/// What the checksum of a content object is over, before the content: `(uuuusa(ayay))` with its size before it.
pub fn file_header(header: &FileHeader) -> Vec<u8> {
    let mut tuple = Container::default();
    for number in [header.uid, header.gid, header.mode, 0] {
        tuple.fixed(&number.to_be_bytes());
    }
    let target = header.target.as_deref().unwrap_or_default();
    tuple.member(&[target, &[0]].concat());
    tuple.member(&header.xattrs.0);
    let variant = tuple.tuple();
    // The size in network order, and padding to the alignment of a variant.
    [&u32::try_from(variant.len()).unwrap_or(u32::MAX).to_be_bytes()[..], &[0; 4], &variant].concat()
}

/// Names of files and directories, each list in byte order: `(a(say)a(sayay))`.
pub fn dirtree<'a>(
    files: impl Iterator<Item = (&'a str, Digest)>,
    dirs: impl Iterator<Item = (&'a str, Digest, Digest)>,
) -> Vec<u8> {
    // One buffer: a directory may have more names than should be in memory several times.
    let mut bytes = Vec::new();
    append_array(&mut bytes, files.map(|(name, checksum)| (name, [Some(checksum), None])));
    let middle = bytes.len();
    append_array(&mut bytes, dirs.map(|(name, tree, meta)| (name, [Some(tree), Some(meta)])));
    Container { bytes, ends: Vec::new() }.framed(&[middle])
}

/// Append an array of tuples of a name and one or two checksums.
fn append_array<'a>(bytes: &mut Vec<u8>, elements: impl Iterator<Item = (&'a str, [Option<Digest>; 2])>) {
    let start = bytes.len();
    let mut ends = Vec::new();
    for (name, checksums) in elements {
        let mut tuple = Container::default();
        tuple.member(&text(name));
        for checksum in checksums.iter().flatten() {
            tuple.member(checksum.as_bytes());
        }
        bytes.extend_from_slice(&tuple.tuple());
        ends.push(bytes.len() - start);
    }
    let width = offset_width_for(bytes.len() - start, ends.len());
    for end in ends {
        bytes.extend_from_slice(&(end as u64).to_le_bytes()[..width]);
    }
}

/// A commit with empty subject and body: `(a{sv}aya(say)sstayay)`. `metadata` has string values, sorted by key.
pub fn commit(
    metadata: &[(&str, &str)],
    parent: Option<&Digest>,
    timestamp: u64,
    tree: &Digest,
    meta: &Digest,
) -> Vec<u8> {
    let mut dict = Container::default();
    for (key, value) in metadata {
        let mut entry = Container::default();
        entry.member(&text(key));
        entry.align(8);
        entry.member(&[value.as_bytes(), b"\0\0s"].concat());
        dict.align(8);
        dict.member(&entry.tuple());
    }
    let mut tuple = Container::default();
    tuple.member(&dict.array());
    tuple.member(parent.map_or(&[][..], |parent| parent.as_bytes()));
    tuple.member(&[]);
    tuple.member(&text(""));
    tuple.member(&text(""));
    tuple.align(8);
    tuple.fixed(&timestamp.to_be_bytes());
    tuple.member(tree.as_bytes());
    tuple.member(meta.as_bytes());
    tuple.tuple()
}

/// Read the offset number `n` from the end of `bytes`.
fn offset_from_end(bytes: &[u8], n: usize) -> Result<usize> {
    let width = offset_width(bytes.len());
    let start = bytes.len().checked_sub(width * (n + 1)).context("metadata object is cut")?;
    let mut value = [0; 8];
    value[..width].copy_from_slice(&bytes[start..start + width]);
    usize::try_from(u64::from_le_bytes(value)).context("metadata object has a bad offset")
}

fn slice(bytes: &[u8], start: usize, end: usize) -> Result<&[u8]> {
    bytes.get(start..end).context("metadata object has a bad offset")
}

/// The elements of an array of variable-sized elements with this alignment.
fn elements(bytes: &[u8], alignment: usize) -> Result<Vec<&[u8]>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let width = offset_width(bytes.len());
    let table = offset_from_end(bytes, 0)?;
    let size = bytes.len().checked_sub(table).context("metadata object has a bad offset")?;
    ensure!(size % width == 0, "metadata object has a bad offset");
    let count = size / width;
    let mut start: usize = 0;
    (0..count)
        .map(|n| {
            let end = offset_from_end(bytes, count - 1 - n)?;
            ensure!(end <= table, "metadata object has a bad offset");
            let element = slice(bytes, start.next_multiple_of(alignment), end);
            start = end;
            element
        })
        .collect()
}

fn read_text(bytes: &[u8]) -> Result<&str> {
    let bytes = bytes.strip_suffix(&[0]).context("metadata object has a string without an end")?;
    ensure!(!bytes.contains(&0), "metadata object has a string with a NUL byte in it");
    std::str::from_utf8(bytes).context("metadata object has a string that is not UTF-8")
}

fn read_checksum(bytes: &[u8]) -> Result<Digest> {
    let bytes: [u8; 32] = bytes.try_into().context("metadata object has a bad checksum")?;
    Ok(Digest::from_bytes(bytes))
}

/// What [`dirtree`] wrote.
#[derive(Debug, Default)]
pub struct DirTree {
    /// Name and content object of each file, in order.
    pub files: Vec<(String, Digest)>,
    /// Name, dirtree and dirmeta of each directory, in order.
    pub dirs: Vec<(String, Digest, Digest)>,
}

/// Read a dirtree. Names that could lead elsewhere are an error.
pub fn parse_dirtree(bytes: &[u8]) -> Result<DirTree> {
    let width = offset_width(bytes.len());
    let middle = offset_from_end(bytes, 0)?;
    let end = bytes.len() - width;
    let mut tree = DirTree::default();
    for element in elements(slice(bytes, 0, middle)?, 1)? {
        let name_end = offset_from_end(element, 0)?;
        let body = element.len() - offset_width(element.len());
        let name = checked_name(read_text(slice(element, 0, name_end)?)?)?;
        tree.files.push((name, read_checksum(slice(element, name_end, body)?)?));
    }
    for element in elements(slice(bytes, middle, end)?, 1)? {
        let (name_end, tree_end) = (offset_from_end(element, 0)?, offset_from_end(element, 1)?);
        let body = element.len() - 2 * offset_width(element.len());
        let name = checked_name(read_text(slice(element, 0, name_end)?)?)?;
        let checksum = read_checksum(slice(element, name_end, tree_end)?)?;
        tree.dirs.push((name, checksum, read_checksum(slice(element, tree_end, body)?)?));
    }
    let names = tree.files.iter().map(|(name, _)| name).chain(tree.dirs.iter().map(|(name, ..)| name));
    let mut seen = HashSet::with_capacity(tree.files.len() + tree.dirs.len());
    for name in names {
        ensure!(seen.insert(name), "directory has two entries named {name:?}");
    }
    Ok(tree)
}

fn checked_name(name: &str) -> Result<String> {
    let plain = !name.is_empty() && !name.contains('/') && !matches!(name, "." | "..");
    ensure!(plain, "directory has an entry named {name:?}");
    Ok(name.to_owned())
}

/// Owner, group, mode and serialized xattrs of a dirmeta.
pub fn parse_dirmeta(bytes: &[u8]) -> Result<(u32, u32, u32, &[u8])> {
    let number = |at: usize| -> Result<u32> {
        let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        Ok(u32::from_be_bytes(bytes.context("dirmeta is cut")?))
    };
    Ok((number(0)?, number(4)?, number(8)?, &bytes[12..]))
}

/// Name and value of each extended attribute.
pub fn parse_xattrs(bytes: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    elements(bytes, 1)?
        .into_iter()
        .map(|element| {
            let name_end = offset_from_end(element, 0)?;
            let body = element.len() - offset_width(element.len());
            let name = slice(element, 0, name_end)?.strip_suffix(&[0]).context("xattr name without an end")?;
            Ok((name.to_vec(), slice(element, name_end, body)?.to_vec()))
        })
        .collect()
}

/// What we need of a commit.
#[derive(Debug)]
pub struct Commit {
    /// The metadata entries that are strings.
    pub metadata: Vec<(String, String)>,
    /// The root directory's names.
    pub tree: Digest,
    /// The root directory's owner and mode.
    pub meta: Digest,
}

/// Read a commit.
pub fn parse_commit(bytes: &[u8]) -> Result<Commit> {
    let dict_end = offset_from_end(bytes, 0)?;
    let body_text_end = offset_from_end(bytes, 4)?;
    let tree_end = offset_from_end(bytes, 5)?;
    let end = bytes.len() - 6 * offset_width(bytes.len());
    let tree_start = body_text_end.next_multiple_of(8) + 8;
    let mut metadata = Vec::new();
    for entry in elements(slice(bytes, 0, dict_end)?, 8)? {
        let key_end = offset_from_end(entry, 0)?;
        let body = entry.len() - offset_width(entry.len());
        let key = read_text(slice(entry, 0, key_end)?)?;
        let variant = slice(entry, key_end.next_multiple_of(8), body)?;
        if let Some(value) = variant.strip_suffix(b"\0s") {
            metadata.push((key.to_owned(), read_text(value)?.to_owned()));
        }
    }
    Ok(Commit {
        metadata,
        tree: read_checksum(slice(bytes, tree_start, tree_end)?)?,
        meta: read_checksum(slice(bytes, tree_end, end)?)?,
    })
}

impl Commit {
    /// A metadata entry.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests;
