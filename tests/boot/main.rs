// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `slipstream boot` on a directory that is a sysroot: every way in which it can end, without a VM.
//!
//! It needs root and the program ostree; without them it says so.

// A test may start programs; the ban is for the code that runs at boot.
#![allow(clippy::disallowed_methods)]

mod ignition;
mod kernel;
mod others;
mod prepare_root;
mod room;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use slipstream::oci::Digest;
use slipstream::root::tries;
use testkit::blob::{Blob, Packing};
use testkit::image::Image;
use testkit::layer::Layer;

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
        ("too far apart", skewed),
        ("too far apart, and what was asked for", kernel::skew),
        ("kernel=same, and no layer has it", kernel::another),
        ("kernel=same, and it was only promised", kernel::promised),
        ("kernel=same, and the base has it", kernel::in_base),
        ("kernel=same, and a layer brings it", kernel::in_layer),
        ("kernel=keep with another one", kernel::keep),
        ("room for two kernels", room::two),
        ("an older kernel takes the room", room::three),
        ("the kernel is there already", room::same),
        ("device trees", room::device_trees),
        ("no source has it", failed),
        ("the second source has it", second_source),
        ("another bootable image is not for us", not_bootable),
        ("no request", no_request),
        ("after a try that ended with a reboot", earlier_tries),
        ("image=auto of an Ignition config", ignition::auto),
        ("image=auto from a registry, with the pull secret of the Ignition config", ignition::auto_registry),
        ("image=auto without a MachineConfig", ignition::auto_without),
        ("the MCO would reboot", ignition::mco_reboots),
        ("a remote file in the Ignition config", ignition::remote_file),
        ("check", ignition::check),
        ("what others made", others::stay),
        ("an image that was pulled beforehand", others::refused),
        ("somebody holds a lock", others::locked),
        ("nothing is unreachable", others::nothing_unreachable),
        ("what the next try goes on with", others::next_try),
        ("composefs", prepare_root::composefs),
        ("a verified root", prepare_root::verified),
    ] {
        let machine = Machine::new().unwrap_or_else(|error| panic!("{label}: {error:#}"));
        case(&machine).unwrap_or_else(|error| panic!("{label}: {error:#}"));
    }
}

/// A sysroot with a deployed bootimage, and a staged node image.
struct Machine {
    directory: tempfile::TempDir,
    image: String,
    /// The step at which slipstream is to die.
    failpoint: Option<&'static str>,
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
        let mut machine = Self { directory, image: String::new(), failpoint: None };
        let digest = write_image(&machine.path("node"), |_| {})?;
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
        run(&[
            "ostree",
            "commit",
            &repo,
            "--branch=bootimage",
            "--add-metadata-string=version=40.7.1",
            &format!("--tree=dir={}", tree.display()),
        ])?;
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
        let output = self.command(cmdline)?.output().context("running slipstream")?;
        Ok((output, self.status()?))
    }

    /// `slipstream boot` as on a boot with this command line.
    fn command(&self, cmdline: &str) -> Result<Command> {
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
        command.envs(self.failpoint.map(|step| ("SLIPSTREAM_FAILPOINT", step)));
        Ok(command)
    }

    fn status(&self) -> Result<Option<Value>> {
        match fs::read_to_string(self.path("run/status.json")) {
            Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
            Err(_) => Ok(None),
        }
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
fn write_image(dir: &Path, label: impl FnOnce(&mut Value)) -> Result<String> {
    write_image_with(dir, &[], label)
}

/// The same with more files.
fn write_image_with(dir: &Path, files: &[(&str, &str)], label: impl FnOnce(&mut Value)) -> Result<String> {
    let mut tar = Layer::new();
    tar.dir("usr").dir("etc");
    tar.file(&format!("usr/lib/modules/{NEW_KERNEL}/vmlinuz"), "new kernel");
    tar.file(&format!("usr/lib/modules/{NEW_KERNEL}/initramfs.img"), "new initramfs");
    tar.file("usr/lib/os-release", "NAME=Test\nID=test\n").file("etc/conf", "of the node image\n").dir("var");
    for (path, text) in files {
        tar.file(path, text);
    }
    let mut image = Image::plain();
    label(&mut image.config["config"]["Labels"]);
    image.push(&Blob::new(tar.finish(), Packing::Gzip))?;
    image.write(dir)
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

/// Decided from the manifest and the config: no layer is there to be read.
fn skewed(machine: &Machine) -> Result<()> {
    let refs = machine.refs()?;
    for (label, version, oldest, karg, expected) in [
        ("minor", "41.2.3", None, "slipstream.skew=minor", "skew=minor, the bootimage is 41.1 and the node image 41.2"),
        ("major", "42.1.0", None, "slipstream.skew=major", "skew=major, the bootimage is 41.1 and the node image 42.1"),
        ("too old", "41.1.0", None, "slipstream.skew=41.5..", "skew=41.5.., and the bootimage is 41.1"),
        ("the image's own demand", "41.1.0", Some("41.3"), "", "the node image asks for a bootimage of 41.3 or later"),
    ] {
        let digest = write_image(&machine.path(label), |labels| {
            labels["org.opencontainers.image.version"] = version.into();
            if let Some(oldest) = oldest {
                labels["slipstream.min-bootimage"] = oldest.into();
            }
        })?;
        let layout = machine.path(label);
        let manifest = fs::read(layout.join("blobs/sha256").join(digest.trim_start_matches("sha256:")))?;
        let manifest: Value = serde_json::from_slice(&manifest)?;
        let layer = manifest["layers"][0]["digest"].as_str().context("no layer")?;
        fs::remove_file(layout.join("blobs/sha256").join(layer.trim_start_matches("sha256:")))?;
        let default = machine.options()?.swap_remove(0);
        let cmdline = format!(
            "{default} slipstream.image=example.com/os/node@{digest} \"slipstream.source=oci:{}\" {karg}",
            layout.display()
        );
        let (output, status) = machine.boot(&cmdline)?;
        ensure!(outcome(status.as_ref()) == "skipped" && output.status.success(), "{label}: {status:?}, {output:?}");
        let reason = status.map(|status| status["reason"].to_string()).unwrap_or_default();
        ensure!(reason.contains(expected), "{label}: {reason}");
        ensure!(machine.refs()? == refs && machine.options()?.len() == 1, "{label}: something is left");
    }
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
    let digest = write_image(&machine.path("plain"), |labels| *labels = serde_json::json!({}))?;
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

/// The importer tells of earlier tries, whatever comes of this one; that the file goes is the launcher's work.
fn earlier_tries(machine: &Machine) -> Result<()> {
    let root = machine.path("sysroot");
    tries::record(&root, Digest::of(b"this"), "no network")?;
    let (output, status) = machine.boot(&machine.request("slipstream.source=oci:/nonexistent")?)?;
    let expected = serde_json::json!([{"reason": "no network"}]);
    ensure!(status.as_ref().is_some_and(|status| status["tries"] == expected), "failed: {status:?}, {output:?}");
    fs::write(root.join(tries::TRIES_FILE), "garbage")?;
    let (output, status) = machine.boot(&machine.request(&machine.source())?)?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    let status = status.context("no status")?;
    ensure!(status["tries"] == serde_json::json!([]), "garbage: {}", status["tries"]);
    let link = &status["leftovers"][0];
    ensure!(link["kind"] == "link" && link["until"] == "ostree-cleanup", "leftovers: {}", status["leftovers"]);
    ensure!(status["node_image"]["etc_merged"] == false, "{status}");
    let lines = String::from_utf8_lossy(&output.stderr).lines().count();
    ensure!(lines == 2, "{lines} lines, and one more is settle's: {output:?}");
    Ok(())
}

/// slipstream dies right after each of its steps, and is started again as on the next boot.
#[cfg(feature = "failpoints")]
#[test]
fn killed_at_each_step() {
    if !rustix::process::geteuid().is_root() || Command::new("ostree").arg("--version").output().is_err() {
        eprintln!("SKIPPED: killed boots on a directory: they need root and the program ostree");
        return;
    }
    for (step, expected) in [
        ("layer-ref", "swapped"),
        ("merge-commit", "swapped"),
        ("image-ref", "swapped"),
        ("deployment", "swapped"),
        ("default", "already-booted"),
        ("swap", "already-booted"),
    ] {
        killed(step, expected).unwrap_or_else(|error| panic!("{step}: {error:#}"));
    }
    others::cut_before().unwrap_or_else(|error| panic!("another image before: {error:#}"));
    others::cut_and_refused().unwrap_or_else(|error| panic!("refused after a cut: {error:#}"));
}

#[cfg(feature = "failpoints")]
fn killed(step: &'static str, expected: &str) -> Result<()> {
    use std::os::unix::process::ExitStatusExt;

    let mut machine = Machine::new()?;
    machine.failpoint = Some(step);
    let (output, status) = machine.boot(&machine.request(&machine.source())?)?;
    ensure!(output.status.signal().is_some(), "it did not die: {output:?}");
    // From the moment on at which this boot's root is another one, the account says so.
    let told = outcome(status.as_ref());
    ensure!(told == if step == "swap" { "swapped" } else { "none" }, "it has told {told}");
    machine.failpoint = None;
    let fsck =
        || run(&["ostree", "fsck", "--quiet", &format!("--repo={}", machine.path("sysroot/ostree/repo").display())]);
    fsck().context("after it")?;
    let cmdline = machine.request(&machine.source())?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == expected, "{status:?}, {output:?}");
    fsck().context("after the next run")?;
    let options = machine.options()?;
    ensure!(options.len() == 2, "entries: {options:?}");
    let staged: Vec<_> = fs::read_dir(machine.path("sysroot/ostree/repo/tmp"))?.collect::<Result<_, _>>()?;
    let ours = staged.iter().filter(|entry| entry.file_name().to_string_lossy().starts_with("slipstream-")).count();
    ensure!(ours == 0, "{ours} staging directories are left");
    Ok(())
}
