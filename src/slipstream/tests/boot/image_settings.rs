// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Kernel arguments that images set in `/usr/lib/bootc/kargs.d`, and images that belong to them.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::layer::Layer;
use testkit::machine::{Machine, NEW_KERNEL, node_image, outcome};
use testkit::suite::Case;

use crate::case::case;

pub fn cases() -> [Case; 5] {
    [
        case("are_the_difference_between_the_images", difference),
        case("must_not_wait_for_the_next_boot", cannot_wait),
        case("may_wait_if_that_is_asked_for", waits),
        case("refuse_the_image_if_they_cannot_be_read", unreadable),
        case("bound_images_are_a_warning", bound_images),
    ]
}

const KARGS: &str = "usr/lib/bootc/kargs.d/10-test.toml";

fn boot(machine: &mut Machine, fill: impl Fn(&mut Layer), more: &str) -> Result<Value> {
    machine.stage("set", node_image(NEW_KERNEL, |layer| fill(layer))?)?;
    let (output, status) = machine.boot(&machine.request(&format!("{} {more}", machine.source_at("set")))?)?;
    status.with_context(|| format!("no status: {output:?}"))
}

fn set(layer: &mut Layer, text: &str) {
    layer.file(KARGS, text);
}

/// A bootimage that has set one argument, and is deployed with it.
fn with_kargs(machine: &Machine, text: &str) -> Result<()> {
    let path = machine.path("tree").join(KARGS);
    fs::create_dir_all(path.parent().context("no parent")?)?;
    fs::write(path, text)?;
    machine.deploy_tree()?;
    let sysroot = format!("--sysroot={}", machine.path("sysroot").display());
    testkit::programs::run(&["ostree", "admin", "instutil", "set-kargs", "--merge", "nosmt", &sysroot]).map(drop)
}

fn difference(machine: &mut Machine) -> Result<()> {
    with_kargs(machine, "kargs = [\"nosmt\"]\n")?;
    let status = boot(machine, |layer| set(layer, "kargs = [\"psi=1\"]\n"), "")?;
    ensure!(outcome(Some(&status)) == "swapped", "{status}");
    let (new, old) = (machine.options()?.swap_remove(0), machine.options()?.swap_remove(1));
    ensure!(old.contains(" nosmt") && !new.contains("nosmt") && new.contains(" psi=1 "), "{new}\n{old}");
    ensure!(status["reboot"]["deferred_kargs"] == json!(["psi=1"]), "{status}");
    ensure!(status["node_image"]["kargs"].as_array().is_some_and(|kargs| kargs.contains(&json!("psi=1"))), "{status}");
    Ok(())
}

const NOSMT: &str = "kargs = [\"nosmt\"]\n";
const WHY: &str = "the node image sets the kernel argument nosmt, which the running kernel does not have";

fn cannot_wait(machine: &mut Machine) -> Result<()> {
    let before = machine.options()?;
    let status = boot(machine, |layer| set(layer, NOSMT), "")?;
    ensure!(outcome(Some(&status)) == "skipped" && status["reason"] == WHY, "{status}");
    ensure!(machine.options()? == before && !machine.refs()?.contains("container"), "something is left");
    // On a boot that has it there is nothing to wait for.
    let status = boot(machine, |layer| set(layer, NOSMT), "nosmt")?;
    ensure!(outcome(Some(&status)) == "swapped" && status["reboot"]["deferred_kargs"] == json!([]), "{status}");
    ensure!(machine.options()?[0].contains(" nosmt"), "{:?}", machine.options()?);
    Ok(())
}

fn waits(machine: &mut Machine) -> Result<()> {
    let status = boot(machine, |layer| set(layer, NOSMT), "slipstream.mco-reboot=pull")?;
    ensure!(outcome(Some(&status)) == "swapped" && status["warnings"] == json!([WHY]), "{status}");
    ensure!(status["reboot"]["deferred_kargs"] == json!(["nosmt"]), "{status}");
    Ok(())
}

fn unreadable(machine: &mut Machine) -> Result<()> {
    let status = boot(machine, |layer| set(layer, "kargs = 1\n"), "")?;
    let expected = "reading /usr/lib/bootc/kargs.d/10-test.toml: reading kargs: it is no list";
    ensure!(outcome(Some(&status)) == "skipped" && status["reason"] == expected, "{status}");
    Ok(())
}

fn bound_images(machine: &mut Machine) -> Result<()> {
    let fill = |layer: &mut Layer| {
        layer.file("usr/lib/bootc/bound-images.d/app.image", "[Image]\n");
    };
    let status = boot(machine, fill, "")?;
    let expected = "the node image has 1 logically bound images, which bootc would have fetched";
    ensure!(outcome(Some(&status)) == "swapped" && status["warnings"] == json!([expected]), "{status}");
    Ok(())
}
