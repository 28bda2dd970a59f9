// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Base images made by hand: objects of ostree, honest or not, in the layers of a container.
//!
//! A writer of its own, so that objects can be wrong in ways that no tool writes.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::EntryType;

use crate::layer::{Blob, Layer, Packing};
use crate::layout::{Image, digest};

const OBJECTS: &str = "sysroot/ostree/repo/objects";

pub fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Members one after another, then where each ends: all of an array's, in order; of a tuple's all but the last, backwards.
fn framed(members: &[&[u8]], tuple: bool) -> Vec<u8> {
    let mut bytes = members.concat();
    let mut ends: Vec<usize> = members
        .iter()
        .scan(0, |end, member| {
            *end += member.len();
            Some(*end)
        })
        .collect();
    if tuple {
        ends.pop();
        ends.reverse();
    }
    let fits = |width: &usize| (bytes.len() + ends.len() * width) >> (8 * width) == 0;
    let width = [1, 2, 4].into_iter().find(fits).unwrap_or(8);
    for end in ends {
        bytes.extend_from_slice(&end.to_le_bytes()[..width]);
    }
    bytes
}

/// Extended attributes: `a(ayay)`, in the order given.
pub fn xattrs(list: &[(&str, &[u8])]) -> Vec<u8> {
    let pairs: Vec<Vec<u8>> =
        list.iter().map(|(name, value)| framed(&[&[name.as_bytes(), &[0]].concat(), value], true)).collect();
    framed(&pairs.iter().map(Vec::as_slice).collect::<Vec<_>>(), false)
}

/// A directory's owner, mode and attributes.
pub fn dirmeta(mode: u32, xattrs: &[u8]) -> Vec<u8> {
    [&[0; 8][..], &mode.to_be_bytes(), xattrs].concat()
}

/// Names of files, then names of directories with their dirtree and dirmeta.
pub fn dirtree(files: &[(&str, [u8; 32])], dirs: &[(&str, [u8; 32], [u8; 32])]) -> Vec<u8> {
    let name = |name: &str| [name.as_bytes(), &[0]].concat();
    let files: Vec<_> = files.iter().map(|(file, sum)| framed(&[&name(file), sum], true)).collect();
    let dirs: Vec<_> = dirs.iter().map(|(dir, tree, meta)| framed(&[&name(dir), tree, meta], true)).collect();
    let array = |list: &[Vec<u8>]| framed(&list.iter().map(Vec::as_slice).collect::<Vec<_>>(), false);
    framed(&[&array(&files), &array(&dirs)], true)
}

/// A commit with no text and no metadata.
fn commit(tree: &[u8; 32], meta: &[u8; 32]) -> Vec<u8> {
    let (texts, padding, time) = ([0, 0], [0; 6], 1_700_000_000_u64.to_be_bytes());
    // Ends of: root tree, body, subject, related, parent, metadata.
    [&texts[..], &padding, &time, tree, meta, &[48, 2, 1, 0, 0, 0]].concat()
}

/// A content object as its tar entries give it.
pub struct Object {
    pub data: Vec<u8>,
    pub target: Option<String>,
    pub uid: u32,
    pub xattrs: Vec<u8>,
}

impl Object {
    pub fn file(data: &[u8]) -> Self {
        Self { data: data.to_vec(), target: None, uid: 0, xattrs: Vec::new() }
    }

    pub fn symlink(target: &str) -> Self {
        Self { target: Some(target.to_owned()), ..Self::file(b"") }
    }

    pub fn checksum(&self) -> [u8; 32] {
        let mode: u32 = if self.target.is_some() { 0o120_777 } else { 0o100_644 };
        let numbers: Vec<u8> = [self.uid, 0, mode, 0].iter().flat_map(|number| number.to_be_bytes()).collect();
        let target = [&numbers, self.target.as_deref().unwrap_or_default().as_bytes(), &[0]].concat();
        let header = framed(&[&target, &self.xattrs], true);
        let size = u32::try_from(header.len()).unwrap_or(u32::MAX).to_be_bytes();
        sha256(&[&size[..], &[0; 4], &header, &self.data].concat())
    }

    /// The two entries of the object.
    pub fn append(&self, layer: &mut Layer) {
        let name = object_path(&self.checksum(), "file");
        layer.mtime(0).mode(0o644).entry(
            EntryType::Regular,
            format!("{name}-xattrs-link").as_bytes(),
            b"",
            &self.xattrs,
        );
        layer.mtime(0).owner(u64::from(self.uid), 0);
        match &self.target {
            Some(target) => layer.symlink(&name, target),
            None => layer.entry(EntryType::Regular, name.as_bytes(), b"", &self.data),
        };
    }
}

/// Where the object is in the archive.
pub fn object_path(checksum: &[u8], extension: &str) -> String {
    let hex = hex(checksum);
    format!("{OBJECTS}/{}/{}.{extension}", &hex[..2], &hex[2..])
}

/// A base commit while it grows: metadata objects by name, content objects by chunk.
#[derive(Default)]
pub struct Base {
    pub metadata: BTreeMap<String, Vec<u8>>,
    pub chunks: Vec<Vec<Object>>,
    pub commit: Vec<u8>,
}

impl Base {
    pub fn dirmeta(&mut self, bytes: &[u8]) -> [u8; 32] {
        self.put(bytes, "dirmeta")
    }

    /// A directory that everybody may enter.
    pub fn plain_meta(&mut self) -> [u8; 32] {
        self.dirmeta(&dirmeta(0o040_755, &[]))
    }

    pub fn dirtree(&mut self, bytes: &[u8]) -> [u8; 32] {
        self.put(bytes, "dirtree")
    }

    fn put(&mut self, bytes: &[u8], extension: &str) -> [u8; 32] {
        let checksum = sha256(bytes);
        self.metadata.insert(object_path(&checksum, extension), bytes.to_vec());
        checksum
    }

    /// Wraps a directory in others: the last name is the outermost.
    pub fn below(&mut self, mut tree: [u8; 32], names: &[&str]) -> [u8; 32] {
        let meta = self.plain_meta();
        for name in names {
            tree = self.dirtree(&dirtree(&[], &[(name, tree, meta)]));
        }
        tree
    }

    /// The root of the commit.
    pub fn finish(mut self, root: [u8; 32]) -> Self {
        let meta = self.plain_meta();
        self.commit = commit(&root, &meta);
        self
    }

    /// The layer with commit and metadata.
    pub fn commit_layer(&self) -> Layer {
        let mut layer = Layer::new();
        let commit = object_path(&sha256(&self.commit), "commit");
        layer.mtime(0).entry(EntryType::Regular, commit.as_bytes(), b"", &self.commit);
        for (name, bytes) in &self.metadata {
            layer.mtime(0).entry(EntryType::Regular, name.as_bytes(), b"", bytes);
        }
        layer
    }

    /// The image: commit layer, chunks; the last chunk is the last layer with ostree in it.
    pub fn image(&self) -> Result<Image> {
        let chunks = self.chunks.iter().map(|objects| {
            let mut layer = Layer::new();
            objects.iter().for_each(|object| object.append(&mut layer));
            layer
        });
        of_layers(self.commit_layer(), chunks.collect())
    }
}

/// An image of ostree layers.
pub fn of_layers(commit: Layer, chunks: Vec<Layer>) -> Result<Image> {
    let mut image = Image::plain();
    for layer in std::iter::once(commit).chain(chunks) {
        let blob = Blob::new(layer.finish(), Packing::Gzip);
        image.push(&blob)?;
        image.config["config"]["Labels"]["ostree.final-diffid"] = json!(digest(&blob.tar));
    }
    Ok(image)
}

/// A small honest base: two chunks, and one object that is in both.
pub fn honest() -> Base {
    let mut base = Base::default();
    let noise = |seed: u32, len: u32| -> Vec<u8> {
        (0..len).map(|n| (n.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    };
    let objects = [Object::file(b"shared\n"), Object::file(&noise(1, 1000)), Object::symlink("one")];
    let more = [Object::file(b"shared\n"), Object::file(&noise(2, 300_000)), Object::file(b"")];
    let sum = |object: &Object| object.checksum();
    let files = [("link", sum(&objects[2])), ("one", sum(&objects[1])), ("shared", sum(&objects[0]))];
    let files = [&files[..], &[("two", sum(&more[1])), ("void", sum(&more[2]))]].concat();
    let tree = base.dirtree(&dirtree(&files, &[]));
    let root = base.below(tree, &["lib", "usr"]);
    base.chunks = vec![objects.into(), more.into()];
    base.finish(root)
}
