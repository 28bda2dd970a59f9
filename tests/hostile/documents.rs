// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Manifests, configs and indexes that are too large, too deep, or about something else.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::case::Case;
use testkit::blob::{Blob, Packing, digest};
use testkit::image::Image;
use testkit::layer::Layer;
use testkit::layout::OCI_INDEX;

/// The largest document that may be.
const LIMIT: usize = 4 << 20;

/// A layout that holds these bytes as the document that is asked for.
fn document(label: &str, bytes: impl FnOnce() -> Vec<u8> + 'static) -> Case {
    Case::new(label, |dir| {
        put_layout(dir)?;
        put_blob(dir, &bytes())
    })
}

fn put_layout(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir.join("blobs/sha256")).context("creating a layout")?;
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).context("writing oci-layout")
}

fn put_blob(dir: &Path, bytes: &[u8]) -> Result<String> {
    let name = digest(bytes);
    fs::write(dir.join("blobs").join(name.replace(':', "/")), bytes).context("writing a blob")?;
    Ok(name)
}

fn small_layer() -> Blob {
    let mut layer = Layer::new();
    layer.file("usr/x", "x");
    Blob::new(layer.finish(), Packing::Gzip)
}

/// An image of one layer whose manifest or config is changed.
fn edited(label: &str, edit: impl FnOnce(&mut Image) + 'static) -> Case {
    Case::image(label, |image| {
        image.push(&small_layer())?;
        edit(image);
        Ok(())
    })
}

/// JSON of `length` bytes: `item` over and over, in a list.
fn list_of(item: &str, length: usize) -> String {
    let count = length / (item.len() + 1);
    format!("[{}{item}]", format!("{item},").repeat(count.saturating_sub(1)))
}

pub fn cases() -> Vec<Case> {
    let mut cases = sizes();
    cases.extend(meanings());
    cases.extend(indexes());
    cases
}

fn sizes() -> Vec<Case> {
    let unknown = |label: &str, item: &'static str| {
        document(label, move || format!(r#"{{"schemaVersion":2,"x":{}}}"#, list_of(item, LIMIT - 100)).into_bytes())
    };
    vec![
        document("manifest-5-MiB", || vec![b' '; 5 << 20]).refused(&["larger than the limit of 4194304 bytes"]),
        document("manifest-4-MiB-of-nothing", || vec![b' '; LIMIT]).refused(&["parsing manifest sha256:"]),
        document("manifest-deep", || [&br#"{"x":"#[..], &b"[".repeat(LIMIT - 10)].concat())
            .refused(&["parsing manifest sha256:"]),
        document("manifest-deep-objects", || br#"{"a":"#.repeat(LIMIT / 5)).refused(&["parsing manifest sha256:"]),
        document("manifest-not-utf8", || b"{\"\xff\":1}".to_vec()).refused(&["parsing manifest sha256:"]),
        document("manifest-empty", Vec::new).refused(&["parsing manifest sha256:"]),
        unknown("manifest-4-MiB-of-numbers", "0").refused(&["parsing manifest sha256:"]),
        unknown("manifest-4-MiB-of-lists", "[]").refused(&["parsing manifest sha256:"]),
        unknown("manifest-4-MiB-of-strings", "\"\"").refused(&["parsing manifest sha256:"]),
        edited("manifest-1025-layers", |image| {
            let layer = image.manifest["layers"][0].clone();
            image.manifest["layers"] = Value::Array(vec![layer; 1025]);
        })
        .refused(&["manifest has 1025 layers, the limit is 1024"]),
        edited("manifest-10000-layers", |image| {
            let layer = image.manifest["layers"][0].clone();
            image.manifest["layers"] = Value::Array(vec![layer; 10_000]);
        })
        .refused(&["manifest has more than 20000 items, in layers"]),
        edited("control-manifest-1000-same-layers", |image| {
            let (layer, id) = (image.manifest["layers"][0].clone(), image.config["rootfs"]["diff_ids"][0].clone());
            image.manifest["layers"] = Value::Array(vec![layer; 1000]);
            image.config["rootfs"]["diff_ids"] = Value::Array(vec![id; 1000]);
        }),
        edited("manifest-config-of-5-MiB", |image| image.config["author"] = json!("a".repeat(5 << 20)))
            .refused(&["config of ", "over the limit of 4194304"]),
        edited("config-4-MiB-of-strings", |image| {
            image.config["config"]["Env"] = Value::Array(vec![json!(""); (LIMIT - 2000) / 3]);
        })
        .refused(&["config"]),
        edited("control-annotation-of-3-MiB", |image| {
            image.manifest["annotations"] = json!({"a": "b".repeat(3 << 20)});
        }),
        edited("digest-of-3-MiB", |image| image.manifest["layers"][0]["digest"] = json!("d".repeat(3 << 20)))
            .refused(&["reading manifest.layers[0]"]),
        edited("media-type-of-3-MiB", |image| image.manifest["layers"][0]["mediaType"] = json!("m".repeat(3 << 20)))
            .refused(&["which is no tar layer"]),
    ]
}

fn meanings() -> Vec<Case> {
    let manifest =
        |label: &str, field: &'static str, value: Value| edited(label, move |image| image.manifest[field] = value);
    vec![
        edited("control-one-layer", |_| {}),
        manifest("manifest-schema-1", "schemaVersion", json!(1)).refused(&["manifest has schemaVersion 1, not 2"]),
        manifest("manifest-no-layers", "layers", json!([])).refused(&["manifest has no layers"]),
        manifest("manifest-layers-no-list", "layers", json!({})).refused(&["layers"]),
        manifest("manifest-other-type", "mediaType", json!("text/html")).refused(&["neither image manifest nor"]),
        manifest("manifest-and-index", "manifests", json!([])).refused(&["layers"]),
        edited("layer-digest-is-a-path", |image| {
            image.manifest["layers"][0]["digest"] = json!("sha256:../../../../etc/passwd");
        })
        .refused(&["reading manifest.layers[0]", "hex digits instead of 64"]),
        edited("layer-sha512", |image| {
            image.manifest["layers"][0]["digest"] = json!(format!("sha512:{}", "0".repeat(128)))
        })
        .refused(&["is not sha256:…"]),
        edited("layer-type-unknown", |image| image.manifest["layers"][0]["mediaType"] = json!("application/x-lzma"))
            .refused(&["which is no tar layer"]),
        edited("layer-is-missing", |image| image.blobs.clear())
            .refused(&["importing layer 1/1 sha256:", "No such file or directory"]),
        edited("config-other-count", |image| image.config["rootfs"]["diff_ids"] = json!([]))
            .refused(&["manifest has 1 layers, but config has 0 diffIDs"]),
        edited("config-no-rootfs", |image| image.config["rootfs"] = json!(null)).refused(&["config has no rootfs"]),
        edited("config-created", |image| image.config["created"] = json!("9999999999-01-01T00:00:00Z"))
            .refused(&["reading the image's time of creation"]),
        edited("config-final-diffid", |image| {
            image.config["config"]["Labels"]["ostree.final-diffid"] = json!(digest(b"none"));
        })
        .refused(&["no layer has the diffID"]),
        edited("name-of-300-bytes", |_| {})
            .named(format!("example.com/{}@", "n".repeat(300)))
            .refused(&["name of 312 bytes", "255"]),
        // Short enough as it stands, too long as the ref that it becomes.
        edited("name-of-120-dots", |_| {})
            .named(format!("example.com/{}a@", "a.".repeat(60)))
            .refused(&["is too long for a ref"]),
        edited("name-with-dotdot", |_| {}).named("example.com/../x@".to_owned()).refused(&["has a bad repository"]),
    ]
}

/// An index that names `inner`.
fn index_of(inner: &str, size: usize) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{"mediaType": OCI_INDEX, "digest": inner,
        "size": size, "platform": {"architecture": "amd64", "os": "linux"}}]})
    .to_string()
    .into_bytes()
}

fn indexes() -> Vec<Case> {
    vec![
        // No digest can name itself; a source that gives out another blob under a name can make a circle of it.
        Case::new("index-loop", |dir| {
            put_layout(dir)?;
            let outer = index_of(&digest(b"loop"), 4);
            let name = put_blob(dir, &outer)?;
            fs::write(dir.join("blobs").join(digest(b"loop").replace(':', "/")), &outer).context("writing a blob")?;
            Ok(name)
        })
        .refused(&["mismatch: expected "]),
        Case::new("index-in-index", |dir| {
            put_layout(dir)?;
            let inner = index_of(&digest(b"none"), 4);
            let name = put_blob(dir, &inner)?;
            put_blob(dir, &index_of(&name, inner.len()))
        })
        .refused(&["is an index inside an index"]),
        document("index-empty", || json!({"mediaType": OCI_INDEX, "manifests": []}).to_string().into_bytes())
            .refused(&["index has no manifest for linux/"]),
        document("index-of-100000", || {
            let other = json!({"mediaType": "m", "digest": digest(b""), "size": 1, "platform": {"architecture": "x", "os": "y"}}).to_string();
            format!(r#"{{"mediaType":"{OCI_INDEX}","manifests":{}}}"#, list_of(&other, LIMIT - 200)).into_bytes()
        })
        .refused(&["parsing manifest sha256:", "manifest has more than 20000 items, in manifests"]),
        document("index-manifest-size", || index_of(&digest(b"none"), usize::MAX)).refused(&["reading index.manifests: size"]),
        document("index-names-nothing", || index_of(&digest(b"none"), 4)).refused(&["No such file or directory"]),
    ]
}
