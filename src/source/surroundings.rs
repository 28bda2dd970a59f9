// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a source has to know besides its name.
//!
//! Tested by `src/slipstream/tests/servers/`.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use contract::names::ImageReference;

use crate::containers::HostConfig;
use crate::http::{Limits, Tls};

/// What a source may need to know.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The image that is wanted.
    pub image: &'a ImageReference,
    /// Devices are mounted below it.
    pub run_dir: &'a Path,
    /// What the machine says about registries, proxies and certificates.
    pub config: &'a HostConfig,
    /// How patient to be with servers.
    pub limits: Limits,
    /// When everything ends.
    pub deadline: Instant,
}

/// Returns how to do TLS with `host[:port]`. `anchors` are trusted for every host.
pub(crate) fn tls_for(config: &HostConfig, host: &str, anchors: &[Vec<u8>]) -> Result<Tls> {
    let certs = config.certs(host)?;
    Tls::new(&[anchors, &certs.ca].concat(), certs.client)
}
