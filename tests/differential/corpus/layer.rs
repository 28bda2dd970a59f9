// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writes one layer: a tar with exactly the bytes a case is about, then compressed.
//!
//! Names and link targets go into the header as they stand, since what an importer
//! does with `./`, `//` and `..` is part of what the corpus asks.

use std::io::Write;

use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

/// What the peer takes for "changed since the base": any mtime above zero.
const CHANGED: u64 = 1_700_000_001;
/// A name longer than this does not fit the header's own field.
const NAME_MAX: usize = 100;

/// How names over 100 bytes are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LongNames {
    Gnu,
    Pax,
}

/// The attributes of the next entry; they go back to the default after it.
#[derive(Clone)]
struct Attributes {
    mode: Option<u32>,
    uid: u64,
    gid: u64,
    mtime: u64,
    pax: Vec<(String, Vec<u8>)>,
}

impl Default for Attributes {
    fn default() -> Self {
        Self { mode: None, uid: 0, gid: 0, mtime: CHANGED, pax: Vec::new() }
    }
}

/// A layer under construction. A `Vec` takes every write, hence the `expect`s.
pub struct Layer {
    tar: Builder<Vec<u8>>,
    next: Attributes,
    long: LongNames,
}

const VEC: &str = "a Vec takes every write";

impl Layer {
    pub fn new() -> Self {
        Self { tar: Builder::new(Vec::new()), next: Attributes::default(), long: LongNames::Gnu }
    }

    pub fn long_names(&mut self, long: LongNames) -> &mut Self {
        self.long = long;
        self
    }

    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.next.mode = Some(mode);
        self
    }

    pub fn owner(&mut self, uid: u64, gid: u64) -> &mut Self {
        (self.next.uid, self.next.gid) = (uid, gid);
        self
    }

    pub fn mtime(&mut self, mtime: u64) -> &mut Self {
        self.next.mtime = mtime;
        self
    }

    pub fn pax(&mut self, key: &str, value: &[u8]) -> &mut Self {
        self.next.pax.push((key.to_owned(), value.to_owned()));
        self
    }

    pub fn xattr(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }

    pub fn dir(&mut self, path: &str) -> &mut Self {
        self.entry(EntryType::Directory, path.as_bytes(), b"", b"")
    }

    pub fn file(&mut self, path: &str, data: &str) -> &mut Self {
        self.entry(EntryType::Regular, path.as_bytes(), b"", data.as_bytes())
    }

    pub fn symlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.entry(EntryType::Symlink, path.as_bytes(), target.as_bytes(), b"")
    }

    pub fn hardlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.entry(EntryType::Link, path.as_bytes(), target.as_bytes(), b"")
    }

    /// An entry of any kind, with any bytes as its name.
    pub fn entry(&mut self, kind: EntryType, path: &[u8], link: &[u8], data: &[u8]) -> &mut Self {
        let attributes = std::mem::take(&mut self.next);
        let mut pax = attributes.pax;
        for (key, name, gnu) in [("path", path, b'L'), ("linkpath", link, b'K')] {
            if name.len() > NAME_MAX && self.long == LongNames::Pax {
                pax.push((key.to_owned(), name.to_owned()));
            } else if name.len() > NAME_MAX {
                self.gnu_long(gnu, name);
            }
        }
        if !pax.is_empty() {
            let records = pax.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
            self.tar.append_pax_extensions(records).expect(VEC);
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(attributes.mode.unwrap_or(default_mode(kind)));
        header.set_uid(attributes.uid);
        header.set_gid(attributes.gid);
        header.set_mtime(attributes.mtime);
        header.set_size(data.len() as u64);
        if matches!(kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(0).expect("a GNU header has device numbers");
            header.set_device_minor(0).expect("a GNU header has device numbers");
        }
        put(&mut header.as_old_mut().name, path);
        put(&mut header.as_old_mut().linkname, link);
        header.set_cksum();
        self.tar.append(&header, data).expect(VEC);
        self
    }

    /// GNU's own way of a long name: an entry before the entry.
    fn gnu_long(&mut self, kind: u8, name: &[u8]) {
        let mut data = name.to_vec();
        data.push(0);
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::new(kind));
        header.set_mode(0o644);
        header.set_size(data.len() as u64);
        put(&mut header.as_old_mut().name, b"././@LongLink");
        header.set_cksum();
        self.tar.append(&header, data.as_slice()).expect(VEC);
    }

    /// The finished tar.
    pub fn finish(self) -> Vec<u8> {
        self.tar.into_inner().expect(VEC)
    }
}

/// The modes that a container build writes.
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

/// A layer as it lies in the layout: the tar and its packed form.
#[derive(Clone)]
pub struct Blob {
    pub tar: Vec<u8>,
    pub packed: Vec<u8>,
    pub media_type: &'static str,
}

/// How a tar is packed.
#[derive(Clone, Copy)]
pub enum Packing {
    Gzip,
    /// Two gzip members, cut in the middle of the tar.
    GzipMembers,
    /// One member, then bytes that are no gzip.
    GzipGarbage,
    Zstd,
    /// Two frames and a skippable one between them.
    ZstdFrames,
    Tar,
}

impl Blob {
    pub fn new(tar: Vec<u8>, packing: Packing) -> Self {
        let half = tar.len() / 2;
        let (packed, media_type) = match packing {
            Packing::Gzip => (gzip(&tar), OCI_GZIP),
            Packing::GzipMembers => ([gzip(&tar[..half]), gzip(&tar[half..])].concat(), OCI_GZIP),
            Packing::GzipGarbage => ([gzip(&tar), b"garbage".repeat(9)].concat(), OCI_GZIP),
            Packing::Zstd => (zstd(&tar), OCI_ZSTD),
            Packing::ZstdFrames => {
                let skippable = [&0x184D_2A50_u32.to_le_bytes()[..], &5_u32.to_le_bytes(), b"12345"].concat();
                ([zstd(&tar[..half]), skippable, zstd(&tar[half..])].concat(), OCI_ZSTD)
            }
            Packing::Tar => (tar.clone(), OCI_TAR),
        };
        Self { tar, packed, media_type }
    }
}

const OCI_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const OCI_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).expect(VEC);
    encoder.finish().expect(VEC)
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).expect("zstd packs any bytes")
}
