// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `slipstream check` answers what a boot would do, and writes nothing.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::machine::{Machine, first_boot};
use testkit::suite::Case;

use crate::case::{SLIPSTREAM, case};
use crate::ignition::write_ignition;

pub fn cases() -> Vec<Case> {
    vec![
        unchanged("fails_without_an_ignition_config", |machine| {
            let (code, _, error) = run_check(machine, &[])?;
            ensure!(code == Some(1) && error.contains("there is no Ignition config"), "{code:?} {error}");
            Ok(())
        }),
        unchanged("no_command_takes_a_root_that_is_not_there", |machine| {
            for words in [
                &["check", "--ignition"][..],
                &["boot", "--ignition"],
                &["pull", "oci:/nonexistent", "--image", &machine.image, "--repo"],
            ] {
                let mut command = Command::new(SLIPSTREAM);
                command.args(words).arg(machine.path("run")).arg("--root").arg(machine.path("rooot"));
                let output = command.output().context("running slipstream")?;
                let error = String::from_utf8_lossy(&output.stderr);
                ensure!(output.status.code() == Some(1) && error.contains("rooot is not a directory"), "{error}");
            }
            Ok(())
        }),
        answers("answers_that_the_reboot_is_saved", Vec::new, 0, "decision: the reboot would be saved"),
        answers(
            "answers_that_the_reboot_is_saved_with_fips",
            || vec![("fips", Value::Bool(true))],
            0,
            "decision: the reboot would be saved",
        ),
        answers(
            "answers_why_the_mco_reboots",
            || vec![("kernelType", "realtime".into()), ("extensions", json!(["usbguard"]))],
            2,
            "  because: the MachineConfig wants extensions: usbguard",
        ),
        answers("fails_for_a_tag", || vec![("osImageURL", "quay.io/example/node:latest".into())], 1, ""),
        unchanged("answers_in_json", in_json),
        unchanged("answers_about_arguments_alone", |machine| {
            write_ignition(machine, &[])?;
            let cmdline = machine.path("cmdline");
            fs::write(&cmdline, format!("slipstream.image={}", machine.image))?;
            let (code, text, error) = run_check(machine, &["--cmdline", cmdline.to_str().context("path")?])?;
            ensure!(code == Some(0) && text.contains(&machine.image), "{code:?} {text} {error}");
            Ok(())
        }),
        case("answers_by_the_policy_of_the_deployment", policy),
        on_cmdline("answers_for_a_kernel_that_is_not_in_fips_mode", "", 2),
        on_cmdline("answers_that_the_request_is_taken_back", "slipstream.image=none", 3),
    ]
}

/// Makes a case after which the disk is as it was.
fn unchanged(name: &str, check: impl FnOnce(&Machine) -> Result<()> + Send + 'static) -> Case {
    case(name, |machine| {
        let before = machine.listing()?;
        check(machine)?;
        ensure!(machine.listing()? == before, "something was written");
        Ok(())
    })
}

/// Makes a case of a MachineConfig with these fields, and what is printed about it.
fn answers(name: &str, changes: fn() -> Vec<(&'static str, Value)>, expected: i32, line: &'static str) -> Case {
    unchanged(name, move |machine| {
        write_ignition(machine, &changes())?;
        let (code, text, error) = run_check(machine, &[])?;
        ensure!(code == Some(expected), "{code:?} {text} {error}");
        ensure!(line.is_empty() || text.lines().any(|found| found == line), "{text}");
        Ok(())
    })
}

/// Runs `slipstream check` on the disk; returns exit code, standard output, and standard error.
fn run_check(machine: &Machine, more: &[&str]) -> Result<(Option<i32>, String, String)> {
    let mut command = Command::new(SLIPSTREAM);
    command.arg("check").arg("--ignition").arg(machine.path("ignition.json"));
    command.arg("--sysroot").arg(machine.path("sysroot")).args(more);
    let output = command.output().context("running slipstream")?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

fn in_json(machine: &Machine) -> Result<()> {
    write_ignition(machine, &[])?;
    let (code, text, _) = run_check(machine, &["--json"])?;
    let value: Value = serde_json::from_str(&text)?;
    ensure!(code == Some(0) && value["verdict"] == "saved" && value["pull"] == true, "{value}");
    ensure!(value["image"] == machine.image.as_str(), "{value}");
    ensure!(value["deferred_kargs"][1]["karg"] == r#"cgroup_no_v1="all""#, "{value}");
    Ok(())
}

/// Makes a case of a MachineConfig that wants FIPS, and of a command line.
fn on_cmdline(name: &str, more: &'static str, expected: i32) -> Case {
    unchanged(name, move |machine| {
        write_ignition(machine, &[("fips", Value::Bool(true))])?;
        let cmdline = machine.path("cmdline");
        fs::write(&cmdline, format!("{} {more}", first_boot(&machine.options()?[0])))?;
        let (code, text, error) = run_check(machine, &["--cmdline", cmdline.to_str().context("path")?])?;
        ensure!(code == Some(expected), "{code:?} {text} {error}");
        Ok(())
    })
}

/// Keyfiles are the initramfs's, and the policy is the deployment's: `--root` does not change it.
fn policy(machine: &mut Machine) -> Result<()> {
    write_ignition(machine, &[])?;
    let deployment = machine.linked(&machine.options()?[0])?;
    fs::create_dir_all(deployment.join("etc/containers"))?;
    fs::write(deployment.join("etc/containers/policy.json"), r#"{"default": [{"type": "reject"}]}"#)?;
    let root = machine.path("initramfs");
    fs::create_dir(&root)?;
    for more in [&[][..], &["--root", root.to_str().context("path")?]] {
        let (code, text, error) = run_check(machine, more)?;
        ensure!(code == Some(2) && text.contains("its default says reject"), "{more:?}: {code:?} {text} {error}");
    }
    Ok(())
}
