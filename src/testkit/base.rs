// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Images that have an ostree commit in them: a layer with the commit and its metadata, and chunks of content.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::json;
use tar::EntryType;

use crate::blob::{Blob, Packing, digest, sha256};
use crate::image::Image;
use crate::layer::Layer;
use crate::objects::{Object, commit, dirmeta, dirtree, object_path};

/// A base commit while it grows: metadata objects by name, content objects by chunk.
#[derive(Clone, Debug, Default)]
pub struct Base {
    /// Metadata objects by their place in the layer.
    pub metadata: BTreeMap<String, Vec<u8>>,
    /// Content objects, chunk by chunk.
    pub chunks: Vec<Vec<Object>>,
    /// The commit object.
    pub commit: Vec<u8>,
}

impl Base {
    /// Adds a dirmeta and returns its checksum.
    pub fn dirmeta(&mut self, bytes: &[u8]) -> [u8; 32] {
        self.put(bytes, "dirmeta")
    }

    /// Adds the dirmeta of a directory that all may enter.
    pub fn plain_meta(&mut self) -> [u8; 32] {
        self.dirmeta(&dirmeta(0o040_755, &[]))
    }

    /// Adds a dirtree and returns its checksum.
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

    /// Makes the commit, with this root.
    pub fn finish(mut self, root: [u8; 32]) -> Self {
        let meta = self.plain_meta();
        self.commit = commit(&root, &meta);
        self
    }

    /// Returns the layer with commit and metadata.
    pub fn commit_layer(&self) -> Layer {
        let mut layer = Layer::new();
        let commit = object_path(&sha256(&self.commit), "commit");
        layer.mtime(0).entry(EntryType::Regular, commit.as_bytes(), b"", &self.commit);
        for (name, bytes) in &self.metadata {
            layer.mtime(0).entry(EntryType::Regular, name.as_bytes(), b"", bytes);
        }
        layer
    }

    /// Returns the image: commit layer, chunks; the last chunk is the last layer with ostree in it.
    pub fn image(&self) -> Result<Image> {
        of_layers(self.commit_layer(), (0..self.chunks.len()).map(|n| self.chunk(n)).collect())
    }

    /// Returns the layer of a chunk, which has to be there.
    pub fn chunk(&self, n: usize) -> Layer {
        let mut layer = Layer::new();
        self.chunks[n].iter().for_each(|object| object.append(&mut layer));
        layer
    }
}

/// Makes an image of ostree layers.
pub fn of_layers(commit: Layer, chunks: Vec<Layer>) -> Result<Image> {
    let mut image = Image::plain();
    for layer in std::iter::once(commit).chain(chunks) {
        let blob = Blob::new(layer.finish(), Packing::Gzip);
        image.push(&blob)?;
        image.config["config"]["Labels"]["ostree.final-diffid"] = json!(digest(&blob.tar));
    }
    Ok(image)
}

/// Makes a small honest base: two chunks, and one object that is in both.
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
