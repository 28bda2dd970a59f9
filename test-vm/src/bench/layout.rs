// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writing an image layer by layer, however large: nothing of it is kept in memory.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::images::layout::digest;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image without ostree content, as bootc has them: every layer is a derived one.
pub struct Writer {
    dir: PathBuf,
    layers: Vec<Value>,
    diff_ids: Vec<String>,
}

/// The tar of a layer.
pub struct Layer(Builder<Hashing<GzEncoder<Hashing<BufWriter<File>>>>>);

impl Writer {
    /// In a new directory.
    pub fn create(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir.join("blobs/sha256")).with_context(|| format!("creating {}", dir.display()))?;
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).context("writing oci-layout")?;
        Ok(Self { dir: dir.to_path_buf(), layers: Vec::new(), diff_ids: Vec::new() })
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.dir.join("blobs").join(digest.replace(':', "/"))
    }

    /// Add a gzip layer with what `fill` writes.
    pub fn layer(&mut self, fill: impl FnOnce(&mut Layer) -> Result<()>) -> Result<()> {
        let path = self.dir.join("layer");
        let file = File::create(&path).context("creating a layer")?;
        let blob = Hashing::new(BufWriter::new(file));
        let mut layer = Layer(Builder::new(Hashing::new(GzEncoder::new(blob, Compression::fast()))));
        fill(&mut layer)?;
        let tar = layer.0.into_inner().context("finishing a tar")?;
        self.diff_ids.push(tar.digest());
        let mut blob = tar.inner.finish().context("finishing a layer")?;
        blob.flush().context("finishing a layer")?;
        let (digest, size) = (blob.digest(), blob.size);
        fs::rename(&path, self.blob(&digest)).context("renaming a layer")?;
        self.layers.push(json!({ "mediaType": LAYER, "digest": digest, "size": size }));
        Ok(())
    }

    fn json(&self, media_type: &str, value: &Value) -> Result<Value> {
        let bytes = serde_json::to_vec(value).context("writing JSON")?;
        let digest = digest(&bytes);
        fs::write(self.blob(&digest), &bytes).with_context(|| format!("writing blob {digest}"))?;
        Ok(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
    }

    /// Give the last layer annotations.
    pub fn annotate(&mut self, annotations: Map<String, Value>) -> Result<()> {
        self.layers.last_mut().context("no layer to annotate")?["annotations"] = annotations.into();
        Ok(())
    }

    /// Write config, manifest and index.
    pub fn finish(self) -> Result<()> {
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": { "Labels": { "containers.bootc": "1" } },
            "rootfs": { "type": "layers", "diff_ids": self.diff_ids },
        });
        let config = self.json(CONFIG, &config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": self.layers,
        });
        let entry = self.json(MANIFEST, &manifest)?;
        let index = json!({ "schemaVersion": 2, "manifests": [entry] });
        fs::write(self.dir.join("index.json"), index.to_string()).context("writing index.json")
    }
}

impl Layer {
    /// Add a regular file of so many bytes.
    pub fn file(&mut self, path: &str, size: u64, content: impl io::Read) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(size);
        self.0.append_data(&mut header, path, content.take(size)).with_context(|| format!("adding {path}"))
    }

    /// Give the next file an xattr.
    pub fn xattr(&mut self, name: &str, value: &[u8]) -> Result<()> {
        let key = format!("SCHILY.xattr.{name}");
        self.0.append_pax_extensions([(key.as_str(), value)]).context("adding an xattr")
    }
}

/// Hashes and counts what is written.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }

    fn digest(&self) -> String {
        let hex: String = self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
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
