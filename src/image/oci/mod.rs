// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an image is: digests, descriptors, manifests, configs, and which layers mean what. Pure: no I/O here.
//!
//! Formats: the OCI image specification 1.1 and Docker's image manifest version 2, schema 2. What ostree adds to
//! them (labels, the order of layers) is described in `docs/format.md`.
//!
//! Tested by `src/slipstream/tests/boot/endings.rs`.

mod attached;
mod config;

mod index;
mod layers;
mod manifest;

pub mod time;

pub use attached::AttachedSignature;
pub use config::ImageConfig;

pub use index::{Document, parse_document};
pub use layers::{ImageLayers, Layer};
pub use manifest::{Compression, Descriptor, Manifest};

/// Largest manifest, index or config accepted, in bytes. containers/image caps manifests at 4 MiB; so do we.
pub const MAX_JSON_SIZE: u64 = 4 << 20;

/// The architecture of this machine in OCI (Go) terms.
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
