// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Little input that becomes much: of time, memory or disk.

use std::io::{Read, Write, repeat};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::EntryType;
use testkit::blob::{Blob, Packing, digest, hex};
use testkit::image::Image;
use testkit::layer::LongNames;

use crate::case::Case;
use crate::places::small;

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

pub fn cases() -> Vec<Case> {
    let mut cases = sizes();
    cases.extend(memory());
    cases
}

/// The header of a file, without its content.
fn header(path: &str, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(size);
    let name = &mut header.as_old_mut().name;
    name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// Adds a gzip layer: `head`, then so many zeros, which gzip makes a thousandth of.
fn push_zeros(image: &mut Image, head: &[u8], zeros: u64, honest: bool) -> Result<()> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    let mut hash = Sha256::new();
    packed.write_all(head).context("packing")?;
    hash.update(head);
    let mut left = repeat(0).take(zeros);
    let mut block = vec![0; 1 << 20];
    loop {
        let n = left.read(&mut block).context("making zeros")?;
        if n == 0 {
            break;
        }
        packed.write_all(&block[..n]).context("packing")?;
        hash.update(&block[..n]);
    }
    let packed = packed.finish().context("packing")?;
    let diff_id = if honest { format!("sha256:{}", hex(&hash.finalize())) } else { digest(b"") };
    let name = digest(&packed);
    let layers = image.manifest["layers"].as_array_mut().context("finding the layers")?;
    layers.push(json!({"mediaType": GZIP, "digest": name, "size": packed.len()}));
    let ids = image.config["rootfs"]["diff_ids"].as_array_mut().context("finding the diffIDs")?;
    ids.push(json!(diff_id));
    image.blobs.push((name, packed));
    Ok(())
}

const GIB: u64 = 1 << 30;

fn sizes() -> Vec<Case> {
    vec![
        // 1000:1, and the file is as large as it says: 64 MiB are a file that may be.
        Case::image("zeros_64_mib", |image| push_zeros(image, &header("usr/x", GIB >> 4), GIB >> 4, true)),
        small(
            Case::image("file_of_zeros", |image| push_zeros(image, &header("usr/x", GIB / 4), GIB / 4, true)),
            60_000,
        )
        .refused(&["importing layer 1/1", "not enough space: a file of 268435456 bytes"]),
        Case::image("8_eib_in_the_header", |image| {
            let mut head = header("usr/x", 1 << 32);
            head[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
            head[148..156].fill(b' ');
            let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
            head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            push_zeros(image, &head, GIB / 8, true)
        })
        .refused(&["importing layer 1/1"]),
        Case::image("after_the_end", |image| push_zeros(image, &header("usr/x", 0), GIB / 4, false)).refused(&[
            "importing layer 1/1",
            "diffID mismatch: expected ",
            " after 268435968 bytes",
        ]),
        // A gzip in a gzip is no tar: nobody unpacks twice.
        Case::image("nested_gzip", |image| {
            let inner = Blob::new(vec![0; 8 << 20], Packing::Gzip).packed;
            image.push(&Blob::new(inner, Packing::Gzip))
        })
        .refused(&["importing layer 1/1", "reading tar header after offset 0"]),
        Case::image("a_million_empty_members", |image| {
            let empty = Blob::new(Vec::new(), Packing::Gzip).packed;
            push_packed(image, empty.repeat(200_000), GZIP, b"")
        }),
        Case::image("zstd_skippable_4_gib", |image| {
            let frame = [&0x184D_2A50_u32.to_le_bytes()[..], &u32::MAX.to_le_bytes()].concat();
            push_packed(image, frame, &GZIP.replace("gzip", "zstd"), b"")
        })
        .refused(&["importing layer 1/1"]),
    ]
}

/// A layer of any bytes; its diffID is that of `tar`.
fn push_packed(image: &mut Image, packed: Vec<u8>, media_type: &str, tar: &[u8]) -> Result<()> {
    image.push(&Blob { tar: tar.to_vec(), packed, media_type: media_type.to_owned() })
}

fn memory() -> Vec<Case> {
    vec![
        Case::layer("pax_headers_in_a_row", |l| {
            for n in 0..100 {
                let record = format!(" SCHILY.xattr.trusted.{n}={}\n", "v".repeat(1 << 20));
                let length = record.len() + 7;
                l.entry(EntryType::XHeader, b"x", b"", format!("{length}{record}").as_bytes());
            }
            l.file("usr/x", "x");
        })
        .refused(&["importing layer 1/1", "extended attributes"]),
        Case::layer("long_names", |l| {
            l.long_names(LongNames::Pax);
            for n in 0..2000 {
                l.file(&format!("usr/{n}-{}", "n".repeat(60_000)), "");
            }
        })
        .refused(&["importing layer 1/1"]),
        Case::layer("long_dropped_names", |l| {
            l.long_names(LongNames::Pax);
            for n in 0..2000 {
                l.file(&format!("run/{n}-{}", "n".repeat(60_000)), "");
            }
        })
        .refused(&["importing layer 1/1"]),
        Case::layer("long_hardlinks", |l| {
            l.long_names(LongNames::Pax);
            for n in 0..1000 {
                l.hardlink(&format!("usr/{n}-{}", "n".repeat(60_000)), &"t".repeat(60_000));
            }
        })
        .refused(&["importing layer 1/1"]),
        // Each makes the directories above it once more.
        Case::layer("implied_directories", |l| {
            l.long_names(LongNames::Pax);
            let deep = "d/".repeat(240);
            for n in 0..500 {
                l.file(&format!("usr/{deep}{n}/x"), "");
            }
        }),
    ]
}
