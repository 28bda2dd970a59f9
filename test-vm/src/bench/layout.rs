// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writing an image layer by layer, however large: nothing of it is kept in memory.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use testkit::blob::{OCI_GZIP, hex};
use testkit::layer;
use testkit::layout::{Layout, OCI_CONFIG, OCI_MANIFEST};

/// An image without ostree content, as bootc has them: every layer is a derived one.
pub struct Writer {
    layout: Layout,
    layers: Vec<Value>,
    diff_ids: Vec<String>,
}

/// A layer that goes to its file while it is written.
pub type Layer = layer::Layer<Hashing<GzEncoder<Hashing<BufWriter<File>>>>>;

impl Writer {
    /// Makes a new directory for it.
    pub fn create(dir: &Path) -> Result<Self> {
        Ok(Self { layout: Layout::create(dir)?, layers: Vec::new(), diff_ids: Vec::new() })
    }

    /// Adds a gzip layer with what `fill` writes.
    pub fn layer(&mut self, fill: impl FnOnce(&mut Layer)) -> Result<()> {
        let path = self.layout.dir().join("layer");
        let file = File::create(&path).context("creating a layer")?;
        let blob = Hashing::new(BufWriter::new(file));
        let mut layer = Layer::over(Hashing::new(GzEncoder::new(blob, Compression::fast())));
        fill(&mut layer);
        let tar = layer.close().context("writing a tar")?;
        self.diff_ids.push(tar.digest());
        let mut blob = tar.inner.finish().context("finishing a layer")?;
        blob.flush().context("finishing a layer")?;
        let (digest, size) = (blob.digest(), blob.size);
        fs::rename(&path, self.layout.blob(&digest)).context("renaming a layer")?;
        self.layers.push(json!({ "mediaType": OCI_GZIP, "digest": digest, "size": size }));
        Ok(())
    }

    /// Gives the last layer annotations.
    pub fn annotate(&mut self, annotations: Map<String, Value>) -> Result<()> {
        self.layers.last_mut().context("no layer to annotate")?["annotations"] = annotations.into();
        Ok(())
    }

    /// Writes config, manifest and index.
    pub fn finish(self) -> Result<()> {
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": { "Labels": { "containers.bootc": "1" } },
            "rootfs": { "type": "layers", "diff_ids": self.diff_ids },
        });
        let config = self.layout.write_json(OCI_CONFIG, &config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config,
            "layers": self.layers,
        });
        let manifest = self.layout.write_json(OCI_MANIFEST, &manifest)?;
        self.layout.write_index(&[manifest])
    }
}

/// Hashes and counts what is written.
pub struct Hashing<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }

    fn digest(&self) -> String {
        format!("sha256:{}", hex(&self.hash.clone().finalize()))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
