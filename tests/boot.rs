// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `slipstream boot` on a directory that is a sysroot: every way in which it can end, without a VM.
//!
//! It needs root and the program ostree; without them it says so.

// A test may start programs; the ban is for the code that runs at boot.
#![allow(clippy::disallowed_methods)]

// The corpus of the differential test needs more of them than this test.
#[allow(dead_code)]
#[path = "corpus/layer.rs"]
mod layer;
#[allow(dead_code)]
#[path = "corpus/layout.rs"]
mod layout;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use layer::{Blob, Layer, Packing};

const OLD_KERNEL: &str = "1.0-bootimage";
const NEW_KERNEL: &str = "2.0-node";

#[test]
fn every_ending() {
    if !rustix::process::geteuid().is_root() || Command::new("ostree").arg("--version").output().is_err() {
        eprintln!("SKIPPED: boot on a directory: it needs root and the program ostree");
        return;
    }
    for (label, case) in [
        ("swapped, then already booted", swapped as fn(&Machine) -> Result<()>),
        ("a deliberate boot of the bootimage", deliberate),
        ("kernel=same", same_kernel),
        ("no source has it", failed),
        ("the second source has it", second_source),
        ("another bootable image is not for us", not_bootable),
        ("no request", no_request),
        ("image=auto of an Ignition config", auto),
        ("image=auto without a MachineConfig", auto_without),
        ("the MCO would reboot", mco_reboots),
        ("a remote file in the Ignition config", remote_file),
        ("check", check),
    ] {
        let machine = Machine::new().unwrap_or_else(|error| panic!("{label}: {error:#}"));
        case(&machine).unwrap_or_else(|error| panic!("{label}: {error:#}"));
    }
}

/// A sysroot with a deployed bootimage, and a staged node image.
struct Machine {
    directory: tempfile::TempDir,
    image: String,
}

fn run(words: &[&str]) -> Result<String> {
    let output = Command::new(words[0]).args(&words[1..]).output().with_context(|| format!("running {}", words[0]))?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", words.join(" "), text.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Machine {
    fn new() -> Result<Self> {
        // tmpfs may lack user xattrs.
        let directory = tempfile::tempdir_in("/var/tmp")?;
        let mut machine = Self { directory, image: String::new() };
        let digest = write_image(&machine.path("node"), true)?;
        machine.image = format!("example.com/os/node@{digest}");
        let (root, tree) = (machine.path("sysroot"), machine.path("tree"));
        fs::create_dir(&root)?;
        for (path, text) in [
            (format!("usr/lib/modules/{OLD_KERNEL}/vmlinuz"), "old kernel"),
            (format!("usr/lib/modules/{OLD_KERNEL}/initramfs.img"), "old initramfs"),
            ("usr/lib/os-release".to_owned(), "NAME=Test\nID=test\nOSTREE_VERSION='41.1'\n"),
            ("usr/etc/conf".to_owned(), "of the bootimage\n"),
        ] {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().context("no parent")?)?;
            fs::write(path, text)?;
        }
        let (sysroot, repo) =
            (format!("--sysroot={}", root.display()), format!("--repo={}/ostree/repo", root.display()));
        run(&["ostree", "admin", "init-fs", "--modern", &root.display().to_string()])?;
        run(&["ostree", "config", &repo, "set", "sysroot.bootloader", "none"])?;
        run(&["ostree", "admin", "os-init", "testos", &sysroot])?;
        run(&["ostree", "commit", &repo, "--branch=bootimage", &format!("--tree=dir={}", tree.display())])?;
        run(&[
            "ostree",
            "admin",
            "deploy",
            &sysroot,
            "--os=testos",
            "--karg=rw",
            "--karg=$ignition_firstboot",
            "--karg=slipstream.debug=no",
            "bootimage",
        ])?;
        Ok(machine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The options of the boot loader entries, the default first.
    fn options(&self) -> Result<Vec<String>> {
        let mut entries: Vec<_> = fs::read_dir(self.path("sysroot/boot/loader/entries"))?.collect::<Result<_, _>>()?;
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
        let options = |path: &Path| -> Result<String> {
            let text = fs::read_to_string(path)?;
            let line = text.lines().find_map(|line| line.strip_prefix("options "));
            Ok(line.context("entry without options")?.to_owned())
        };
        entries.iter().map(|entry| options(&entry.path())).collect()
    }

    /// Run `slipstream boot` as on a boot with this command line.
    fn boot(&self, cmdline: &str) -> Result<(Output, Option<Value>)> {
        fs::write(self.path("cmdline"), cmdline)?;
        fs::create_dir_all(self.path("run"))?;
        let at = |option: &str, name: &str| format!("--{option}={}", self.path(name).display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_slipstream"));
        command.arg("boot");
        for (option, name) in [
            ("sysroot", "sysroot"),
            ("cmdline", "cmdline"),
            ("run-dir", "run"),
            ("root", "run"),
            ("ignition", "ignition.json"),
        ] {
            let argument = at(option, name);
            let (option, value) = argument.split_once('=').context("no value")?;
            command.args([option, value]);
        }
        let output = command.output().context("running slipstream")?;
        let status = match fs::read_to_string(self.path("run/status.json")) {
            Ok(text) => Some(serde_json::from_str(&text)?),
            Err(_) => None,
        };
        Ok((output, status))
    }

    fn request(&self, more: &str) -> Result<String> {
        let default = self.options()?.into_iter().next().context("no entry")?;
        Ok(format!("{default} slipstream.image={} {more}", self.image))
    }

    fn source(&self) -> String {
        format!("slipstream.source=oci:{}", self.path("node").display())
    }

    fn refs(&self) -> Result<String> {
        run(&["ostree", "refs", &format!("--repo={}", self.path("sysroot/ostree/repo").display())])
    }

    /// Path and time of change of everything that could have been written.
    fn listing(&self) -> Result<String> {
        let root = self.path("sysroot").display().to_string();
        run(&["find", &root, "-printf", "%p %C@ %l\n"])
    }

    /// Where the boot link of a command line leads.
    fn linked(&self, cmdline: &str) -> Result<PathBuf> {
        let link = cmdline.split_whitespace().find_map(|karg| karg.strip_prefix("ostree=/"));
        Ok(fs::canonicalize(self.path("sysroot").join(link.context("no ostree=")?))?)
    }
}

/// A node image without an ostree base: one layer with all that a deployment needs.
fn write_image(dir: &Path, bootable: bool) -> Result<String> {
    let mut tar = Layer::new();
    tar.dir("usr").dir("etc");
    tar.file(&format!("usr/lib/modules/{NEW_KERNEL}/vmlinuz"), "new kernel");
    tar.file(&format!("usr/lib/modules/{NEW_KERNEL}/initramfs.img"), "new initramfs");
    tar.file("usr/lib/os-release", "NAME=Test\nID=test\n").file("etc/conf", "of the node image\n").dir("var");
    let mut image = layout::Image::plain();
    if !bootable {
        image.config["config"]["Labels"] = serde_json::json!({});
    }
    image.push(&Blob::new(tar.finish(), Packing::Gzip))?;
    image.write(dir)
}

/// A config as the MCO's server makes it, with these fields of the MachineConfig's spec changed.
fn write_ignition(machine: &Machine, changes: &[(&str, Value)]) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mco/machine-configs/worker.json");
    let mut config: Value = serde_json::from_slice(&fs::read(path)?)?;
    config["spec"]["osImageURL"] = machine.image.clone().into();
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

fn escaped(text: &str) -> String {
    text.bytes().fold("data:,".to_owned(), |url, byte| format!("{url}%{byte:02x}"))
}

fn write_files(machine: &Machine, files: &[(&str, String)]) -> Result<()> {
    let files: Vec<_> =
        files.iter().map(|(path, url)| serde_json::json!({"path": path, "contents": {"source": url}})).collect();
    let config = serde_json::json!({"ignition": {"version": "3.5.0"}, "storage": {"files": files}});
    Ok(fs::write(machine.path("ignition.json"), config.to_string())?)
}

fn outcome(status: Option<&Value>) -> &str {
    status.and_then(|status| status["outcome"].as_str()).unwrap_or("none")
}

fn swapped(machine: &Machine) -> Result<()> {
    let cmdline = machine.request(&machine.source())?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    let status = status.context("no status")?;
    let deployment = status["node_image"]["deployment"].as_str().context("no deployment")?;
    ensure!(machine.linked(&cmdline)? == fs::canonicalize(machine.path("sysroot").join(deployment))?, "the boot link");
    let options = machine.options()?;
    ensure!(options.len() == 2, "entries: {options:?}");
    ensure!(options[0].starts_with("rw $ignition_firstboot ostree=/ostree/boot.0/testos/"), "new: {}", options[0]);
    ensure!(options[1].starts_with("rw $ignition_firstboot slipstream.debug=no ostree="), "old: {}", options[1]);
    let origin = fs::read_to_string(machine.path("sysroot").join(format!("{deployment}.origin")))?;
    let expected = format!("[origin]\ncontainer-image-reference=ostree-unverified-registry:{}\n", machine.image);
    ensure!(origin == expected, "origin {origin:?}");
    let conf = fs::read_to_string(machine.path("sysroot").join(deployment).join("etc/conf"))?;
    ensure!(conf == "of the node image\n", "/etc is {conf:?}");
    run(&["ostree", "fsck", "--quiet", &format!("--repo={}", machine.path("sysroot/ostree/repo").display())])?;
    // The same boot again: nothing changes.
    let before = machine.listing()?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "already-booted", "{status:?}, {output:?}");
    ensure!(machine.listing()? == before, "something was written");
    // A cleanup by ostree takes the old links, and leaves both deployments.
    run(&["ostree", "admin", "cleanup", &format!("--sysroot={}", machine.path("sysroot").display())])?;
    ensure!(machine.options()?.len() == 2, "entries after a cleanup");
    Ok(())
}

fn deliberate(machine: &Machine) -> Result<()> {
    machine.boot(&machine.request(&machine.source())?)?;
    let bootimage = machine.options()?.pop().context("no second entry")?;
    let cmdline = format!("{bootimage} slipstream.image={} {}", machine.image, machine.source());
    let linked = machine.linked(&cmdline)?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "skipped", "{status:?}, {output:?}");
    ensure!(machine.linked(&cmdline)? == linked, "the boot link has moved");
    Ok(())
}

fn same_kernel(machine: &Machine) -> Result<()> {
    let refs = machine.refs()?;
    let (output, status) = machine.boot(&machine.request(&format!("{} slipstream.kernel=same", machine.source()))?)?;
    ensure!(outcome(status.as_ref()) == "skipped" && output.status.success(), "{status:?}, {output:?}");
    let reason = status.map(|status| status["reason"].to_string()).unwrap_or_default();
    ensure!(reason.contains(&format!("kernel=same, and the node image has {NEW_KERNEL}")), "{reason}");
    ensure!(machine.refs()? == refs && machine.options()?.len() == 1, "something is left");
    Ok(())
}

fn failed(machine: &Machine) -> Result<()> {
    let refs = machine.refs()?;
    let cmdline = machine.request("slipstream.source=oci:/nonexistent")?;
    let linked = machine.linked(&cmdline)?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "failed" && output.status.code() == Some(1), "{status:?}, {output:?}");
    let errors = String::from_utf8_lossy(&output.stderr).lines().filter(|line| line.contains("error:")).count();
    ensure!(errors == 1, "{errors} error lines: {output:?}");
    ensure!(machine.refs()? == refs && machine.options()?.len() == 1, "something is left");
    ensure!(machine.linked(&cmdline)? == linked, "the boot link has moved");
    Ok(())
}

fn second_source(machine: &Machine) -> Result<()> {
    let (output, status) =
        machine.boot(&machine.request(&format!("slipstream.source=oci:/nonexistent {}", machine.source()))?)?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    let endpoints = status.map(|status| status["endpoints"].clone()).unwrap_or_default();
    ensure!(endpoints[0]["error"].as_str().is_some_and(|error| error.contains("/nonexistent")), "{endpoints}");
    ensure!(endpoints[1]["error"].is_null(), "{endpoints}");
    Ok(())
}

fn not_bootable(machine: &Machine) -> Result<()> {
    let digest = write_image(&machine.path("plain"), false)?;
    let default = machine.options()?.swap_remove(0);
    let source = machine.path("plain").display().to_string();
    let cmdline = format!("{default} slipstream.image=example.com/os/plain@{digest} slipstream.source=oci:{source}");
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "failed", "{status:?}, {output:?}");
    ensure!(String::from_utf8_lossy(&output.stderr).contains("image is not bootable"), "{output:?}");
    Ok(())
}

fn no_request(machine: &Machine) -> Result<()> {
    let before = machine.listing()?;
    let (output, status) = machine.boot(&machine.options()?.swap_remove(0))?;
    ensure!(output.status.success() && status.is_none(), "{status:?}, {output:?}");
    ensure!(machine.listing()? == before, "something was written");
    Ok(())
}

const V2: [&str; 2] = ["systemd.unified_cgroup_hierarchy=1", r#"cgroup_no_v1="all""#];

fn auto(machine: &Machine) -> Result<()> {
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

fn auto_without(machine: &Machine) -> Result<()> {
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

fn mco_reboots(machine: &Machine) -> Result<()> {
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

fn remote_file(machine: &Machine) -> Result<()> {
    write_files(machine, &[("/etc/slipstream.conf", "https://user:hunter2@example.com/?hunter2".to_owned())])?;
    let (output, status) = machine.boot(&machine.options()?.swap_remove(0))?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && !text.contains("hunter2"), "{text}");
    ensure!(text.contains("/etc/slipstream.conf of the Ignition config: it has a remote source (https)"), "{text}");
    ensure!(status.is_none(), "the launcher reports what the importer cannot: {status:?}");
    Ok(())
}

/// Run `slipstream check` on the disk: exit code, standard output, and what it says if it fails.
fn run_check(machine: &Machine, more: &[&str]) -> Result<(Option<i32>, String, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slipstream"));
    command.arg("check").arg("--ignition").arg(machine.path("ignition.json"));
    command.arg("--sysroot").arg(machine.path("sysroot")).args(more);
    let output = command.output().context("running slipstream")?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

fn check(machine: &Machine) -> Result<()> {
    let before = machine.listing()?;
    let (code, _, error) = run_check(machine, &[])?;
    ensure!(code == Some(1) && error.contains("there is no Ignition config"), "no file: {code:?} {error}");
    for (label, changes, expected, line) in [
        ("saved", vec![], 0, "decision: the reboot would be saved"),
        ("FIPS", vec![("fips", Value::Bool(true))], 0, "decision: the reboot would be saved"),
        (
            "kernel",
            vec![("kernelType", "realtime".into()), ("extensions", serde_json::json!(["usbguard"]))],
            2,
            "  because: the MachineConfig wants extensions: usbguard",
        ),
        ("tag", vec![("osImageURL", "quay.io/example/node:latest".into())], 1, ""),
    ] {
        write_ignition(machine, &changes)?;
        let (code, text, error) = run_check(machine, &[])?;
        ensure!(code == Some(expected), "{label}: {code:?} {text} {error}");
        ensure!(line.is_empty() || text.lines().any(|found| found == line), "{label}: {text}");
    }
    write_ignition(machine, &[])?;
    let (code, text, _) = run_check(machine, &["--json"])?;
    let value: Value = serde_json::from_str(&text)?;
    ensure!(code == Some(0) && value["verdict"] == "saved" && value["pull"] == true, "{value}");
    ensure!(value["image"] == machine.image.as_str(), "{value}");
    ensure!(value["deferred_kargs"][1]["karg"] == r#"cgroup_no_v1="all""#, "{value}");
    // A running kernel that is not in FIPS mode, on a command line that takes the request back.
    write_ignition(machine, &[("fips", Value::Bool(true))])?;
    let cmdline = machine.path("cmdline");
    let with_cmdline = ["--cmdline", cmdline.to_str().context("path")?];
    for (more, expected) in [("", 2), ("slipstream.image=none", 3)] {
        fs::write(&cmdline, format!("{} {more}", machine.options()?[0]))?;
        let (code, text, error) = run_check(machine, &with_cmdline)?;
        ensure!(code == Some(expected), "{more}: {code:?} {text} {error}");
    }
    ensure!(machine.listing()? == before, "something was written");
    Ok(())
}
