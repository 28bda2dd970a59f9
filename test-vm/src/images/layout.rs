// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Layouts that ostree-ext and skopeo have written: a layer is put on top of their image, or one of its blobs is damaged.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::blob::{Blob, OCI_GZIP};
use testkit::image::Image;
use testkit::layout::Layout;

/// Puts one more layer on the image, as a container build does: `tar` as it is, and its gzip.
pub fn add_layer(layout: &Layout, tar: Vec<u8>, gzip: Vec<u8>, created_by: &str) -> Result<()> {
    let mut image = Image::load(layout)?;
    image.push(&Blob { tar, packed: gzip, media_type: OCI_GZIP.to_owned() })?;
    let created = image.config["created"].clone();
    let history = image.config["history"].as_array_mut().and_then(|list| list.last_mut());
    let history = history.context("finding the layer's history")?;
    (history["created"], history["created_by"]) = (created, created_by.into());
    // A builder drops the base image's annotations; the labels in the config are what counts.
    if let Some(manifest) = image.manifest.as_object_mut() {
        manifest.remove("annotations");
    }
    image.write(layout.dir()).map(drop)
}

/// Returns the digest of the biggest chunk: neither the commit layer nor the derived layer.
pub fn biggest_chunk(layout: &Layout) -> Result<String> {
    let image = layout.image()?;
    let layers = image.manifest["layers"].as_array().context("reading the manifest's layers")?;
    ensure!(layers.len() > 2, "finding a chunk: the image has {} layers", layers.len());
    let chunks = &layers[1..layers.len() - 1];
    let biggest = chunks.iter().max_by_key(|layer| layer["size"].as_u64()).context("finding a chunk")?;
    Ok(text(&biggest["digest"])?.to_owned())
}

/// Flips one bit in the middle of a blob. The blob gets a new inode: others may have links to the old one.
pub fn damage(layout: &Layout, digest: &str) -> Result<()> {
    let path = layout.blob(digest);
    let copy = path.with_extension("copy");
    fs::copy(&path, &copy).with_context(|| format!("copying blob {digest}"))?;
    let mut file =
        fs::OpenOptions::new().read(true).write(true).open(&copy).with_context(|| format!("opening blob {digest}"))?;
    let middle = file.metadata().context("examining the blob")?.len() / 2;
    let mut byte = [0];
    file.seek(SeekFrom::Start(middle)).context("seeking in the blob")?;
    file.read_exact(&mut byte).context("reading the blob")?;
    byte[0] ^= 1;
    file.seek(SeekFrom::Start(middle)).context("seeking in the blob")?;
    file.write_all(&byte).context("writing the blob")?;
    fs::rename(&copy, &path).with_context(|| format!("replacing blob {digest}"))
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("reading a string from {value}"))
}

#[cfg(test)]
mod tests {
    use testkit::blob::{Blob, Packing, digest};
    use testkit::image::Image;
    use testkit::layout::Layout;

    use super::{add_layer, biggest_chunk, damage};

    #[test]
    fn a_layer_is_added_and_a_chunk_damaged() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut image = Image::plain();
        for bytes in [&[b'c'; 99][..], b"0123456789"] {
            image.push(&Blob::new(bytes.to_vec(), Packing::Tar)).expect("a layer");
        }
        image.manifest["annotations"] = serde_json::json!({"a": "b"});
        image.write(dir.path()).expect("an image");
        let layout = Layout::at(dir.path());
        add_layer(&layout, b"tar".to_vec(), b"gzip".to_vec(), "COPY").expect("a layer");
        let image = layout.image().expect("the image");
        let layers = image.layers().expect("layers");
        assert_eq!((layers.len(), &layers[2]), (3, &digest(b"gzip")));
        assert!(image.manifest["annotations"].is_null(), "{}", image.manifest);
        let config = layout.read_json(image.manifest["config"]["digest"].as_str().expect("a digest")).expect("config");
        assert_eq!(config["history"][2]["created_by"], "COPY");
        assert_eq!(config["history"][2]["created"], config["created"]);
        assert_eq!(digest(&layout.read(&image.digest).expect("the manifest")), image.digest);

        let chunk = biggest_chunk(&layout).expect("a chunk");
        assert_eq!(chunk, digest(b"0123456789"), "the commit layer is bigger and does not count");
        damage(&layout, &chunk).expect("damage");
        assert_eq!(layout.read(&chunk).expect("the blob"), b"0123446789");
    }
}
