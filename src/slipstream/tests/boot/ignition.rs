// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Boots of a node of OpenShift: the request and the image are in its Ignition config.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::machine::{Machine, outcome};
use testkit::suite::Case;

use crate::case::case;

pub fn cases() -> Vec<Case> {
    vec![
        case("takes_image_and_arguments_from_the_machine_config", auto),
        case("does_nothing_without_a_machine_config", auto_without),
        case("leaves_the_boot_to_an_mco_that_reboots", mco_reboots),
        case("refuses_a_remote_file", remote_file),
    ]
}

/// Returns the MachineConfig of a worker with this image.
pub fn worker(image: &str) -> Result<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mco/machine-configs/worker.json");
    let mut config: Value = serde_json::from_slice(&fs::read(path).context("reading a MachineConfig")?)?;
    config["spec"]["osImageURL"] = image.into();
    Ok(config)
}

/// Writes a config as the MCO's server makes it, with these fields of the MachineConfig's spec changed.
pub fn write_ignition(machine: &Machine, changes: &[(&str, Value)]) -> Result<()> {
    let mut config = worker(&machine.image)?;
    for (field, value) in changes {
        config["spec"][*field] = value.clone();
    }
    let keyfile = format!("[slipstream]\nimage = auto\nsource = oci:{}\n", machine.path("node").display());
    write_files(
        machine,
        &[
            ("/etc/ignition-machine-config-encapsulated.json", escaped(&config.to_string())),
            ("/etc/slipstream.conf", escaped(&keyfile)),
        ],
    )
}

/// Returns a data URL.
pub fn escaped(text: &str) -> String {
    text.bytes().fold("data:,".to_owned(), |url, byte| format!("{url}%{byte:02x}"))
}

/// Writes a config with these files, each by the URL of its content.
pub fn write_files(machine: &Machine, files: &[(&str, String)]) -> Result<()> {
    let files: Vec<_> =
        files.iter().map(|(path, url)| serde_json::json!({"path": path, "contents": {"source": url}})).collect();
    let config = serde_json::json!({"ignition": {"version": "3.5.0"}, "storage": {"files": files}});
    Ok(fs::write(machine.path("ignition.json"), config.to_string())?)
}

const V2: [&str; 2] = ["systemd.unified_cgroup_hierarchy=1", r#"cgroup_no_v1="all""#];

fn auto(machine: &mut Machine) -> Result<()> {
    // An argument with a space must come through libostree in one piece.
    const QUOTED: &str = r#"dyndbg="file drivers/usb/* +p""#;
    write_ignition(machine, &[("kernelArguments", serde_json::json!([QUOTED, V2[0], V2[1]]))])?;
    let entry = fs::read_dir(machine.path("sysroot/boot/loader/entries"))?.next().context("no entry")??.path();
    let text = fs::read_to_string(&entry)?;
    fs::write(&entry, text.replace("options rw", &format!("options rw {QUOTED}")))?;
    let cmdline = machine.options()?.swap_remove(0);
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    let status = status.context("no status")?;
    ensure!(status["request"]["image"] == serde_json::json!({"value": "auto", "from": "ignition"}), "{status}");
    ensure!(status["node_image"]["image"] == machine.image.as_str(), "{status}");
    let reboot = &status["reboot"];
    ensure!(reboot["avoided"] == true && reboot["mco"] == "nothing-to-do", "{reboot}");
    ensure!(reboot["deferred_kargs"].as_array().is_some_and(|kargs| kargs.len() == 2), "{reboot}");
    // What `rpm-ostree kargs` prints, and the MCO compares.
    let options = machine.options()?;
    let (ours, _) = options[0].split_once(" ostree=").context("no ostree=")?;
    ensure!(ours == format!("rw {QUOTED} $ignition_firstboot {} {}", V2[0], V2[1]), "new entry: {}", options[0]);
    ensure!(!options[1].contains("cgroup"), "old entry: {}", options[1]);
    let before = machine.listing()?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "already-booted", "{status:?}, {output:?}");
    ensure!(machine.listing()? == before, "something was written");
    Ok(())
}

fn auto_without(machine: &mut Machine) -> Result<()> {
    let before = machine.listing()?;
    let cmdline = format!("{} slipstream.image=auto {}", machine.options()?.swap_remove(0), machine.source());
    for config in [None, Some("/etc/hostname")] {
        if let Some(path) = config {
            write_files(machine, &[(path, "data:,node".to_owned())])?;
        }
        let (output, status) = machine.boot(&cmdline)?;
        ensure!(output.status.success() && status.is_none(), "{config:?}: {status:?}, {output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(text.contains("image=auto, and the Ignition config has no MachineConfig: nothing to do"), "{text}");
    }
    ensure!(machine.listing()? == before, "something was written");
    Ok(())
}

fn mco_reboots(machine: &mut Machine) -> Result<()> {
    let refs = machine.refs()?;
    write_ignition(machine, &[("extensions", serde_json::json!(["usbguard"]))])?;
    let cmdline = machine.options()?.swap_remove(0);
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "skipped" && output.status.success(), "{status:?}, {output:?}");
    let status = status.context("no status")?;
    let expected = serde_json::json!({
        "avoided": false, "mco": "reboots", "deferred_kargs": [],
        "reasons": ["the MachineConfig wants extensions: usbguard"],
    });
    ensure!(status["reboot"] == expected, "{}", status["reboot"]);
    ensure!(status["endpoints"] == serde_json::json!([]), "a source was asked: {status}");
    ensure!(machine.refs()? == refs && machine.options()?.len() == 1, "something is left");
    let (output, status) = machine.boot(&format!("{cmdline} slipstream.mco-reboot=pull"))?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    let status = status.context("no status")?;
    ensure!(status["reboot"] == expected, "{}", status["reboot"]);
    let options = machine.options()?.swap_remove(0);
    ensure!(options.starts_with("rw $ignition_firstboot ostree="), "the MCO writes its arguments itself: {options}");
    Ok(())
}

fn remote_file(machine: &mut Machine) -> Result<()> {
    write_files(machine, &[("/etc/slipstream.conf", "https://user:hunter2@example.com/?hunter2".to_owned())])?;
    let (output, status) = machine.boot(&machine.options()?.swap_remove(0))?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && !text.contains("hunter2"), "{text}");
    ensure!(text.contains("/etc/slipstream.conf of the Ignition config: it has a remote source (https)"), "{text}");
    ensure!(status.is_none(), "the launcher reports what the importer cannot: {status:?}");
    Ok(())
}
