// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What others made, what an earlier run has left, and who else is at work.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, fcntl_lock};

use testkit::blob::{Blob, Packing};
use testkit::image::Image;
use testkit::layer::Layer;

use super::{Machine, outcome, run};

/// Refs, deployments, boot loader entries and files on the boot partition that have nothing to do with us.
pub fn stay(machine: &Machine) -> Result<()> {
    let root = machine.path("sysroot");
    let sysroot = format!("--sysroot={}", root.display());
    let repo = format!("--repo={}/ostree/repo", root.display());
    // Another stateroot, a pinned deployment, and one that libostree would drop for a new one of its stateroot.
    run(&["ostree", "admin", "os-init", "otheros", &sysroot])?;
    run(&["ostree", "admin", "deploy", &sysroot, "--os=otheros", "--karg=other", "bootimage"])?;
    for karg in ["--karg=pinned", "--karg=rollback"] {
        run(&["ostree", "admin", "deploy", &sysroot, "--os=testos", "--retain", "--no-merge", karg, "bootimage"])?;
    }
    run(&["ostree", "admin", "deploy", &sysroot, "--os=testos", "--retain", "--karg=booted", "bootimage"])?;
    let pinned = machine.options()?.iter().position(|options| options.contains("pinned")).context("not deployed")?;
    run(&["ostree", "admin", "pin", &sysroot, &pinned.to_string()])?;
    run(&["ostree", "refs", &repo, "--create=other/branch", "bootimage"])?;
    run(&["ostree", "refs", &repo, "--create=ostree/container/blob/other", "bootimage"])?;
    let files = ["boot/loader/entries/windows.conf", "boot/grub2/grub.cfg", "boot/EFI/other.efi", "boot/ostree/other"];
    for (n, name) in files.iter().enumerate() {
        fs::create_dir_all(root.join(name).parent().context("no parent")?)?;
        fs::write(root.join(name), format!("of others {n}"))?;
    }
    let (refs, options) = (machine.refs()?, ostree_options(machine)?);
    let (output, status) =
        machine.boot(&format!("{} slipstream.image={} {}", options[0], machine.image, machine.source()))?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    let now = ostree_options(machine)?;
    let without_link = |options: &String| -> Vec<String> {
        options.split(' ').filter(|karg| !karg.starts_with("ostree=")).map(str::to_owned).collect()
    };
    let (old, new): (Vec<_>, Vec<_>) =
        (options.iter().map(without_link).collect(), now[1..].iter().map(without_link).collect());
    ensure!(old == new, "entries before: {old:?}\nafter: {new:?}");
    let now = machine.refs()?;
    ensure!(refs.lines().all(|name| now.lines().any(|there| there == name)), "refs before: {refs}\nafter: {now}");
    for (n, name) in files.iter().enumerate() {
        let text = fs::read_to_string(root.join(name)).with_context(|| format!("reading {name}"))?;
        ensure!(text == format!("of others {n}"), "{name} is {text:?}");
    }
    let status = run(&["ostree", "admin", "status", &sysroot])?;
    ensure!(status.contains("Pinned: yes"), "{status}");
    Ok(())
}

/// The options of libostree's own entries, the default first.
fn ostree_options(machine: &Machine) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(machine.path("sysroot/boot/loader/entries"))? {
        let text = fs::read_to_string(entry?.path())?;
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
        if let (Some(version), Some(options)) = (value("version "), value("options ")) {
            found.push((version.parse::<u32>()?, options));
        }
    }
    found.sort();
    Ok(found.into_iter().rev().map(|(_, options)| options).collect())
}

/// An image that was pulled beforehand is not ours to remove when it does not boot; one that a boot has brought is.
pub fn refused(machine: &Machine) -> Result<()> {
    let request = machine.request(&format!("{} slipstream.kernel=same", machine.source()))?;
    pull(machine)?;
    let refs = machine.refs()?;
    let (output, status) = machine.boot(&request)?;
    ensure!(outcome(status.as_ref()) == "skipped", "{status:?}, {output:?}");
    ensure!(machine.refs()? == refs, "refs before: {refs}\nafter: {}", machine.refs()?);
    Ok(())
}

fn pull(machine: &Machine) -> Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_slipstream"))
        .args(["pull", &format!("oci:{}", machine.path("node").display()), "--image", &machine.image, "--repo"])
        .arg(machine.path("sysroot/ostree/repo"))
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

/// Somebody holds a lock until the deadline: it is said who, and nothing is changed.
pub fn locked(machine: &Machine) -> Result<()> {
    for (file, expected) in [
        ("ostree/lock", "another process (ostree, rpm-ostree or bootc) has locked the sysroot: it has not ended in"),
        (
            "ostree/repo/.lock",
            "another process (ostree, rpm-ostree or bootc) has locked the repository: it has not ended in",
        ),
    ] {
        let lock = hold(&machine.path("sysroot").join(file))?;
        let refs = machine.refs()?;
        let (output, status) =
            machine.boot(&machine.request(&format!("{} slipstream.deadline=5s", machine.source()))?)?;
        ensure!(outcome(status.as_ref()) == "failed", "{file}: {status:?}, {output:?}");
        let reason = status.map(|status| status["reason"].to_string()).unwrap_or_default();
        ensure!(reason.contains(expected), "{file}: {reason}");
        ensure!(machine.refs()? == refs && machine.options()?.len() == 1, "{file}: something is left");
        drop(lock);
    }
    // It says that it waits, and goes on when the lock is free.
    let lock = hold(&machine.path("sysroot/ostree/lock"))?;
    let mut boot = machine.command(&machine.request(&machine.source())?)?.stderr(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(boot.stderr.take().context("no stderr")?);
    let mut line = String::new();
    while !line.contains("has locked the sysroot: waiting for it") {
        line.clear();
        ensure!(said.read_line(&mut line)? > 0, "it does not say that it waits");
    }
    ensure!(machine.options()?.len() == 1, "it did not wait");
    drop(lock);
    let mut rest = String::new();
    said.read_to_string(&mut rest)?;
    ensure!(boot.wait()?.success() && outcome(machine.status()?.as_ref()) == "swapped", "{rest}");
    Ok(())
}

fn hold(path: &Path) -> Result<File> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}

/// A layer is whole, and another one is not: the first stays for the next try if there is one.
pub fn next_try(_: &Machine) -> Result<()> {
    let machine = &mut Machine::new()?;
    let (mut whole, mut cut) = (Layer::new(), Layer::new());
    whole.dir("usr").file("usr/file", "text");
    cut.file(
        "usr/noise",
        &(0..4 << 20).map(|n: u32| char::from((n.wrapping_mul(n) >> 7) as u8 & 63)).collect::<String>(),
    );
    let mut image = Image::plain();
    image.push(&Blob::new(whole.finish(), Packing::Tar))?;
    image.push(&Blob::new(cut.finish(), Packing::Tar))?;
    let directory = machine.path("cut");
    machine.image = format!("example.com/os/node@{}", image.write(&directory)?);
    for entry in fs::read_dir(directory.join("blobs/sha256"))? {
        let path = entry?.path();
        let bytes = fs::read(&path)?;
        if let Some(bytes) = bytes.get(..bytes.len() - 1).filter(|bytes| bytes.len() > 1 << 20) {
            fs::write(&path, bytes)?;
        }
    }
    let source = format!("slipstream.source=oci:{}", directory.display());
    for (more, layers) in [(" slipstream.on-failure=reboot", 1), ("", 0)] {
        let (output, status) = machine.boot(&machine.request(&format!("{source}{more}"))?)?;
        ensure!(outcome(status.as_ref()) == "failed", "{status:?}, {output:?}");
        let refs = machine.refs()?;
        let found = refs.lines().filter(|name| name.starts_with("ostree/container/")).count();
        ensure!(found == layers, "{more:?}: {found} refs of layers instead of {layers}: {refs}, {status:?}");
    }
    Ok(())
}

/// A swap leaves nothing that no ref names.
pub fn nothing_unreachable(machine: &Machine) -> Result<()> {
    let (output, status) = machine.boot(&machine.request(&machine.source())?)?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    let left = Left::of(machine)?;
    ensure!(left.objects == "0" && left.staged.is_empty(), "{left:?}");
    Ok(())
}

/// What a machine has of each kind.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    /// How many objects no ref reaches.
    objects: String,
    refs: String,
    /// Directories and origins in `deploy`.
    deployments: usize,
    /// Kernels on the boot partition.
    kernels: usize,
    /// What is in `tmp` of the repository.
    staged: Vec<String>,
}

impl Left {
    fn of(machine: &Machine) -> Result<Self> {
        let repo = format!("--repo={}", machine.path("sysroot/ostree/repo").display());
        let names = |path: &str| -> Result<Vec<String>> {
            let entries =
                fs::read_dir(machine.path("sysroot").join(path)).with_context(|| format!("listing {path}"))?;
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        let text = run(&["ostree", "prune", &repo, "--no-prune", "--refs-only"])?;
        let line = text.lines().find_map(|line| line.strip_prefix("Would delete: ")).unwrap_or("0");
        let staged = names("ostree/repo/tmp")?.into_iter().filter(|name| name.starts_with("slipstream-"));
        Ok(Self {
            objects: line.split_whitespace().next().unwrap_or_default().to_owned(),
            refs: machine.refs()?,
            deployments: names("ostree/deploy/testos/deploy")?.len(),
            kernels: names("boot/ostree")?.len(),
            staged: staged.collect(),
        })
    }
}

/// A run for another image was cut at each of its steps. Then this one is as if it had been the first, but for objects,
/// which the next prune takes.
#[cfg(feature = "failpoints")]
pub fn cut_before() -> Result<()> {
    for step in ["none", "layer-ref", "merge-commit", "image-ref", "deployment"] {
        let mut machine = Machine::new()?;
        if step != "none" {
            let image = std::mem::take(&mut machine.image);
            let digest = super::write_image(&machine.path("earlier"), |labels| labels["version"] = "another".into())?;
            machine.image = format!("example.com/os/earlier@{digest}");
            machine.failpoint = Some(step);
            let source = format!("slipstream.source=oci:{}", machine.path("earlier").display());
            let (output, _) = machine.boot(&machine.request(&source)?)?;
            ensure!(!output.status.success(), "{step}: {output:?}");
            (machine.image, machine.failpoint) = (image, None);
        }
        let (output, status) = machine.boot(&machine.request(&machine.source())?)?;
        ensure!(outcome(status.as_ref()) == "swapped", "{step}: {status:?}, {output:?}");
        run(&["ostree", "prune", &format!("--repo={}", machine.path("sysroot/ostree/repo").display()), "--refs-only"])?;
        let left = Left::of(&machine)?;
        ensure!(left.objects == "0" && left.staged.is_empty(), "{step}: {left:?}");
        // A deployment is a directory and an origin.
        ensure!(left.deployments == 4 && left.kernels == 2, "{step}: {left:?}");
        let images = left.refs.lines().filter(|name| name.starts_with("ostree/container/")).count();
        ensure!(images == 2 && !left.refs.contains("earlier"), "{step}: {left:?}");
    }
    Ok(())
}

/// A boot that was cut has brought the image; the next one is not to use it.
#[cfg(feature = "failpoints")]
pub fn cut_and_refused() -> Result<()> {
    for step in ["layer-ref", "image-ref", "deployment"] {
        let mut machine = Machine::new()?;
        let before = Left::of(&machine)?;
        machine.failpoint = Some(step);
        let (output, _) = machine.boot(&machine.request(&machine.source())?)?;
        ensure!(!output.status.success(), "{step}: {output:?}");
        machine.failpoint = None;
        let request = machine.request(&format!("{} slipstream.kernel=same", machine.source()))?;
        let (output, status) = machine.boot(&request)?;
        ensure!(outcome(status.as_ref()) == "skipped", "{step}: {status:?}, {output:?}");
        let after = Left::of(&machine)?;
        ensure!(Left { objects: before.objects.clone(), ..after } == before, "{step}: left something of {before:?}");
    }
    Ok(())
}
