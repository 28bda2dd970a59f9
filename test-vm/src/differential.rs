// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The importer against the reference importer, and signatures against the reference for them: what the tests need, and a run
//! of them.

use anyhow::{Context, Result};

use crate::lab::Lab;
use crate::lab::cmd;
use crate::lab::peer;

/// Both importers run on the libostree of this suite.
const SUITE: &str = "trixie";

/// Runs those cases that have `cases` in their names; returns whether nothing differs that should not.
pub fn run(lab: &Lab, cases: Option<&str>) -> Result<bool> {
    let root = lab.debian_root("reference", SUITE, &lab.packages("reference")?)?;
    let peer = peer::binary(lab)?;
    let mut same = true;
    for (package, test) in [("slipstream-signature", "verify"), ("slipstream", "differential")] {
        let mut command = cmd::words("cargo", ["test", "--locked", "--package", package, "--test", test, "--"]);
        command.arg("--nocapture").args(cases).current_dir(&lab.source);
        command.env("SLIPSTREAM_TOOLS_ROOT", &root).env("SLIPSTREAM_PEER", &peer);
        same &= command.status().context("running cargo")?.success();
    }
    Ok(same)
}
