// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ignition configs and MachineConfigs in the forms in which a node gets them, and what is decided for each.
//!
//! `machine-configs` has them as the MCO renders them, `ignition` as Ignition leaves them in `/run/ignition.json`. They
//! are made by hand after the documented formats.

mod configs;
mod corpus;
mod machine_configs;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use testkit::suite::{Case, Suite, module};

use corpus::directory;

fn main() -> ExitCode {
    let mut cases = module("machine_configs", machine_configs::cases());
    cases.extend(module("ignition", configs::cases()));
    cases.push(Case::new("no_config_is_left_out", no_config_is_left_out));
    Suite::new("mco", || Ok(())).run(cases)
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
