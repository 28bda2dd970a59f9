// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The other generations of ostree layers: the same objects, their xattrs written as
//! older and newer versions of upstream's exporter write them.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use serde_json::json;
use tar::{Archive, EntryType};
use testkit::blob::{Blob, Packing, digest};
use testkit::image::Image;
use testkit::layer::Layer;

use super::base::Base::{Composefs, Plain};
use super::case::{Case, case};

pub fn cases() -> Vec<Case> {
    vec![
        case("newest", Plain).edit(to_newest),
        case("newest_chunks", Composefs).edit(to_newest),
        case("oldest", Plain).edit(to_oldest),
    ]
}

/// One entry of a layer, read whole: the bases are tiny.
struct Item {
    kind: EntryType,
    mode: u32,
    owner: (u64, u64),
    path: String,
    link: String,
    data: Vec<u8>,
}

fn read_items(packed: &[u8]) -> Result<Vec<Item>> {
    let mut archive = Archive::new(GzDecoder::new(packed));
    let mut items = Vec::new();
    for entry in archive.entries().context("reading a layer")? {
        let mut entry = entry.context("reading a layer")?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).context("reading a name");
        let path = text(&entry.path_bytes())?;
        let link = text(&entry.link_name_bytes().unwrap_or_default())?;
        let header = entry.header();
        let (kind, mode) = (header.entry_type(), header.mode().context("reading a mode")?);
        let owner = (header.uid().context("reading a uid")?, header.gid().context("reading a gid")?);
        let mut data = Vec::new();
        entry.read_to_end(&mut data).context("reading a file")?;
        items.push(Item { kind, mode, owner, path, link, data });
    }
    Ok(items)
}

/// Writes every layer of the base anew; `change` gives the entries their new form.
fn rewrite(image: &mut Image, change: fn(Vec<Item>) -> Vec<Item>) -> Result<()> {
    let count = image.manifest["layers"].as_array().context("finding layers")?.len();
    for n in 0..count {
        let layer = &image.manifest["layers"][n];
        let old = layer["digest"].as_str().context("finding a digest")?;
        let mut tar = Layer::new();
        for item in change(read_items(&image.read_blob(old)?)?) {
            tar.mtime(0).mode(item.mode).owner(item.owner.0, item.owner.1);
            tar.entry(item.kind, item.path.as_bytes(), item.link.as_bytes(), &item.data);
        }
        let blob = Blob::new(tar.finish(), Packing::Gzip);
        let name = digest(&blob.packed);
        image.manifest["layers"][n]["digest"] = json!(name);
        image.manifest["layers"][n]["size"] = json!(blob.packed.len());
        image.config["rootfs"]["diff_ids"][n] = json!(digest(&blob.tar));
        image.blobs.push((name, blob.packed));
    }
    let last = image.config["rootfs"]["diff_ids"][count - 1].clone();
    image.config["config"]["Labels"]["ostree.final-diffid"] = last;
    Ok(())
}

/// The newest: the xattrs of an object stand in its own `-link`, a regular file.
fn to_newest(image: &mut Image) -> Result<()> {
    rewrite(image, |items| {
        let mut shared = BTreeMap::new();
        let mut out = Vec::new();
        for mut item in items {
            if item.path.ends_with(".file-xattrs") {
                shared.insert(item.path, item.data);
                continue;
            }
            if item.path.ends_with(".file-xattrs-link")
                && let Some(xattrs) = shared.get(&item.link)
            {
                (item.kind, item.data) = (EntryType::Regular, xattrs.clone());
                item.link.clear();
            }
            out.push(item);
        }
        out
    })
}

/// The oldest: shared xattrs lie in a folder of their own.
fn to_oldest(image: &mut Image) -> Result<()> {
    rewrite(image, |items| {
        items
            .into_iter()
            .map(|mut item| {
                item.path = oldest_path(&item.path);
                if item.kind == EntryType::Link {
                    item.link = oldest_path(&item.link);
                }
                item
            })
            .collect()
    })
}

fn oldest_path(path: &str) -> String {
    if let Some(object) = path.strip_suffix(".file-xattrs") {
        let checksum = object.rsplit("objects/").next().unwrap_or_default().replace('/', "");
        return format!("sysroot/ostree/repo/xattrs/{checksum}");
    }
    path.replace(".file-xattrs-link", ".file.xattrs")
}
