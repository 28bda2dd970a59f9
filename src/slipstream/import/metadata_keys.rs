// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Metadata keys of the commits that we write, as ostree-ext names them (`container/store.rs`).

/// Canonical JSON of the manifest.
pub(crate) const MANIFEST: &str = "ostree.manifest";
/// Digest of the manifest as it was served.
pub(crate) const MANIFEST_DIGEST: &str = "ostree.manifest-digest";
/// Canonical JSON of the config.
pub(crate) const CONFIG: &str = "ostree.container.image-config";
/// Which importer wrote it.
pub(crate) const IMPORTER: &str = "ostree.importer.version";
/// The version of ostree-ext whose results ours are the same as. Nobody parses it; the checksum covers it.
pub(crate) const IMPORTER_VERSION: &str = "0.15.3";
