// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Secure Boot, and a node image with another boot loader than the machine's.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::layer::Layer;
use testkit::machine::{Machine, NEW_KERNEL, node_image, outcome};
use testkit::suite::Case;

use crate::case::case;

const VARIABLE: &str = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const SHIM: &str = "usr/lib/bootupd/updates/EFI/redhat/shimx64.efi";
const UNIT: &str = "usr/lib/systemd/system/bootloader-update.service";
const PROGRAM: &str = "usr/bin/bootupctl";

pub fn cases() -> Vec<Case> {
    vec![
        swaps(
            "updates_with_the_units_of_the_node_image",
            1,
            &[(SHIM, "new"), (UNIT, ""), (PROGRAM, "")],
            json!("bootloader-update.service"),
        ),
        swaps("updates_with_bootupctl_where_there_is_no_unit", 1, &[(SHIM, "new"), (PROGRAM, "")], json!("bootupctl")),
        swaps("has_nothing_to_do_for_the_same_boot_loader", 1, &[(SHIM, "old")], Value::Null),
        swaps("has_nothing_to_do_without_one", 1, &[], Value::Null),
        swaps("has_nothing_to_do_without_secure_boot", 0, &[(SHIM, "new")], Value::Null),
        case("refuses_an_image_that_cannot_update_it", |machine| {
            let status = boot(machine, 1, &[(SHIM, "new")])?;
            let entries = machine.options()?.len();
            let expected = "Secure Boot is on, the node image has another boot loader, and neither bootloader-update.service nor \
                            bootupctl to install it";
            ensure!(outcome(Some(&status)) == "skipped" && status["reason"] == expected, "{status}");
            // The bootimage was deployed twice.
            ensure!(entries == 2 && !machine.refs()?.contains("container"), "something is left");
            Ok(())
        }),
    ]
}

type Files = &'static [(&'static str, &'static str)];

fn swaps(name: &str, secure_boot: u8, files: Files, expected: Value) -> Case {
    case(name, move |machine| {
        let status = boot(machine, secure_boot, files)?;
        ensure!(outcome(Some(&status)) == "swapped", "{status}");
        ensure!(status["node_image"]["boot_loader_update"] == expected, "{status}");
        Ok(())
    })
}

/// Boots a bootimage with an old shim into an image with these files.
fn boot(machine: &mut Machine, secure_boot: u8, files: Files) -> Result<Value> {
    let shim = machine.path("tree").join(SHIM);
    fs::create_dir_all(shim.parent().context("no parent")?)?;
    fs::write(shim, "old")?;
    machine.deploy_tree()?;
    let fill = |layer: &mut Layer| {
        for (path, text) in files {
            layer.file(path, text);
        }
    };
    machine.stage("signed", node_image(NEW_KERNEL, fill)?)?;
    let efivars = machine.path("efivars");
    fs::create_dir(&efivars)?;
    fs::write(efivars.join(VARIABLE), [6, 0, 0, 0, secure_boot])?;
    let request = machine.request(&machine.source_at("signed"))?;
    let output = machine.command(&request)?.arg("--efivars").arg(&efivars).output()?;
    machine.status()?.with_context(|| format!("no status: {output:?}"))
}
