// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A layer as a layout keeps it: the tar, its packed form, and the names that follow from them.

use std::io::Write;

use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::layer::Layer;

/// The media type of a layer that is not packed.
pub const OCI_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// The media type of a gzip layer.
pub const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The media type of a zstd layer.
pub const OCI_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

const VEC: &str = "a Vec takes every write";

/// Returns the sha256 of some bytes.
pub fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

/// Writes bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Returns the digest of some bytes: `sha256:` and hexadecimal digits.
pub fn digest(data: &[u8]) -> String {
    format!("sha256:{}", hex(&sha256(data)))
}

/// How a tar is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// One gzip member.
    Gzip,
    /// Two gzip members, cut in the middle of the tar.
    GzipMembers,
    /// One member, then bytes that are not gzip.
    GzipGarbage,
    /// One zstd frame.
    Zstd,
    /// Two frames and a skippable one between them.
    ZstdFrames,
    /// Not at all.
    Tar,
}

/// A layer as it lies in a layout: the tar and its packed form.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The tar, which has the diffID.
    pub tar: Vec<u8>,
    /// The packed form, which the layout keeps.
    pub packed: Vec<u8>,
    /// The media type in the manifest.
    pub media_type: String,
}

impl Blob {
    /// Packs a tar.
    pub fn new(tar: Vec<u8>, packing: Packing) -> Self {
        let half = tar.len() / 2;
        let (packed, media_type) = match packing {
            Packing::Gzip => (gzip(&tar), OCI_GZIP),
            Packing::GzipMembers => ([gzip(&tar[..half]), gzip(&tar[half..])].concat(), OCI_GZIP),
            Packing::GzipGarbage => ([gzip(&tar), b"garbage".repeat(9)].concat(), OCI_GZIP),
            Packing::Zstd => (zstd(&tar), OCI_ZSTD),
            Packing::ZstdFrames => {
                let skippable = [&0x184D_2A50_u32.to_le_bytes()[..], &5_u32.to_le_bytes(), b"12345"].concat();
                ([zstd(&tar[..half]), skippable, zstd(&tar[half..])].concat(), OCI_ZSTD)
            }
            Packing::Tar => (tar.clone(), OCI_TAR),
        };
        Self { tar, packed, media_type: media_type.to_owned() }
    }

    /// Packs what `fill` writes.
    pub fn of(packing: Packing, fill: impl FnOnce(&mut Layer)) -> Self {
        let mut layer = Layer::new();
        fill(&mut layer);
        Self::new(layer.finish(), packing)
    }
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).expect(VEC);
    encoder.finish().expect(VEC)
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).expect("zstd packs any bytes")
}

#[cfg(test)]
mod tests {
    use super::{Blob, Packing, digest};

    #[test]
    fn names_bytes_by_their_digest() {
        assert_eq!(digest(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn packs_what_unpacks_again() {
        for packing in [Packing::Zstd, Packing::ZstdFrames] {
            let blob = Blob::of(packing, |layer| {
                layer.file("usr/a", "abc");
            });
            assert_eq!(zstd::decode_all(&*blob.packed).expect("zstd"), blob.tar, "{packing:?}");
        }
        let blob = Blob::of(Packing::GzipMembers, |layer| {
            layer.file("usr/a", "abc");
        });
        let mut tar = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&*blob.packed), &mut tar).expect("gzip");
        assert_eq!(tar, blob.tar);
    }
}
