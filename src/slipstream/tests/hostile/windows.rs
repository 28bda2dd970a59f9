// SPDX-License-Identifier: Apache-2.0 OR MIT
//! zstd layers that want much memory to be decoded, and what an import needs for them.

use anyhow::Result;
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};
use testkit::base::{honest, of_layers};
use testkit::blob::{OCI_ZSTD, digest, hex};
use testkit::image::Image;

use crate::case::{Case, MEMORY};

/// The largest window, as a frame's header writes it, and in bytes.
const LARGEST: u8 = (27 - 10) << 3;
const WINDOW: usize = 128 << 20;
/// The most memory that any import may need, in KiB: one large window on top of what all others may.
const WITH_A_WINDOW: u64 = MEMORY + (WINDOW >> 10) as u64;

/// Largest block of a frame, in bytes.
const BLOCK: usize = 128 << 10;
const RAW: u32 = 0;
const REPEATED: u32 = 1;

/// A frame with this descriptor of its window: some bytes, then so many zeros.
fn frame(window: u8, start: &[u8], zeros: usize) -> Vec<u8> {
    let block = |kind: u32, length: usize, last: bool| {
        ((length as u32) << 3 | kind << 1 | u32::from(last)).to_le_bytes()[..3].to_vec()
    };
    let mut frame = [&0xFD2F_B528_u32.to_le_bytes()[..], &[0, window]].concat();
    frame.extend([block(RAW, start.len(), zeros == 0), start.to_vec()].concat());
    let count = zeros.div_ceil(BLOCK);
    for n in 1..=count {
        let length = if n < count { BLOCK } else { zeros - (count - 1) * BLOCK };
        frame.extend([block(REPEATED, length, n == count), vec![0]].concat());
    }
    frame
}

/// The header of a file.
fn header(path: &str, size: usize) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(size as u64);
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// Puts a layer of frames in the place of the one at `at`. Their tar begins with `start` and goes on with zeros.
fn replace(image: &mut Image, at: usize, frames: Vec<u8>, start: &[u8], zeros: usize) {
    let mut hash = Sha256::new();
    hash.update(start);
    (0..zeros / BLOCK).for_each(|_| hash.update([0; BLOCK]));
    hash.update(vec![0; zeros % BLOCK]);
    image.config["rootfs"]["diff_ids"][at] = format!("sha256:{}", hex(&hash.finalize())).into();
    image.manifest["layers"][at]["mediaType"] = OCI_ZSTD.into();
    image.manifest["layers"][at]["digest"] = digest(&frames).into();
    image.manifest["layers"][at]["size"] = frames.len().into();
    image.blobs.push((digest(&frames), frames));
}

/// An image of one file of so many zeros.
fn one(label: &str, frames: impl FnOnce(&[u8]) -> Vec<u8> + Send + 'static, zeros: usize) -> Case {
    Case::image(label, move |image| {
        image.layer(|_| {})?;
        let start = header("usr/x", zeros);
        replace(image, 0, frames(&start), &start, zeros);
        Ok(())
    })
}

/// Three layers, each a window and more: they are read side by side.
fn three(image: &mut Image) -> Result<()> {
    for n in 1..=3 {
        let (start, zeros) = (header(&format!("usr/{n}"), WINDOW + (1 << 20)), WINDOW + (1 << 20));
        replace(image, n, frame(LARGEST, &start, zeros), &start, zeros);
    }
    Ok(())
}

pub fn cases() -> Vec<Case> {
    let more = "Frame requires too much memory for decoding";
    vec![
        one("largest_window", |start| frame(LARGEST, start, 512), 512),
        one("window_over_the_largest", |start| frame(LARGEST | 1, start, 512), 512)
            .refused(&["importing layer 1/1", more]),
        one("window_of_2_tib", |start| frame(0xff, start, 512), 512).refused(&["importing layer 1/1", more]),
        one(
            "large_window_in_the_second_frame",
            |start| [frame(0, start, 512), frame(LARGEST, b"", 512)].concat(),
            1024,
        ),
        one(
            "cut_in_the_header_of_a_frame",
            |start| [frame(0, start, 512), frame(LARGEST, b"", 512)[..5].to_vec()].concat(),
            512,
        )
        .refused(&["importing layer 1/1", "incomplete frame"]),
        Case::new("three_large_windows", |dir| {
            let base = honest();
            let empty = || testkit::layer::Layer::new();
            let mut image =
                of_layers(base.commit_layer(), vec![empty(), empty(), empty(), base.chunk(0), base.chunk(1)])?;
            three(&mut image)?;
            image.write(dir)
        })
        .within(WITH_A_WINDOW),
    ]
}
