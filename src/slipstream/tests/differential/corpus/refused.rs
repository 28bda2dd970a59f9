// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Images that no importer may accept.

use anyhow::{Context, Result};
use serde_json::json;
use tar::EntryType;
use testkit::blob::{Blob, Packing};
use testkit::image::Image;
use testkit::layer::Layer;

use super::base::Base::Composefs;
use super::case::{Case, case};

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<_> =
        [entries(), streams(), metadata(), chunks()].into_iter().flatten().map(Case::refused).collect();
    cases.push(chunk_that_ends_early());
    cases
}

fn entries() -> Vec<Case> {
    vec![
        case("dotdot_first", Composefs).layer(|l| {
            l.file("../usr/lib/f", "f\n");
        }),
        case("dotdot_middle", Composefs).layer(|l| {
            l.file("usr/lib/../f", "f\n");
        }),
        case("dotdot_whiteout", Composefs).layer(|l| {
            l.file("usr/lib/../.wh.bin", "");
        }),
        case("char", Composefs).layer(|l| {
            l.entry(EntryType::Char, b"usr/lib/c", b"", b"");
        }),
        case("block", Composefs).layer(|l| {
            l.entry(EntryType::Block, b"usr/lib/b", b"", b"");
        }),
        case("fifo", Composefs).layer(|l| {
            l.entry(EntryType::Fifo, b"usr/lib/p", b"", b"");
        }),
        case("hardlink_outside", Composefs).layer(|l| {
            l.hardlink("usr/lib/n", "usr/lib/data/b");
        }),
        case("hardlink_dotdot", Composefs).layer(|l| {
            l.file("usr/lib/f", "f\n").hardlink("usr/lib/n", "../../etc/shadow");
        }),
        case("not_utf8", Composefs).layer(|l| {
            l.entry(EntryType::Regular, b"usr/lib/\xff\xfe", b"", b"f\n");
        }),
        case("whiteout_of_nothing", Composefs).layer(|l| {
            l.file("usr/lib/data/.wh.", "");
        }),
        case("file_then_dir", Composefs).layer(|l| {
            l.file("usr/lib/d", "file\n").dir("usr/lib/d");
        }),
        case("dir_then_file", Composefs).layer(|l| {
            l.dir("usr/lib/d").file("usr/lib/d", "file\n");
        }),
        case("below_a_file", Composefs).layer(|l| {
            l.file("usr/lib/f", "f\n").file("usr/lib/f/below", "g\n");
        }),
    ]
}

/// A layer of some size, so that there is something to cut off.
fn filled() -> Vec<u8> {
    let mut layer = Layer::new();
    layer.file("usr/lib/f", &"0123456789".repeat(500));
    layer.finish()
}

fn streams() -> Vec<Case> {
    let tar = filled();
    let mut cut = Blob::new(tar.clone(), Packing::Gzip);
    cut.packed.truncate(cut.packed.len() / 2);
    let mut checksum = tar.clone();
    checksum[0] ^= 1;
    let mut unknown = Blob::new(tar.clone(), Packing::Gzip);
    unknown.media_type = "application/vnd.example.layer".to_owned();
    let mut wrong = Blob::new(tar.clone(), Packing::Gzip);
    wrong.media_type = "application/vnd.oci.image.layer.v1.tar+zstd".to_owned();
    vec![
        case("gzip_cut", Composefs).blob(cut),
        case("tar_cut", Composefs).blob(Blob::new(tar[..2048].to_vec(), Packing::Gzip)),
        case("tar_checksum", Composefs).blob(Blob::new(checksum, Packing::Gzip)),
        case("media_type", Composefs).blob(unknown),
        case("media_type_wrong", Composefs).blob(wrong),
        case("blob_digest", Composefs).blob(Blob::new(tar.clone(), Packing::Gzip)).edit(flip_last_blob),
        case("blob_missing", Composefs).blob(Blob::new(tar, Packing::Gzip)).edit(|image| {
            image.blobs.clear();
            Ok(())
        }),
    ]
}

fn flip_last_blob(image: &mut Image) -> Result<()> {
    let (_, data) = image.blobs.last_mut().context("finding the last blob")?;
    // The time in the gzip header: the stream still unpacks to the same bytes.
    data[4] ^= 1;
    Ok(())
}

fn metadata() -> Vec<Case> {
    vec![
        case("diffid_unknown", Composefs).edit(|image| {
            image.config["config"]["Labels"]["ostree.final-diffid"] = json!(format!("sha256:{}", "0".repeat(64)));
            Ok(())
        }),
        case("base_layer_twice", Composefs).edit(|image| {
            let layers = image.manifest["layers"].as_array_mut().context("finding layers")?;
            let last = layers.last().context("finding the last layer")?.clone();
            layers.push(last);
            let ids = image.config["rootfs"]["diff_ids"].as_array_mut().context("finding diff_ids")?;
            let last = ids.last().context("finding the last diffID")?.clone();
            ids.push(last);
            Ok(())
        }),
        case("no_layers", Composefs).edit(|image| {
            image.manifest["layers"] = json!([]);
            image.config["rootfs"]["diff_ids"] = json!([]);
            Ok(())
        }),
    ]
}

const OBJECTS: &str = "sysroot/ostree/repo/objects";
/// The checksum of nothing, which is how no xattrs are written down.
const NO_XATTRS: &str = "e3/b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Returns where an object would be whose checksum is not that of any.
fn object(extension: &str) -> String {
    format!("{OBJECTS}/12/{}.{extension}", "3".repeat(62))
}

/// Returns where the attributes are that most objects share: none.
fn xattrs() -> String {
    format!("{OBJECTS}/{NO_XATTRS}.file-xattrs")
}

/// Layers that claim to be chunks of the base.
fn chunks() -> Vec<Case> {
    vec![
        case("chunk_checksum", Composefs)
            .layer(|l| {
                l.file(&xattrs(), "").hardlink(&object("file-xattrs-link"), &xattrs());
                l.file(&object("file"), "not what its name says\n");
            })
            .edit(last_is_chunk),
        case("chunk_file_alone", Composefs)
            .layer(|l| {
                l.file(&object("file"), "without its xattrs\n");
            })
            .edit(last_is_chunk),
        case("chunk_metadata", Composefs)
            .layer(|l| {
                l.file(&object("dirtree"), "");
            })
            .edit(last_is_chunk),
    ]
}

fn chunk_that_ends_early() -> Case {
    case("chunk_xattrs_alone", Composefs)
        .layer(|l| {
            l.file(&xattrs(), "").hardlink(&object("file-xattrs-link"), &xattrs());
        })
        .edit(last_is_chunk)
        .peer_only("the peer does not miss the object that belongs to the last xattrs")
}

/// Makes the last layer one of the ostree layers.
pub fn last_is_chunk(image: &mut Image) -> Result<()> {
    let last = image.config["rootfs"]["diff_ids"].as_array().and_then(|ids| ids.last());
    let last = last.context("finding the last diffID")?.clone();
    image.config["config"]["Labels"]["ostree.final-diffid"] = last;
    Ok(())
}
