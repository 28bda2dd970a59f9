// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A run directory that takes no status, or not all of it: no error is hidden, and no swap becomes a failure.

use std::fs;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use contract::place::Place;
use contract::places::PhysicalRoot;
use initrd::launch::launch;
use testkit::machine::{Machine, outcome};
use testkit::suite::Case;

use crate::case::{SLIPSTREAM, case};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("a_status_that_cannot_be_written_hides_no_error", |machine| unwritable(machine)),
        case("no_swap_without_a_handoff", |machine| no_swap(machine)),
        case("a_status_is_taken_back_with_its_link", |machine| taken_back(machine)),
        case("a_second_run_on_one_boot_changes_nothing", |machine| second_run(machine)),
        case("the_launcher_follows_the_policy_without_a_status", |machine| launcher(machine)),
    ];
    cases.extend(FULL.iter().map(|full| Case::new(full.0, || in_full_directory(full))));
    cases
}

/// The status is written to this name first, for which this leaves no place.
fn block(machine: &Machine) -> Result<()> {
    fs::create_dir_all(machine.path("run/.status.json.new")).context("blocking the status")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns whether the output has a warning with this text. Its level is in front of it.
fn warns(output: &Output, text: &str) -> bool {
    said(output).lines().any(|line| line.starts_with(&format!("<4>{text}")))
}

fn unwritable(machine: &Machine) -> Result<()> {
    block(machine)?;
    let (output, status) = machine.boot(&machine.request("slipstream.source=oci:/nonexistent")?)?;
    ensure!(output.status.code() == Some(1) && status.is_none(), "failed: {status:?}, {output:?}");
    let errors: Vec<_> = said(&output).lines().filter(|line| line.contains("error:")).map(str::to_owned).collect();
    ensure!(errors.len() == 1 && errors[0].contains("using source oci:/nonexistent"), "failed: {errors:?}");
    ensure!(warns(&output, "writing the status: creating "), "failed: {output:?}");
    let (output, status) = machine.boot(&machine.request(&format!("{} slipstream.kernel=same", machine.source()))?)?;
    ensure!(output.status.success() && status.is_none(), "skipped: {status:?}, {output:?}");
    ensure!(warns(&output, "writing the status: ") && said(&output).contains("skipped: kernel=same"), "{output:?}");
    fs::remove_dir(machine.path("run/.status.json.new"))?;
    let cmdline = machine.request(&machine.source())?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    ensure!(status.is_some_and(|status| status["way"] == "boot-link"), "the way is missing");
    fs::remove_file(machine.path("run/status.json"))?;
    block(machine)?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(output.status.success() && status.is_none(), "booted: {status:?}, {output:?}");
    ensure!(warns(&output, "writing the status: ") && said(&output).contains("already-booted: "), "{output:?}");
    Ok(())
}

/// Without a hand-off the root would lack modules: the bootimage boots, and the node image next.
fn no_swap(machine: &Machine) -> Result<()> {
    block(machine)?;
    let cmdline = machine.request(&machine.source())?;
    let linked = machine.linked(&cmdline)?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(output.status.code() == Some(1) && status.is_none(), "{status:?}, {output:?}");
    ensure!(said(&output).contains("error: writing the status before the swap: creating "), "{output:?}");
    ensure!(machine.linked(&cmdline)? == linked, "the boot link has moved");
    ensure!(machine.options()?.len() == 2, "the node image is deployed");
    Ok(())
}

/// Runs a boot with a tmpfs of so many pages as its run directory. Returns its output, with the status after what it printed.
fn in_pages(machine: &Machine, pages: usize, cmdline: &str) -> Result<Output> {
    let command = machine.command(cmdline)?;
    let script = "mount -t tmpfs -o \"size=$1\" tmpfs \"$2\" && shift && cd \"$1\" && shift && \"$@\"
        code=$?; cat status.json; test ! -e .status.json.new || echo 'a temporary file'; exit $code";
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--mount", "sh", "-c", script, "sh", &(pages * 4096).to_string()]).arg(machine.path("run"));
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped.output().context("running unshare")
}

/// Name, pages of the run directory, and the warning: a page holds a status, another one its metrics, and a third one the
/// status that replaces the first.
const FULL: [(&str, usize, &str); 3] = [
    ("a_swap_survives_a_directory_without_room_for_metrics", 1, "writing the metrics: "),
    ("a_swap_survives_a_directory_without_room_for_a_second_status", 2, "writing the status: "),
    ("three_pages_hold_an_account", 3, ""),
];

fn in_full_directory(&(_, pages, warning): &(&str, usize, &str)) -> Result<()> {
    let machine = Machine::new(SLIPSTREAM)?;
    let cmdline = machine.request(&machine.source())?;
    let linked = machine.linked(&cmdline)?;
    let output = in_pages(&machine, pages, &cmdline)?;
    ensure!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let status = serde_json::from_str(&text).with_context(|| format!("reading {text}"))?;
    ensure!(outcome(Some(&status)) == "swapped", "{status}");
    ensure!(status["node_image"]["deployment"].is_string(), "settling lacks the deployment: {status}");
    ensure!(machine.linked(&cmdline)? != linked, "the boot link has not moved");
    let warned = said(&output).contains("<4>");
    ensure!(warned != warning.is_empty() && (!warned || warns(&output, warning)), "{output:?}");
    ensure!(!warned || said(&output).contains("No space left"), "{output:?}");
    Ok(())
}

fn taken_back(machine: &Machine) -> Result<()> {
    let cmdline = machine.request(&machine.source())?;
    let linked = machine.linked(&cmdline)?;
    let karg = cmdline.split_whitespace().find_map(|karg| karg.strip_prefix("ostree=/")).context("no ostree=")?;
    // The new link gets this name first.
    let name = machine.path("sysroot").join(karg).with_file_name(".slipstream-link");
    fs::create_dir(&name).context("blocking the link")?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "failed" && output.status.code() == Some(1), "{status:?}, {output:?}");
    let status = status.context("no status")?;
    let reason = status["reason"].as_str().unwrap_or_default();
    ensure!(reason.starts_with("pointing the boot link at the node image: "), "{reason}");
    ensure!(status["way"].is_null() && status["leftovers"] == serde_json::json!([]), "{status}");
    ensure!(machine.linked(&cmdline)? == linked, "the boot link has moved");
    Ok(())
}

/// A unit that fails would be started again. The policy of the request is followed, whether there is a status or not.
fn launcher(machine: &Machine) -> Result<()> {
    block(machine)?;
    // The bootimage has no importer.
    fs::write(
        machine.path("cmdline"),
        machine.request(&format!("{} slipstream.on-failure=emergency", machine.source()))?,
    )?;
    launch(&place(machine))?;
    ensure!(machine.path("run/emergency").exists(), "the policy is not followed");
    ensure!(machine.status()?.is_none(), "there is a status");
    Ok(())
}

/// The first run has swapped: another one would decide on a link that leads to the node image, and report that.
fn second_run(machine: &Machine) -> Result<()> {
    let cmdline = machine.request(&machine.source())?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    let path = machine.path("run/status.json");
    let account = fs::read(&path)?;
    let listing = machine.listing()?;
    let unchanged = || -> Result<()> {
        ensure!(fs::read(&path)? == account, "the account has changed");
        ensure!(machine.listing()? == listing, "the disk has changed");
        Ok(())
    };
    // What prepares a boot removes the account of the last one.
    let mut again = machine.command(&cmdline)?;
    fs::write(&path, &account)?;
    let output = again.output().context("running slipstream")?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(said(&output).contains("error: slipstream has run on this boot: "), "{output:?}");
    unchanged()?;
    launch(&place(machine))?;
    unchanged()
}

fn place(machine: &Machine) -> Place {
    Place {
        sysroot: PhysicalRoot::new(machine.path("sysroot")),
        cmdline: machine.path("cmdline"),
        root: machine.path("run"),
        ignition: machine.path("ignition.json"),
        efivars: machine.path("efivars"),
        run_dir: machine.path("run"),
    }
}
