// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Versions that are too far apart: decided from the manifest and the config, and no layer is there to be read.

use std::fs;

use anyhow::{Context, Result, ensure};
use testkit::layout::Layout;
use testkit::machine::{Machine, NEW_KERNEL, node_image, outcome};
use testkit::suite::Case;

use crate::case::case;

/// Versions and what is wanted of them.
struct Row {
    name: &'static str,
    version: &'static str,
    /// The oldest bootimage that the image takes.
    oldest: Option<&'static str>,
    karg: &'static str,
    expected: &'static str,
}

const ROWS: [Row; 4] = [
    Row {
        name: "skips_another_minor_version",
        version: "41.2.3",
        oldest: None,
        karg: "slipstream.skew=minor",
        expected: "skew=minor, the bootimage is 41.1 and the node image 41.2",
    },
    Row {
        name: "skips_another_major_version",
        version: "42.1.0",
        oldest: None,
        karg: "slipstream.skew=major",
        expected: "skew=major, the bootimage is 41.1 and the node image 42.1",
    },
    Row {
        name: "skips_if_the_bootimage_is_too_old",
        version: "41.1.0",
        oldest: None,
        karg: "slipstream.skew=41.5..",
        expected: "skew=41.5.., and the bootimage is 41.1",
    },
    Row {
        name: "skips_if_the_image_demands_a_later_bootimage",
        version: "41.1.0",
        oldest: Some("41.3"),
        karg: "",
        expected: "the node image asks for a bootimage of 41.3 or later",
    },
];

pub fn cases() -> impl Iterator<Item = Case> {
    ROWS.into_iter().map(|row| case(row.name, move |machine| skips(machine, &row)))
}

fn skips(machine: &mut Machine, row: &Row) -> Result<()> {
    let refs = machine.refs()?;
    let mut image = node_image(NEW_KERNEL, |_| {})?;
    let labels = &mut image.config["config"]["Labels"];
    labels["org.opencontainers.image.version"] = row.version.into();
    if let Some(oldest) = row.oldest {
        labels["slipstream.min-bootimage"] = oldest.into();
    }
    machine.stage("skewed", image)?;
    let layout = Layout::at(&machine.path("skewed"));
    let layers = layout.image()?.layers()?;
    fs::remove_file(layout.blob(layers.first().context("no layer")?))?;
    let (output, status) =
        machine.boot(&machine.request(&format!("{} {}", machine.source_at("skewed"), row.karg))?)?;
    ensure!(outcome(status.as_ref()) == "skipped" && output.status.success(), "{status:?}, {output:?}");
    let reason = status.map(|status| status["reason"].to_string()).unwrap_or_default();
    ensure!(reason.contains(row.expected), "{reason}");
    ensure!(machine.refs()? == refs && machine.options()?.len() == 1, "something is left");
    Ok(())
}
