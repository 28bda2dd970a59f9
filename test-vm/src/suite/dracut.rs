// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A test of the suite: the dracut module with the oldest dracut that has to do, and with the images' own.

use anyhow::Result;

use super::case::Report;
use crate::images::Images;
use crate::images::trees::{self, Role};
use crate::lab::cmd;

/// The suite with the oldest dracut that has to do: 059.
const OLD_DRACUT_SUITE: &str = "bookworm";

/// Makes initramfs images and boots none: which one comes out, and when none does.
pub fn module(images: &Images<'_>, _: &str, report: &mut Report) -> Result<()> {
    let lab = images.lab;
    let old = lab.debian_root("dracut", OLD_DRACUT_SUITE, &lab.packages("dracut")?)?;
    let staged = trees::slipstream(lab)?;
    for root in [old, trees::root(lab, Role::Bootimage)?] {
        cmd::run(&mut cmd::words("bash", [lab.own("scripts/dracut-check.sh"), root, staged.clone()]))?;
        report.pass();
    }
    Ok(())
}
