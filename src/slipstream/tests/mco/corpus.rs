// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The files of the corpus.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use contract::request::ignition::Ignition;
use contract::request::kargs;
use contract::request::mco::MachineConfig;

/// The image of all of them.
pub const IMAGE: &str = "quay.io/example/node@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mco").join(name)
}

fn corpus(kind: &str, name: &str) -> Result<Vec<u8>> {
    let path = directory(kind).join(format!("{name}.json"));
    fs::read(&path).with_context(|| format!("reading {}", path.display()))
}

pub fn ignition(name: &str) -> Result<Ignition> {
    Ignition::parse(&corpus("ignition", name)?)
}

pub fn machine(name: &str) -> Result<MachineConfig> {
    MachineConfig::parse(&corpus("machine-configs", name)?).with_context(|| format!("reading {name}"))
}

pub fn split(text: &str) -> Vec<String> {
    kargs::split(text).map(str::to_owned).collect()
}
