// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where bytes are. A source hands out blobs by digest; it is never trusted with anything else.
//!
//! Formats are those that `skopeo copy` writes: an OCI image layout in a directory (`oci:`) or in a tar
//! (`oci-archive:`), each on the file system that is already there or on a device that is mounted read-only; a layout
//! behind a web server; and a registry with its mirrors.

mod archive;
mod blobs;
pub mod containers;
mod device;
pub mod http;
mod layout;
mod open;
pub mod registry;
mod signatures;
mod staged;
mod surroundings;
mod verified;
mod web;

pub use blobs::Source;
pub use device::{MountPoint, mount_device};
pub use open::{OpenSource, open};
pub use surroundings::Surroundings;
pub use verified::{Verified, VerifiedImage, verify};
