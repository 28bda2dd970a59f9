// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A layer that ostree wrote: the commit layer, or a chunk. Its tar holds the repository's objects under their names.
//!
//! A content object comes as two entries: its xattrs, then the file. Three generations of images differ in how the
//! xattrs come; all are read (ostree-ext `tar/import.rs`). What is not below `sysroot/ostree/repo` is for container
//! tools, and is skipped.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{BufRead, Read};

use anyhow::{Context, Result, bail, ensure};
use contract::names::Digest;
use image::stream::{Entry, Kind, Skip, TarReader};
use repo::file_type::{S_IFLNK, S_IFREG};
use repo::gvariant;
use repo::writer::Writer;
use repo::{FileHeader, ObjectType, Xattrs};

use crate::import::layers::derived::MAX_ENTRIES;

const REPO: &str = "sysroot/ostree/repo/";
/// Largest metadata object, in bytes. Upstream's limit; the largest dirtree of RHCOS has 200 KiB.
const MAX_METADATA: u64 = 10 << 20;
/// Largest xattrs of a file, in bytes. Upstream's limit.
const MAX_XATTRS: u64 = 1 << 20;
/// All distinct xattrs of a layer together, in bytes. The old format refers back to them, so they are kept.
const MAX_SHARED_XATTRS: usize = 16 << 20;

/// What a layer of objects held.
#[derive(Debug)]
pub struct Objects {
    /// Content objects, whether they were new or not.
    pub files: BTreeSet<Digest>,
    /// The commit, if it was the commit layer.
    pub commit: Option<Digest>,
}

/// Write the objects of a layer. Only the commit layer may hold metadata.
pub fn import_objects<R: Skip + BufRead>(
    writer: &Writer<'_>,
    tar: &mut TarReader<R>,
    commit_layer: bool,
) -> Result<Objects> {
    let mut importer = Importer {
        writer,
        commit_layer,
        files: BTreeSet::new(),
        metadata: HashSet::new(),
        commit: None,
        pending: None,
        shared: HashMap::new(),
        shared_size: 0,
    };
    while let Some(entry) = tar.next_entry()? {
        importer.entry(&entry, tar).with_context(|| format!("importing {}", entry.path.escape_ascii()))?;
    }
    ensure!(importer.pending.is_none(), "layer ends after the xattrs of an object");
    ensure!(!commit_layer || importer.commit.is_some(), "layer has no commit");
    Ok(Objects { files: importer.files, commit: importer.commit })
}

struct Importer<'a> {
    writer: &'a Writer<'a>,
    commit_layer: bool,
    files: BTreeSet<Digest>,
    metadata: HashSet<(ObjectType, Digest)>,
    commit: Option<Digest>,
    /// The xattrs that belong to the object that must come next.
    pending: Option<(Digest, Vec<u8>)>,
    /// Xattrs by their own checksum, in the old formats.
    shared: HashMap<Digest, Vec<u8>>,
    shared_size: usize,
}

/// What an entry below the repository is.
enum Name {
    /// An object.
    Object(Digest, ObjectType),
    /// Shared xattrs, named by their checksum.
    Shared(Digest),
    /// The xattrs of an object.
    XattrsOf(Digest),
    /// Directories, config, refs.
    Other,
}

fn parse_name(path: &str) -> Result<Name> {
    let Some(path) = path.trim_start_matches("./").trim_start_matches('/').strip_prefix(REPO) else {
        return Ok(Name::Other);
    };
    if let Some(checksum) = path.strip_prefix("xattrs/").filter(|rest| !rest.is_empty()) {
        return Digest::from_hex(checksum).map(Name::Shared);
    }
    let Some(object) = path.strip_prefix("objects/") else { return Ok(Name::Other) };
    let Some((start, rest)) = object.split_once('/').filter(|(_, rest)| !rest.is_empty()) else {
        return Ok(Name::Other);
    };
    let (end, extension) = rest.split_once('.').context("object without a type")?;
    ensure!(start.len() == 2, "object in a directory that is not named by two digits");
    let checksum = Digest::from_hex(&format!("{start}{end}"))?;
    Ok(match extension {
        "file-xattrs" => Name::Shared(checksum),
        "file-xattrs-link" | "file.xattrs" => Name::XattrsOf(checksum),
        other => {
            let kind = ObjectType::from_extension(other).with_context(|| format!("unknown object type {other:?}"))?;
            Name::Object(checksum, kind)
        }
    })
}

impl Importer<'_> {
    fn entry(&mut self, entry: &Entry, content: &mut impl BufRead) -> Result<()> {
        let path = std::str::from_utf8(&entry.path);
        let name = match path {
            Ok(path) => parse_name(path)?,
            // Outside of the repository names may be anything.
            Err(_) => Name::Other,
        };
        if entry.kind == Kind::Directory {
            return Ok(());
        }
        match name {
            Name::Other => Ok(()),
            Name::Shared(checksum) => self.shared_xattrs(checksum, entry, content),
            Name::XattrsOf(object) => self.xattrs_of(object, entry, content),
            Name::Object(checksum, ObjectType::File) => self.file(checksum, entry, content),
            Name::Object(checksum, kind) => self.metadata(checksum, kind, entry, content),
        }
    }

    fn shared_xattrs(&mut self, checksum: Digest, entry: &Entry, content: &mut impl BufRead) -> Result<()> {
        let bytes = read_limited(entry, content, MAX_XATTRS)?;
        let got = Digest::of(&bytes);
        ensure!(got == checksum, "xattrs mismatch: expected {}, got {}", checksum.hex(), got.hex());
        self.shared_size += bytes.len() + size_of::<(Digest, Vec<u8>)>();
        ensure!(self.shared_size <= MAX_SHARED_XATTRS, "layer has more than {MAX_SHARED_XATTRS} bytes of xattrs");
        self.shared.insert(checksum, bytes);
        Ok(())
    }

    fn xattrs_of(&mut self, object: Digest, entry: &Entry, content: &mut impl BufRead) -> Result<()> {
        ensure!(self.pending.is_none(), "xattrs follow xattrs");
        let bytes = match entry.kind {
            Kind::File => read_limited(entry, content, MAX_XATTRS)?,
            Kind::Hardlink => {
                let link = std::str::from_utf8(&entry.link).context("link target is not UTF-8")?;
                let Name::Shared(checksum) = resolve_shared(link)? else {
                    bail!("link to {link:?}, which has no xattrs")
                };
                self.shared
                    .get(&checksum)
                    .with_context(|| format!("xattrs {} did not come before", checksum.hex()))?
                    .clone()
            }
            _ => bail!("xattrs are neither a file nor a link"),
        };
        gvariant::check_xattrs(&bytes)?;
        self.pending = Some((object, bytes));
        Ok(())
    }

    fn file(&mut self, checksum: Digest, entry: &Entry, content: &mut impl BufRead) -> Result<()> {
        ensure!(self.files.len() < MAX_ENTRIES, "layer has more than {MAX_ENTRIES} objects");
        let (object, xattrs) = self.pending.take().context("object without xattrs before it")?;
        ensure!(object == checksum, "xattrs of {} before object {}", object.hex(), checksum.hex());
        ensure!(self.files.insert(checksum), "object is in the layer twice");
        if self.writer.has(ObjectType::File, &checksum)? {
            return Ok(());
        }
        let mut header =
            FileHeader { uid: entry.uid, gid: entry.gid, mode: entry.mode, xattrs: Xattrs(xattrs), target: None };
        match entry.kind {
            Kind::File => {
                header.mode |= S_IFREG;
                self.writer.write_file(Some(&checksum), &header, entry.size, content)?;
            }
            Kind::Symlink => {
                header.mode |= S_IFLNK;
                header.target = Some(entry.link.clone());
                self.writer.write_symlink(Some(&checksum), &header)?;
            }
            _ => bail!("object is neither a file nor a symbolic link"),
        }
        Ok(())
    }

    fn metadata(
        &mut self,
        checksum: Digest,
        kind: ObjectType,
        entry: &Entry,
        content: &mut impl BufRead,
    ) -> Result<()> {
        ensure!(self.commit_layer, "metadata object in a chunk");
        ensure!(self.pending.is_none(), "metadata object follows xattrs");
        ensure!(self.metadata.insert((kind, checksum)), "object is in the layer twice");
        let bytes = read_limited(entry, content, MAX_METADATA)?;
        gvariant::check_metadata(kind, &bytes)?;
        match (kind, self.commit) {
            (ObjectType::Commit, None) => {
                self.writer.write_metadata(kind, Some(&checksum), &bytes)?;
                self.commit = Some(checksum);
            }
            (ObjectType::Commit, Some(_)) => bail!("layer has a second commit"),
            (_, None) => bail!("object before the commit"),
            (ObjectType::CommitMeta, Some(commit)) => {
                ensure!(commit == checksum, "detached metadata of another commit");
                self.writer.write_commit_metadata(&commit, &bytes)?;
            }
            (_, Some(_)) => {
                self.writer.write_metadata(kind, Some(&checksum), &bytes)?;
            }
        }
        Ok(())
    }
}

/// Links to shared xattrs may be relative to the link (`../xattrs/…`, the oldest format) or to the archive.
fn resolve_shared(link: &str) -> Result<Name> {
    match link.rsplit_once("xattrs/") {
        Some((_, checksum)) => Digest::from_hex(checksum).map(Name::Shared),
        None => parse_name(link),
    }
}

fn read_limited(entry: &Entry, content: &mut impl Read, limit: u64) -> Result<Vec<u8>> {
    ensure!(entry.kind == Kind::File, "not a regular file");
    ensure!(entry.size <= limit, "{} bytes are over the limit of {limit}", entry.size);
    let mut bytes = Vec::with_capacity(entry.size as usize);
    content.take(entry.size).read_to_end(&mut bytes).context("reading an object")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let hex = "ab".repeat(32);
        let object = |extension: &str| format!("sysroot/ostree/repo/objects/ab/{}.{extension}", &hex[2..]);
        for (label, path, expected) in [
            ("file", object("file"), Some("object")),
            ("dot slash", format!("./{}", object("commit")), Some("object")),
            ("xattrs", object("file-xattrs"), Some("shared")),
            ("oldest xattrs", format!("./sysroot/ostree/repo/xattrs/{hex}"), Some("shared")),
            ("link", object("file-xattrs-link"), Some("xattrs of")),
            ("oldest link", object("file.xattrs"), Some("xattrs of")),
            ("config", "sysroot/ostree/repo/config".to_owned(), Some("other")),
            ("directory", "sysroot/ostree/repo/objects/ab/".to_owned(), Some("other")),
            ("a checkout path", "usr/bin/true".to_owned(), Some("other")),
            ("unknown type", object("tombstone-commit"), None),
            ("short", "sysroot/ostree/repo/objects/ab/cd.file".to_owned(), None),
            ("outside", format!("sysroot/ostree/repo/objects/../ab{}.file", &hex[2..]), None),
        ] {
            let got = parse_name(&path).ok().map(|name| match name {
                Name::Object(..) => "object",
                Name::Shared(_) => "shared",
                Name::XattrsOf(_) => "xattrs of",
                Name::Other => "other",
            });
            assert_eq!(got, expected, "{label}");
        }
    }
}
