// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whole images: packings, media types, index, labels, times, images without ostree.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testkit::blob::{Blob, Packing};
use testkit::image::Image;
use testkit::layer::Layer;

use super::base::Base::{Composefs, Hostname, Plain, Selinux};
use super::case::{Case, case, plain};
use super::refused::last_is_chunk;

pub fn cases() -> Vec<Case> {
    [bases(), packings(), metadata(), without_ostree()].into_iter().flatten().collect()
}

fn bases() -> Vec<Case> {
    vec![
        case("base_chunked", Composefs),
        case("base_one_layer", Plain),
        case("base_selinux", Selinux),
        case("base_hostname", Hostname)
            .differs("the published peer does not yet clean it", &["merge -/usr/etc/hostname"]),
    ]
}

fn some(l: &mut Layer) {
    l.file("usr/lib/one", &"one\n".repeat(2000)).file("usr/lib/two", "two\n");
}

fn packings() -> Vec<Case> {
    vec![
        case("packing_tar", Composefs).packed(Packing::Tar, some),
        case("packing_zstd", Composefs).packed(Packing::Zstd, some),
        case("packing_zstd_frames", Composefs).packed(Packing::ZstdFrames, some),
        case("packing_gzip_members", Composefs).packed(Packing::GzipMembers, some).ours_only(
            "the published peer reads the first member only",
            &["-00644 0 0   8000 /usr/lib/one", "-00644 0 0      4 /usr/lib/two"],
        ),
        case("packing_gzip_garbage", Composefs)
            .packed(Packing::GzipGarbage, some)
            .peer_only("bytes that are neither gzip nor padding hide behind a digest that was not meant for them"),
        case("packing_gzip_crc", Composefs)
            .blob(broken_crc())
            .peer_only("the peer stops at the end of the tar, before the checksum of the stream"),
        case("tar_padding", Composefs).blob(padded(64 * 1024, 0)),
        case("tar_trailing_garbage", Composefs).blob(padded(64 * 1024, b'x')),
        case("tar_no_end", Composefs).blob(unended()),
        case("layer_twice", Composefs)
            .layer(some)
            .layer(|l| {
                l.file("usr/lib/.wh.one", "");
            })
            .layer(some),
    ]
}

/// A gzip stream that unpacks, but not to what its last eight bytes say.
fn broken_crc() -> Blob {
    let mut layer = Layer::new();
    some(&mut layer);
    let mut blob = Blob::new(layer.finish(), Packing::Gzip);
    let at = blob.packed.len() - 8;
    blob.packed[at] ^= 1;
    blob
}

/// A tar with more behind its end than the two zero blocks.
fn padded(len: usize, byte: u8) -> Blob {
    let mut layer = Layer::new();
    some(&mut layer);
    let mut tar = layer.finish();
    tar.resize(tar.len() + len, byte);
    Blob::new(tar, Packing::Gzip)
}

/// A tar that stops after its last entry.
fn unended() -> Blob {
    let mut layer = Layer::new();
    some(&mut layer);
    let mut tar = layer.finish();
    tar.truncate(tar.len() - 1024);
    Blob::new(tar, Packing::Gzip)
}

fn metadata() -> Vec<Case> {
    vec![
        case("image_index", Composefs).layer(some).edit(|image| {
            image.indexed = true;
            Ok(())
        }),
        case("docker_media_types", Composefs).layer(some).edit(docker).differs(
            "skopeo writes the config anew on the way and names its own one",
            &["metadata ostree.manifest/config/digest"],
        ),
        case("annotations_stripped", Composefs).layer(some).edit(|image| {
            let manifest = image.manifest.as_object_mut().context("finding the manifest")?;
            manifest.remove("annotations");
            for layer in image.manifest["layers"].as_array_mut().context("finding layers")? {
                layer.as_object_mut().context("finding a layer")?.remove("annotations");
            }
            Ok(())
        }),
        case("created_annotation", Composefs).layer(some).edit(|image| {
            image.manifest["annotations"]["org.opencontainers.image.created"] = json!("2025-01-02T03:04:05.678+02:00");
            Ok(())
        }),
        case("created_missing", Composefs).layer(some).edit(|image| {
            image.config.as_object_mut().context("finding the config")?.remove("created");
            Ok(())
        }),
        case("created_annotation_broken", Composefs).layer(some).edit(|image| {
            image.manifest["annotations"]["org.opencontainers.image.created"] = json!("yesterday");
            Ok(())
        }),
        case("created_annotation_before_1970", Composefs).edit(|image| {
            image.manifest["annotations"]["org.opencontainers.image.created"] = json!("0001-01-01 00:00:00Z");
            Ok(())
        }),
        case("created_before_1970", Composefs).edit(|image| {
            image.config["created"] = json!("1960-02-03T04:05:06.7Z");
            Ok(())
        }),
        case("created_broken", Composefs)
            .layer(some)
            .edit(|image| {
                image.config["created"] = json!("yesterday");
                image.config["history"][0]["created"] = json!("the day before");
                Ok(())
            })
            .ours_only(
                "Go's parser of the config knows no other time than RFC 3339",
                &["-00644 0 0      4 /usr/lib/two"],
            ),
        case("chunk_without_objects", Composefs).layer(some).edit(last_is_chunk),
        case("diffid_wrong", Composefs)
            .layer(some)
            .edit(|image| {
                let ids = image.config["rootfs"]["diff_ids"].as_array_mut().context("finding diff_ids")?;
                *ids.last_mut().context("finding the last diffID")? = json!(format!("sha256:{}", "1".repeat(64)));
                Ok(())
            })
            .peer_only("the peer never looks at the diffIDs"),
        case("metadata_unknown_fields", Composefs).layer(some).edit(unknown_fields),
        case("metadata_rich", Composefs).layer(some).edit(rich),
        case("other_architecture", Composefs).layer(some).edit(|image| {
            image.config["architecture"] = json!("s390x");
            Ok(())
        }),
    ]
}

/// The same image as a Docker registry would hold it.
fn docker(image: &mut Image) -> Result<()> {
    image.manifest["mediaType"] = json!("application/vnd.docker.distribution.manifest.v2+json");
    image.manifest["config"]["mediaType"] = json!("application/vnd.docker.container.image.v1+json");
    for layer in image.manifest["layers"].as_array_mut().context("finding layers")? {
        layer["mediaType"] = json!("application/vnd.docker.image.rootfs.diff.tar.gzip");
    }
    Ok(())
}

/// Fields that no version of the format defines.
fn unknown_fields(image: &mut Image) -> Result<()> {
    for value in [&mut image.manifest, &mut image.config] {
        value["x.vendor"] = json!({"a": [1, 2.5, null]});
    }
    image.config["config"]["x.vendor"] = json!(true);
    image.manifest["layers"][0]["x.vendor"] = json!("layer");
    Ok(())
}

/// Every field that the format does define, and text that is awkward to write.
fn rich(image: &mut Image) -> Result<()> {
    let text = "quote \" back \\ tab \t line \n high \u{e9} \u{1f600} low \u{1} slash / <&>";
    let config = &mut image.config["config"];
    for (key, value) in [
        ("User", json!("1000:1000")),
        ("ExposedPorts", json!({"80/tcp": {}, "53/udp": {}})),
        ("Env", json!(["PATH=/usr/bin", text])),
        ("Entrypoint", json!(["/bin/sh"])),
        ("Cmd", json!(["-c", text])),
        ("Volumes", json!({"/var/b": {}, "/var/a": {}})),
        ("WorkingDir", json!("/root")),
        ("StopSignal", json!("SIGRTMIN+3")),
    ] {
        config[key] = value;
    }
    config["Labels"]["text"] = json!(text);
    config["Labels"]["\u{e9}"] = json!("after z");
    image.config["author"] = json!(text);
    image.config["variant"] = json!("v3");
    image.config["os.version"] = json!("1");
    image.config["os.features"] = json!(["f"]);
    let history: &mut Vec<Value> = image.config["history"].as_array_mut().context("finding history")?;
    history.push(json!({"created": "2024-01-01T00:00:00Z", "author": "a", "created_by": text,
        "comment": "c", "empty_layer": true}));
    image.manifest["artifactType"] = json!("application/vnd.example");
    image.manifest["annotations"]["text"] = json!(text);
    image.manifest["layers"][0]["urls"] = json!(["https://example.com/layer"]);
    Ok(())
}

fn without_ostree() -> Vec<Case> {
    vec![
        plain("plain_image")
            .layer(|l| {
                l.dir("usr").mode(0o755).file("usr/bin/a", "a\n").file("etc/conf", "c\n").file("srv/f", "f\n");
            })
            .layer(|l| {
                l.file("usr/bin/.wh.a", "").file("usr/bin/b", "b\n");
            })
            .ours_only(
                "the published peer knows images with an ostree commit only",
                &["-00644 0 0      2 /usr/bin/b", "-00644 0 0      2 /usr/etc/conf", "-00644 0 0      2 /srv/f"],
            ),
        case("diffid_label_stripped", Plain)
            .edit(|image| {
                let labels = image.config["config"]["Labels"].as_object_mut().context("finding labels")?;
                labels.remove("ostree.final-diffid");
                Ok(())
            })
            .ours_only(
                "without the label every layer is a derived one",
                &["-00755 0 0     17 /usr/bin/tool", "-00644 0 0     17 /usr/etc/conf"],
            ),
    ]
}
