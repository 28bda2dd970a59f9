// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `slipstream check` and `slipstream boot` decide alike, on the same machine, for every decision that is made before a source
//! is opened.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::machine::{Machine, first_boot, outcome};
use testkit::suite::Case;

use crate::case::{SLIPSTREAM, case};
use crate::ignition::{escaped, worker, write_files};

const MACHINE_CONFIG: &str = "/etc/ignition-machine-config-encapsulated.json";
const POLICY: &str = "/etc/containers/policy.json";
const REGISTRIES: &str = "/etc/containers/registries.conf";
const BLOCKED: &str = "[[registry]]\nprefix = \"example.com\"\nlocation = \"example.com\"\nblocked = true\n";

/// What both have to come to.
#[derive(Clone, Copy)]
enum Expected {
    /// The node image boots, and `check` answers with this word.
    Boots(&'static str),
    /// Nothing is done. `check` answers with this word, and a part of the reason is this.
    Stops(&'static str, &'static str),
    /// Both fail with the same error, of which this is a part.
    Fails(&'static str),
    /// Nothing is requested.
    NotRequested,
}
use Expected::{Boots, Fails, NotRequested, Stops};

/// Names and values of fields.
type Fields = Vec<(&'static str, Value)>;

/// A decision.
struct Row {
    name: &'static str,
    /// Fields of the MachineConfig that are changed; `None`: there is no MachineConfig, and the request is a kernel argument.
    machine_config: Option<fn() -> Fields>,
    /// Further files of the Ignition config, with their content.
    files: &'static [(&'static str, &'static str)],
    /// Further kernel arguments.
    kargs: &'static str,
    /// Whether the node image is staged; else its registry is the only source.
    staged: bool,
    /// Changes the machine before the boot.
    prepare: fn(&Machine) -> Result<()>,
    expected: Expected,
}

fn unchanged(_: &Machine) -> Result<()> {
    Ok(())
}

/// A node of OpenShift whose MCO has nothing to do.
const NODE: Row = Row {
    name: "of_a_node",
    machine_config: Some(Vec::new),
    files: &[],
    kargs: "",
    staged: true,
    prepare: unchanged,
    expected: Boots("saved"),
};

const PLAIN: Row = Row { name: "without_a_machine_config", machine_config: None, expected: Boots("unknown"), ..NODE };

const ROWS: [Row; 28] = [
    NODE,
    PLAIN,
    Row { name: "without_a_request", kargs: "slipstream.image=none", expected: NotRequested, ..NODE },
    Row {
        name: "when_the_mco_reboots",
        machine_config: Some(|| vec![("kernelType", "realtime".into())]),
        expected: Stops("reboot", "the MachineConfig wants the kernel realtime"),
        ..NODE
    },
    Row {
        name: "when_the_mco_reboots_and_the_image_is_wanted",
        machine_config: Some(|| vec![("kernelType", "realtime".into())]),
        kargs: "slipstream.mco-reboot=pull",
        expected: Boots("reboot"),
        ..NODE
    },
    Row {
        name: "when_fips_mode_is_wanted",
        machine_config: Some(|| vec![("fips", Value::Bool(true))]),
        expected: Stops("reboot", "FIPS mode is off"),
        ..NODE
    },
    Row {
        name: "when_a_file_tells_the_mco_to_reboot",
        files: &[("/etc/machine-config-daemon-force", "")],
        expected: Stops("reboot", "machine-config-daemon-force"),
        ..NODE
    },
    Row {
        name: "of_a_tag",
        machine_config: Some(|| vec![("osImageURL", "quay.io/example/node:latest".into())]),
        expected: Fails("is not given by digest"),
        ..NODE
    },
    Row {
        name: "when_the_policy_rejects",
        files: &[(POLICY, r#"{"default": [{"type": "reject"}]}"#)],
        expected: Stops("skipped", "its default says reject"),
        ..NODE
    },
    Row {
        name: "when_the_policy_wants_a_signature",
        files: &[(POLICY, r#"{"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}]}"#)],
        expected: Stops("skipped", "its default requires signedBy"),
        ..PLAIN
    },
    Row {
        name: "when_the_policy_cannot_be_read",
        files: &[(POLICY, "{")],
        expected: Fails("reading /etc/containers/policy.json"),
        ..NODE
    },
    Row {
        name: "when_the_only_registry_is_blocked",
        files: &[(REGISTRIES, BLOCKED)],
        staged: false,
        expected: Stops("skipped", "registry \"example.com\" is blocked"),
        ..NODE
    },
    Row { name: "when_the_registry_of_a_staged_image_is_blocked", files: &[(REGISTRIES, BLOCKED)], ..NODE },
    Row {
        name: "when_registries_conf_cannot_be_read",
        files: &[(REGISTRIES, "[[")],
        staged: false,
        expected: Fails("reading /etc/containers/registries.conf"),
        ..NODE
    },
    Row { name: "when_registries_conf_of_a_staged_image_cannot_be_read", files: &[(REGISTRIES, "[[")], ..NODE },
    Row {
        name: "when_the_bootimage_is_too_old",
        kargs: "slipstream.skew=41.5..",
        expected: Stops("skipped", "skew=41.5.., and the bootimage is 41.1"),
        ..NODE
    },
    Row {
        name: "when_the_bootimage_has_no_version",
        kargs: "slipstream.skew=major",
        prepare: odd_version,
        expected: Stops("skipped", "the version of the bootimage: \"rawhide\" is not a version"),
        ..NODE
    },
    Row {
        name: "when_the_boot_loader_has_no_link",
        prepare: no_loader_link,
        expected: Stops("skipped", "/boot/loader does not lead to loader.N"),
        ..PLAIN
    },
    Row {
        name: "when_the_boot_loader_is_another",
        prepare: |machine| machine.ostree(&["config", "set", "sysroot.bootloader", "zipl"]).map(drop),
        expected: Stops("skipped", "the repository has sysroot.bootloader=zipl, and only none is supported"),
        ..PLAIN
    },
    Row {
        name: "when_there_is_no_entry",
        prepare: |machine| Ok(fs::remove_dir_all(machine.path("sysroot/boot/loader/entries"))?),
        expected: Fails("has no boot loader entry in /boot/loader/entries"),
        ..PLAIN
    },
    Row {
        name: "when_another_entry_is_broken",
        prepare: broken_entry,
        expected: Fails("resolving boot link"),
        ..PLAIN
    },
    Row {
        name: "when_another_entry_has_no_deployment",
        prepare: |machine| write_entry(machine, "ostree-0-other.conf", "rw root=/dev/sdb1"),
        expected: Fails("reading /boot/loader/entries/ostree-0-other.conf: there is no ostree="),
        ..PLAIN
    },
    Row {
        name: "when_another_entry_is_a_link_that_leads_nowhere",
        prepare: |machine| Ok(std::os::unix::fs::symlink("/nonexistent", entry_path(machine, "ostree-0-other.conf"))?),
        expected: Fails("/boot/loader/entries/ostree-0-other.conf is gone"),
        ..PLAIN
    },
    Row {
        name: "when_another_entry_is_a_directory",
        prepare: |machine| Ok(fs::create_dir(entry_path(machine, "ostree-0-other.conf"))?),
        ..PLAIN
    },
    Row { name: "when_an_entry_has_everything_twice", prepare: twice, ..PLAIN },
    Row {
        name: "when_the_boot_loader_has_a_link_of_another_name",
        prepare: other_loader_link,
        expected: Stops("skipped", "/boot/loader does not lead to loader.N"),
        ..PLAIN
    },
    Row {
        name: "when_another_entry_starts_another_system",
        prepare: |machine| write_entry(machine, "windows.conf", "rw root=/dev/sdb1"),
        ..PLAIN
    },
    Row {
        name: "of_a_key_that_does_not_exist",
        kargs: "slipstream.sauce=x",
        expected: Fails("unknown key \"sauce\""),
        ..NODE
    },
];

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = ROWS.iter().map(|row| case(row.name, move |machine| agree(machine, row))).collect();
    cases.push(case("when_the_node_image_is_booted", |machine| after_a_swap(machine, 0, "already-booted")));
    cases.push(case("when_the_bootimage_is_booted_deliberately", |machine| after_a_swap(machine, 1, "skipped")));
    cases
}

fn odd_version(machine: &Machine) -> Result<()> {
    let deployment = machine.linked(&machine.options()?.swap_remove(0))?;
    let path = deployment.join("usr/lib/os-release");
    fs::remove_file(&path).context("removing os-release")?;
    fs::write(&path, "NAME=Test\nOSTREE_VERSION='rawhide'\n").context("writing os-release")
}

/// As on a disk whose boot loader reads entries from a directory.
fn no_loader_link(machine: &Machine) -> Result<()> {
    let boot = machine.path("sysroot/boot");
    let target = fs::read_link(boot.join("loader"))?;
    fs::remove_file(boot.join("loader"))?;
    fs::rename(boot.join(target), boot.join("loader")).context("replacing the link")
}

/// A link that libostree has not made.
fn other_loader_link(machine: &Machine) -> Result<()> {
    let boot = machine.path("sysroot/boot");
    let target = fs::read_link(boot.join("loader"))?;
    fs::remove_file(boot.join("loader"))?;
    fs::rename(boot.join(target), boot.join("loader.7"))?;
    std::os::unix::fs::symlink("loader.7", boot.join("loader")).context("replacing the link")
}

/// The last line of a key counts, and the first argument of a name.
fn twice(machine: &Machine) -> Result<()> {
    for entry in fs::read_dir(machine.path("sysroot/boot/loader/entries"))? {
        let path = entry?.path();
        let line = |line: &str| match line.strip_prefix("options ") {
            Some(options) => format!("options ostree=/gone\noptions {options} ostree=/gone\n"),
            None => format!("{line}\n"),
        };
        fs::write(&path, fs::read_to_string(&path)?.lines().map(line).collect::<String>())?;
    }
    Ok(())
}

fn entry_path(machine: &Machine, name: &str) -> std::path::PathBuf {
    machine.path("sysroot/boot/loader/entries").join(name)
}

fn write_entry(machine: &Machine, name: &str, options: &str) -> Result<()> {
    fs::write(entry_path(machine, name), format!("title Other\nversion 0\noptions {options}\n"))
        .context("writing an entry")
}

/// libostree refuses to read a sysroot with such an entry.
fn broken_entry(machine: &Machine) -> Result<()> {
    write_entry(machine, "ostree-0-other.conf", "rw ostree=/ostree/boot.1/testos/0000/7")
}

/// Makes the request of a row, and returns the command line of its boot.
fn request(machine: &Machine, row: &Row) -> Result<String> {
    let mut files: Vec<_> = row.files.iter().map(|(path, text)| (*path, escaped(text))).collect();
    let source = if row.staged { machine.source() } else { "slipstream.source=registry".to_owned() };
    let image = match row.machine_config {
        None => machine.image.clone(),
        Some(changes) => {
            let mut config = worker(&machine.image)?;
            for (field, value) in changes() {
                config["spec"][field] = value;
            }
            files.push((MACHINE_CONFIG, escaped(&config.to_string())));
            "auto".to_owned()
        }
    };
    write_files(machine, &files)?;
    let image =
        if row.kargs.contains("slipstream.image=") { String::new() } else { format!("slipstream.image={image}") };
    Ok(format!("{} {image} {source} {}", first_boot(&machine.options()?[0]), row.kargs))
}

/// Returns the answer of `slipstream check` about a boot with this command line: its document, or its error.
fn answer(machine: &Machine, cmdline: &str) -> Result<Result<Value, String>> {
    let path = machine.path("checked-cmdline");
    fs::write(&path, cmdline)?;
    let mut command = Command::new(SLIPSTREAM);
    command.args(["check", "--json", "--ignition"]).arg(machine.path("ignition.json"));
    command.arg("--sysroot").arg(machine.path("sysroot")).arg("--cmdline").arg(path);
    let output = command.arg("--root").arg(machine.path("run")).output().context("running slipstream check")?;
    if output.status.code() == Some(1) {
        let text = String::from_utf8_lossy(&output.stderr);
        let error = text.lines().find_map(|line| line.strip_prefix("<3>error: ")).context("check has no error")?;
        return Ok(Err(error.to_owned()));
    }
    Ok(Ok(serde_json::from_slice(&output.stdout).context("reading the answer")?))
}

fn agree(machine: &Machine, row: &Row) -> Result<()> {
    fs::create_dir_all(machine.path("run"))?;
    let cmdline = request(machine, row)?;
    (row.prepare)(machine)?;
    let before = machine.listing()?;
    let answer = answer(machine, &cmdline)?;
    ensure!(machine.listing()? == before, "check has written something");
    let (output, status) = machine.boot(&cmdline)?;
    let wrote = machine.listing()? != before;
    let reason = status.as_ref().and_then(|status| status["reason"].as_str()).unwrap_or_default().to_owned();
    let seen = format!("check: {answer:?}\nboot: {status:?}, {output:?}");
    match (row.expected, answer) {
        (Boots(word), Ok(answer)) => {
            ensure!(answer["verdict"] == word && answer["pull"] == true, "{seen}");
            ensure!(outcome(status.as_ref()) == "swapped", "{seen}");
            let avoided = status.is_some_and(|status| status["reboot"]["avoided"] == true);
            ensure!(avoided == (word != "reboot"), "{seen}");
        }
        (Stops(word, part), Ok(answer)) => {
            ensure!(answer["verdict"] == word && answer["pull"] == false, "{seen}");
            ensure!(outcome(status.as_ref()) == "skipped" && reason.contains(part), "{seen}");
            ensure!(status.is_some_and(|status| status["reboot"]["reasons"] == answer["reasons"]), "{seen}");
            ensure!(!wrote, "a refusal has written something: {seen}");
        }
        (Fails(part), Err(error)) => {
            ensure!(error.contains(part), "{seen}");
            // A request that cannot be understood has no account yet: the launcher writes it.
            let own = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(own.contains(&format!("<3>error: {error}")), "{seen}");
            ensure!(output.status.code() == Some(1) && !wrote, "{seen}");
        }
        (NotRequested, Ok(answer)) => {
            ensure!(answer["verdict"] == "not-requested" && answer["pull"] == false, "{seen}");
            ensure!(output.status.success() && status.is_none() && !wrote, "{seen}");
        }
        _ => anyhow::bail!("{seen}"),
    }
    Ok(())
}

/// Boots one of the two entries that there are after a swap, with the same request.
fn after_a_swap(machine: &Machine, entry: usize, word: &str) -> Result<()> {
    fs::create_dir_all(machine.path("run"))?;
    let cmdline = request(machine, &PLAIN)?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    let entry = machine.options()?.swap_remove(entry);
    let again = format!("{} slipstream.image={} {}", first_boot(&entry), machine.image, machine.source());
    let answer = answer(machine, &again)?.map_err(anyhow::Error::msg)?;
    let (output, status) = machine.boot(&again)?;
    ensure!(answer["verdict"] == word && answer["pull"] == false, "{answer}");
    ensure!(outcome(status.as_ref()) == word, "{status:?}, {output:?}");
    ensure!(answer["reasons"] == json!([status.context("no status")?["reason"]]), "{answer}");
    Ok(())
}
