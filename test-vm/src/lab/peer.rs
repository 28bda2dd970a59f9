// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The reference importer, ostree-ext, as a program: it encapsulates the node image and is what we are compared with.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::cache::Inputs;
use super::cmd;
use super::places::Lab;

/// The program's name.
pub const NAME: &str = "ostree-ext-cli";

/// Returns its binary: `$SLIPSTREAM_PEER`, or built here (some minutes) and kept in the cache.
pub fn binary(lab: &Lab) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SLIPSTREAM_PEER") {
        return PathBuf::from(path).canonicalize().context("finding the program that SLIPSTREAM_PEER names");
    }
    let peer = lab.own("peer");
    let inputs =
        Inputs::default().file(&peer.join("Cargo.toml"))?.file(&peer.join("Cargo.lock"))?.tree(&peer.join("src"))?;
    let dir = lab.cache.artefact("peer", inputs, |dir| {
        eprintln!("compiling the reference importer; some minutes");
        let target = lab.source.join("target/peer");
        cmd::run(
            cmd::words("cargo", ["build", "--locked", "--release", "--manifest-path"])
                .arg(peer.join("Cargo.toml"))
                .arg("--target-dir")
                .arg(&target),
        )?;
        let built = target.join("release").join(NAME);
        std::fs::copy(&built, dir.join(NAME)).with_context(|| format!("copying {}", built.display()))?;
        Ok(())
    })?;
    Ok(dir.join(NAME))
}
