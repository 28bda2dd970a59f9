// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ignition configs and MachineConfigs in the forms in which a node gets them, and what is decided for each.
//!
//! `machine-configs` has them as the MCO renders them, `ignition` as Ignition leaves them in `/run/ignition.json`. They
//! are made by hand after the documented formats.

mod configs;
mod machine_configs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use contract::request::ignition::Ignition;
use contract::request::kargs;
use contract::request::mco::MachineConfig;
use testkit::suite::{Case, Suite, module};

const IMAGE: &str = "quay.io/example/node@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn main() -> ExitCode {
    let mut cases = module("machine_configs", machine_configs::cases());
    cases.extend(module("ignition", configs::cases()));
    cases.push(Case::new("no_config_is_left_out", no_config_is_left_out));
    Suite::new("mco", || Ok(())).run(cases)
}

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mco").join(name)
}

fn corpus(kind: &str, name: &str) -> Result<Vec<u8>> {
    let path = directory(kind).join(format!("{name}.json"));
    fs::read(&path).with_context(|| format!("reading {}", path.display()))
}

fn ignition(name: &str) -> Result<Ignition> {
    Ignition::parse(&corpus("ignition", name)?)
}

fn machine(name: &str) -> Result<MachineConfig> {
    MachineConfig::parse(&corpus("machine-configs", name)?).with_context(|| format!("reading {name}"))
}

fn split(text: &str) -> Vec<String> {
    kargs::split(text).map(str::to_owned).collect()
}

/// Every file of the corpus is in a table.
fn no_config_is_left_out() -> Result<()> {
    for (kind, text) in
        [("machine-configs", include_str!("machine_configs.rs")), ("ignition", include_str!("configs.rs"))]
    {
        for entry in fs::read_dir(directory(kind)).with_context(|| format!("listing {kind}"))? {
            let name = entry.context("listing a directory")?.file_name().to_string_lossy().into_owned();
            let name = name.strip_suffix(".json").with_context(|| format!("{name} is not JSON"))?;
            ensure!(text.contains(&format!("\"{name}\"")), "{kind}/{name} is in no table");
        }
    }
    Ok(())
}
