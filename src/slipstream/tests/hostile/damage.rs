// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Layers that are not what their digests say: cut, padded, flipped, in every kind of place.

use anyhow::{Context, Result};
use serde_json::json;
use testkit::blob::{Blob, Packing, digest};
use testkit::image::Image;
use testkit::layer::Layer;

use crate::case::Case;

const PACKINGS: [(&str, Packing); 3] = [("plain", Packing::Tar), ("gzip", Packing::Gzip), ("zstd", Packing::Zstd)];
const LAYERS: usize = 3;

/// A way to damage bytes. Places are in 1/1000 of the length, or offsets in a plain tar.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Cut(usize),
    CutTo(usize),
    Pad(usize),
    Flip(usize),
}

impl Damage {
    fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Cut(count) => bytes.truncate(bytes.len() - count),
            Self::CutTo(part) => bytes.truncate(bytes.len() * part / 1000),
            Self::Pad(count) => bytes.resize(bytes.len() + count, 0),
            Self::Flip(part) => {
                let at = (bytes.len() - 1) * part / 1000;
                bytes[at] ^= 0x10;
            }
        }
    }

    fn name(self) -> String {
        match self {
            Self::Cut(count) => format!("cut_by_{count}"),
            Self::CutTo(part) => format!("cut_to_{part}"),
            Self::Pad(count) => format!("padded_by_{count}"),
            Self::Flip(part) => format!("flipped_at_{part}"),
        }
    }

    /// Returns the blob's own verdict.
    fn verdict(self) -> &'static str {
        match self {
            Self::Cut(_) | Self::CutTo(_) | Self::Pad(_) => "size mismatch: expected ",
            Self::Flip(_) => "sha256 mismatch: expected ",
        }
    }
}

const DAMAGES: [Damage; 12] = [
    Damage::Cut(1),
    Damage::CutTo(0),
    Damage::CutTo(1),
    Damage::CutTo(500),
    Damage::Pad(1),
    Damage::Pad(70_000),
    Damage::Flip(0),
    Damage::Flip(2),
    Damage::Flip(100),
    Damage::Flip(500),
    Damage::Flip(900),
    Damage::Flip(1000),
];

/// A layer of a few files; `n` makes it another.
fn tar(n: usize) -> Vec<u8> {
    let noise: String =
        (0..30_000_u32).map(|at| char::from(b'a' + (at.wrapping_mul(40_503) >> 9) as u8 % 26)).collect();
    let mut layer = Layer::new();
    layer.dir("usr").dir("usr/lib").file(&format!("usr/lib/{n}"), &noise).xattr("trusted.x", b"y");
    layer.file("usr/lib/x", "x").symlink("usr/lib/link", "x").file("usr/lib/odd", &noise[..777]);
    layer.finish()
}

fn three(image: &mut Image, packing: Packing) -> Result<()> {
    (0..LAYERS).try_for_each(|n| image.push(&Blob::new(tar(n), packing)))
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, packing) in PACKINGS {
        cases.push(Case::image(&format!("{name}_layers"), move |image| three(image, packing)));
        for at in 0..LAYERS {
            // All of them in the middle; in the first and the last layer one of each kind.
            for damage in DAMAGES.into_iter().step_by(if at == 1 { 1 } else { 3 }) {
                cases.push(damaged_blob(name, packing, at, damage));
            }
            cases.push(wrong_diff_id(name, packing, at));
        }
        for (label, damage, words) in LIES {
            cases.push(damaged_tar(&format!("{name}_{label}"), packing, damage, words));
        }
        for (label, value, words) in SIZES {
            cases.push(wrong_size(&format!("{name}_{label}"), packing, value, words));
        }
    }
    cases
}

/// The bytes are not those of the descriptor: a bad disk.
fn damaged_blob(name: &str, packing: Packing, at: usize, damage: Damage) -> Case {
    let place = format!("importing layer {}/{LAYERS} sha256:", at + 1);
    Case::image(&format!("{name}_blob_{}_{}", at + 1, damage.name()), move |image| {
        three(image, packing)?;
        damage.apply(&mut image.blobs[at].1);
        Ok(())
    })
    .refused(&[&place, damage.verdict(), ", got "])
}

fn wrong_diff_id(name: &str, packing: Packing, at: usize) -> Case {
    let place = format!("importing layer {}/{LAYERS} sha256:", at + 1);
    Case::image(&format!("{name}_diffid_{}", at + 1), move |image| {
        three(image, packing)?;
        image.config["rootfs"]["diff_ids"][at] = json!(digest(b"something else"));
        Ok(())
    })
    .refused(&[&place, "diffID mismatch: expected sha256:", ", got sha256:", " bytes"])
}

/// Label, what is done to a tar, and the words of the error.
type Lie = (&'static str, fn(&mut Vec<u8>), &'static [&'static str]);

/// Offsets in the tar of `tar(0)`: two directories, then the PAX header of the first file.
const LIES: [Lie; 8] = [
    ("tar_cut_in_header", |tar| tar.truncate(700), &["after offset 512", "archive ends inside a header"]),
    ("tar_cut_in_content", |tar| tar.truncate(3000), &["importing usr/lib/0", "reading a file of the layer"]),
    ("tar_cut_in_padding", cut_in_padding, &["reading tar header after offset "]),
    ("tar_name", |tar| tar[3] ^= 1, &["header checksum mismatch: expected "]),
    ("tar_checksum", |tar| tar[148] = b'9', &["is not an octal number"]),
    ("tar_size", |tar| tar[1024 + 124] = b'x', &["after offset 1024", "reading "]),
    ("tar_no_tar", |tar| tar.fill(b'x'), &["after offset 0", "reading "]),
    ("tar_half_a_block_of_zeros", |tar| *tar = vec![0; 300], &["archive ends inside a header"]),
];

/// The last file has 777 bytes; its padding goes to 1024.
fn cut_in_padding(tar: &mut Vec<u8>) {
    let end = tar.iter().rposition(|byte| *byte != 0).unwrap_or_default();
    tar.truncate(end + 100);
}

/// All digests are right, and the tar is wrong: a bad builder.
fn damaged_tar(label: &str, packing: Packing, damage: fn(&mut Vec<u8>), words: &[&str]) -> Case {
    Case::image(label, move |image| {
        let mut tar = tar(0);
        damage(&mut tar);
        image.push(&Blob::new(tar, packing))
    })
    .refused(&[&["importing layer 1/1 sha256:"], words].concat())
}

const SIZES: [(&str, i128, &[&str]); 7] = [
    ("size_one_less", -1, &["size mismatch: expected ", ", got more"]),
    ("size_one_more", 1, &["size mismatch: expected ", ", got "]),
    ("size_zero", i128::MIN, &["size mismatch: expected 0 bytes, got more"]),
    ("size_2_to_the_39", 1 << 39, &["not enough space"]),
    ("size_2_to_the_63", 1 << 63, &["reading manifest.layers[1]: size"]),
    ("size_2_to_the_64_minus_1", i128::MAX, &["reading manifest.layers[1]: size"]),
    ("size_negative", -1_000_000, &["expected size to be a count"]),
];

fn wrong_size(label: &str, packing: Packing, add: i128, words: &[&str]) -> Case {
    let label = label.to_owned();
    Case::image(&label.clone(), move |image| {
        three(image, packing)?;
        let size = &mut image.manifest["layers"][1]["size"];
        let old = size.as_u64().context("reading a size")?;
        let new = if add == i128::MIN { 0 } else { i128::from(old).saturating_add(add) };
        *size = match (u64::try_from(new), i64::try_from(new)) {
            (Ok(new), _) => json!(new),
            (_, Ok(new)) => json!(new),
            _ => json!(u64::MAX),
        };
        Ok(())
    })
    .refused(words)
}
