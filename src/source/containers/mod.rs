// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the machine's containers tools are told: registries.conf, auth.json, certs.d, proxies, CAs.
//!
//! The reference is containers/image as podman, skopeo and the MCO use it: the same files give the same endpoints in
//! the same order, and the same refusals. Files are read when they are needed, from a [`Files`]: the Ignition config
//! has most of them before they are on the disk. Nothing here opens a connection.

mod anchors;
mod auth;
mod certificate;
mod certs;
mod der;
mod endpoint;
#[cfg(test)]
mod fixtures;
mod host_config;
mod proxy;
mod registries;
mod search_paths;
mod text;

pub use auth::Credentials;
pub use certs::Certs;
pub use endpoint::Endpoint;
pub use host_config::HostConfig;
