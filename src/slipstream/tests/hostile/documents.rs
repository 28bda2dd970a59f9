// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Manifests, configs and indexes that are too large, too deep, or about something else.

use serde_json::{Value, json};
use testkit::blob::digest;
use testkit::image::Image;
use testkit::layout::{Layout, OCI_INDEX};

use crate::case::Case;

/// The largest document that may be.
const LIMIT: usize = 4 << 20;

/// A layout that holds these bytes as the document that is asked for.
fn document(label: &str, bytes: impl FnOnce() -> Vec<u8> + Send + 'static) -> Case {
    Case::new(label, |dir| Layout::create(dir)?.write(&bytes()))
}

/// An image of one layer whose manifest or config is changed.
fn edited(label: &str, edit: impl FnOnce(&mut Image) + Send + 'static) -> Case {
    Case::image(label, |image| {
        image.layer(|layer| {
            layer.file("usr/x", "x");
        })?;
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
        document("manifest_5_mib", || vec![b' '; 5 << 20]).refused(&["larger than the limit of 4194304 bytes"]),
        document("manifest_4_mib_of_nothing", || vec![b' '; LIMIT]).refused(&["parsing manifest sha256:"]),
        document("manifest_deep", || [&br#"{"x":"#[..], &b"[".repeat(LIMIT - 10)].concat())
            .refused(&["parsing manifest sha256:"]),
        document("manifest_deep_objects", || br#"{"a":"#.repeat(LIMIT / 5)).refused(&["parsing manifest sha256:"]),
        document("manifest_not_utf8", || b"{\"\xff\":1}".to_vec()).refused(&["parsing manifest sha256:"]),
        document("manifest_empty", Vec::new).refused(&["parsing manifest sha256:"]),
        unknown("manifest_4_mib_of_numbers", "0").refused(&["parsing manifest sha256:"]),
        unknown("manifest_4_mib_of_lists", "[]").refused(&["parsing manifest sha256:"]),
        unknown("manifest_4_mib_of_strings", "\"\"").refused(&["parsing manifest sha256:"]),
        edited("manifest_1025_layers", |image| {
            let layer = image.manifest["layers"][0].clone();
            image.manifest["layers"] = Value::Array(vec![layer; 1025]);
        })
        .refused(&["manifest has 1025 layers, the limit is 1024"]),
        edited("manifest_10000_layers", |image| {
            let layer = image.manifest["layers"][0].clone();
            image.manifest["layers"] = Value::Array(vec![layer; 10_000]);
        })
        .refused(&["manifest has more than 20000 items, in layers"]),
        edited("manifest_1000_same_layers", |image| {
            let (layer, id) = (image.manifest["layers"][0].clone(), image.config["rootfs"]["diff_ids"][0].clone());
            image.manifest["layers"] = Value::Array(vec![layer; 1000]);
            image.config["rootfs"]["diff_ids"] = Value::Array(vec![id; 1000]);
        }),
        edited("manifest_config_of_5_mib", |image| image.config["author"] = json!("a".repeat(5 << 20)))
            .refused(&["config of ", "over the limit of 4194304"]),
        edited("config_4_mib_of_strings", |image| {
            image.config["config"]["Env"] = Value::Array(vec![json!(""); (LIMIT - 2000) / 3]);
        })
        .refused(&["config"]),
        edited("annotation_of_3_mib", |image| {
            image.manifest["annotations"] = json!({"a": "b".repeat(3 << 20)});
        }),
        edited("digest_of_3_mib", |image| image.manifest["layers"][0]["digest"] = json!("d".repeat(3 << 20)))
            .refused(&["reading manifest.layers[0]"]),
        edited("media_type_of_3_mib", |image| image.manifest["layers"][0]["mediaType"] = json!("m".repeat(3 << 20)))
            .refused(&["which is no tar layer"]),
    ]
}

fn meanings() -> Vec<Case> {
    let manifest =
        |label: &str, field: &'static str, value: Value| edited(label, move |image| image.manifest[field] = value);
    vec![
        edited("one_layer", |_| {}),
        manifest("manifest_schema_1", "schemaVersion", json!(1)).refused(&["manifest has schemaVersion 1, not 2"]),
        manifest("manifest_no_layers", "layers", json!([])).refused(&["manifest has no layers"]),
        manifest("manifest_layers_no_list", "layers", json!({})).refused(&["layers"]),
        manifest("manifest_other_type", "mediaType", json!("text/html")).refused(&["neither image manifest nor"]),
        manifest("manifest_and_index", "manifests", json!([])).refused(&["layers"]),
        edited("layer_digest_is_a_path", |image| {
            image.manifest["layers"][0]["digest"] = json!("sha256:../../../../etc/passwd");
        })
        .refused(&["reading manifest.layers[0]", "hex digits instead of 64"]),
        edited("layer_sha512", |image| {
            image.manifest["layers"][0]["digest"] = json!(format!("sha512:{}", "0".repeat(128)))
        })
        .refused(&["is not sha256:…"]),
        edited("layer_type_unknown", |image| image.manifest["layers"][0]["mediaType"] = json!("application/x-lzma"))
            .refused(&["which is no tar layer"]),
        edited("layer_is_missing", |image| image.blobs.clear())
            .refused(&["importing layer 1/1 sha256:", "No such file or directory"]),
        edited("config_other_count", |image| image.config["rootfs"]["diff_ids"] = json!([]))
            .refused(&["manifest has 1 layers, but config has 0 diffIDs"]),
        edited("config_no_rootfs", |image| image.config["rootfs"] = json!(null)).refused(&["config has no rootfs"]),
        edited("config_created", |image| image.config["created"] = json!("9999999999-01-01T00:00:00Z")),
        edited("config_final_diffid", |image| {
            image.config["config"]["Labels"]["ostree.final-diffid"] = json!(digest(b"none"));
        })
        .refused(&["no layer has the diffID"]),
        edited("name_of_300_bytes", |_| {})
            .named(format!("example.com/{}@", "n".repeat(300)))
            .refused(&["name of 312 bytes", "255"]),
        // Short enough as it stands, too long as the ref that it becomes.
        edited("name_of_120_dots", |_| {})
            .named(format!("example.com/{}a@", "a.".repeat(60)))
            .refused(&["is too long for a ref"]),
        edited("name_with_dotdot", |_| {}).named("example.com/../x@".to_owned()).refused(&["has a bad repository"]),
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
        Case::new("index_loop", |dir| {
            let (layout, outer) = (Layout::create(dir)?, index_of(&digest(b"loop"), 4));
            layout.write_as(&digest(b"loop"), &outer)?;
            layout.write(&outer)
        })
        .refused(&["mismatch: expected "]),
        Case::new("index_in_index", |dir| {
            let (layout, inner) = (Layout::create(dir)?, index_of(&digest(b"none"), 4));
            let name = layout.write(&inner)?;
            layout.write(&index_of(&name, inner.len()))
        })
        .refused(&["is an index inside an index"]),
        document("index_empty", || json!({"mediaType": OCI_INDEX, "manifests": []}).to_string().into_bytes())
            .refused(&["index has no manifest for linux/"]),
        // Every machine's: nobody is to boot what the processor may not have.
        document("index_of_a_variant", || {
            let text = String::from_utf8_lossy(&index_of(&digest(b"none"), 4)).into_owned();
            text.replace(r#""os":"linux""#, r#""os":"linux","variant":"v3\n""#).into_bytes()
        })
        .refused(&["index has no manifest for linux/", r"only for: linux/amd64/v3\n"]),
        document("index_of_100000", || {
            let other = json!({"mediaType": "m", "digest": digest(b""), "size": 1, "platform": {"architecture": "x", "os": "y"}}).to_string();
            format!(r#"{{"mediaType":"{OCI_INDEX}","manifests":{}}}"#, list_of(&other, LIMIT - 200)).into_bytes()
        })
        .refused(&["parsing manifest sha256:", "manifest has more than 20000 items, in manifests"]),
        document("index_manifest_size", || index_of(&digest(b"none"), usize::MAX)).refused(&["reading index.manifests: size"]),
        document("index_names_nothing", || index_of(&digest(b"none"), 4)).refused(&["No such file or directory"]),
    ]
}
