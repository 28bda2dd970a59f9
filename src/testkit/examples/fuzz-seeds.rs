// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writes the first inputs of the fuzz targets that read tars and objects, into a directory that `fuzz/run.sh` names. What
//! is text lies in `fuzz/seeds`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use testkit::base::Base;
use testkit::blob::{Blob, Packing, sha256};
use testkit::layer::{Layer, LongNames};
use testkit::objects::{Object, dirmeta, dirtree, object_path, xattrs};

fn main() -> Result<()> {
    let dir = PathBuf::from(std::env::args_os().nth(1).context("usage: fuzz-seeds DIRECTORY")?);
    let seeds = tars().into_iter().chain(streams()).chain(derived()).chain(objects()).chain(metadata());
    seeds.into_iter().try_for_each(|(target, name, bytes)| write(&dir.join(target), name, &bytes))
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    fs::write(dir.join(name), bytes).with_context(|| format!("writing {name}"))
}

/// Target, name and bytes.
type Seed = (&'static str, &'static str, Vec<u8>);

fn tar(fill: impl FnOnce(&mut Layer)) -> Vec<u8> {
    let mut layer = Layer::new();
    fill(&mut layer);
    layer.finish()
}

/// Puts a byte before an input, which says how it is to be read.
fn with(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind], bytes].concat()
}

/// A directory, a file, and links of both kinds.
fn plain(layer: &mut Layer) {
    layer.dir("usr/").file("usr/a", "abc").symlink("usr/l", "a").hardlink("usr/h", "usr/a");
}

fn tars() -> [Seed; 3] {
    let long = format!("usr/{}", "n".repeat(120));
    let gnu = tar(|layer| {
        layer.file(&long, "x");
    });
    let pax = tar(|layer| {
        layer.long_names(LongNames::Pax).xattr("user.a", b"b").file(&long, "x");
    });
    [("tar", "plain", tar(plain)), ("tar", "gnu-long", gnu), ("tar", "pax", pax)]
}

/// The first byte says how the blob is packed: not, by gzip, by zstd.
fn streams() -> [Seed; 5] {
    let packed = |kind, packing| {
        let blob = Blob::of(packing, |layer| {
            layer.file("usr/a", "abc");
        });
        with(kind, &blob.packed)
    };
    [
        ("layer_stream", "plain", packed(0, Packing::Tar)),
        ("layer_stream", "gzip", packed(1, Packing::Gzip)),
        ("layer_stream", "members", packed(1, Packing::GzipMembers)),
        ("layer_stream", "zstd", packed(2, Packing::Zstd)),
        ("layer_stream", "skippable", packed(2, Packing::ZstdFrames)),
    ]
}

/// The first byte says whether all top-level names are kept.
fn derived() -> [Seed; 3] {
    let whiteouts = tar(|layer| {
        layer.file("etc/.wh.a", "").file("usr/x/.wh..wh..opq", "").file("run/secrets/x", "x");
    });
    let changed = tar(|layer| {
        let object = object_path(&[0xab; 32], "file");
        layer.file(&object, "new").hardlink("usr/a", &object).hardlink("usr/b", &object);
    });
    [
        ("derived", "plain", with(1, &tar(plain))),
        ("derived", "whiteouts", with(0, &whiteouts)),
        ("derived", "changed", with(1, &changed)),
    ]
}

/// A directory with one file, as a base.
fn base() -> Base {
    let mut base = Base::default();
    let file = Object::file(b"x\n");
    let root = base.dirtree(&dirtree(&[("a", file.checksum())], &[]));
    base.chunks.push(vec![file]);
    base.finish(root)
}

/// The first byte says whether it is the commit layer.
fn objects() -> [Seed; 3] {
    // Attributes that objects have in common, as older exporters write them.
    let shared = tar(|layer| {
        let (none, object) = (object_path(&sha256(b""), "file-xattrs"), Object::file(b"x\n").checksum());
        layer.mtime(0).file(&none, "").mtime(0).hardlink(&object_path(&object, "file-xattrs-link"), &none);
        layer.mtime(0).file(&object_path(&object, "file"), "x\n");
    });
    [
        ("objects", "commit", with(1, &base().commit_layer().finish())),
        ("objects", "chunk", with(0, &base().chunk(0).finish())),
        ("objects", "shared", with(0, &shared)),
    ]
}

fn metadata() -> [Seed; 4] {
    let tree = dirtree(&[("a", Object::file(b"x\n").checksum())], &[]);
    [
        ("gvariant", "dirtree", tree),
        ("gvariant", "dirmeta", dirmeta(0o040_755, &[])),
        ("gvariant", "xattrs", xattrs(&[("user.a", b"b")])),
        ("gvariant", "commit", base().commit),
    ]
}
