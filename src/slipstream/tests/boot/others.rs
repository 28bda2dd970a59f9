// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files and refs of others, and other programs at work.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, fcntl_lock};
use testkit::machine::{Machine, outcome};
use testkit::programs::run;
use testkit::suite::Case;

use crate::case::{SLIPSTREAM, case};

pub fn cases() -> Vec<Case> {
    vec![
        case("leaves_what_others_made", stay),
        case("keeps_an_image_that_was_pulled_beforehand", refused),
        case("fails_at_the_deadline_if_the_sysroot_is_locked", |m| locked(m, "ostree/lock", "sysroot")),
        case("fails_at_the_deadline_if_the_repository_is_locked", |m| locked(m, "ostree/repo/.lock", "repository")),
        case("goes_on_when_the_lock_is_free", unlocked),
        case("leaves_nothing_unreachable", nothing_unreachable),
    ]
}

/// Refs, deployments, boot loader entries and files on the boot partition that have nothing to do with us.
fn stay(machine: &mut Machine) -> Result<()> {
    let root = machine.path("sysroot");
    let sysroot = format!("--sysroot={}", root.display());
    // Another stateroot, a pinned deployment, and one that libostree would drop for a new one of its stateroot.
    run(&["ostree", "admin", "os-init", "otheros", &sysroot])?;
    run(&["ostree", "admin", "deploy", &sysroot, "--os=otheros", "--karg=other", "bootimage"])?;
    for karg in ["--karg=pinned", "--karg=rollback"] {
        run(&["ostree", "admin", "deploy", &sysroot, "--os=testos", "--retain", "--no-merge", karg, "bootimage"])?;
    }
    run(&["ostree", "admin", "deploy", &sysroot, "--os=testos", "--retain", "--karg=booted", "bootimage"])?;
    let pinned = machine.options()?.iter().position(|options| options.contains("pinned")).context("not deployed")?;
    run(&["ostree", "admin", "pin", &sysroot, &pinned.to_string()])?;
    machine.ostree(&["refs", "--create=other/branch", "bootimage"])?;
    machine.ostree(&["refs", "--create=ostree/container/blob/other", "bootimage"])?;
    let files = ["boot/loader/entries/windows.conf", "boot/grub2/grub.cfg", "boot/EFI/other.efi", "boot/ostree/other"];
    for (n, name) in files.iter().enumerate() {
        fs::create_dir_all(root.join(name).parent().context("no parent")?)?;
        fs::write(root.join(name), format!("of others {n}"))?;
    }
    let (refs, options) = (machine.refs()?, ostree_options(machine)?);
    let (output, status) = machine.boot(&format!(
        "ignition.firstboot {} slipstream.image={} {}",
        options[0],
        machine.image,
        machine.source()
    ))?;
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
fn refused(machine: &mut Machine) -> Result<()> {
    let request = machine.request(&format!("{} slipstream.kernel=same", machine.source()))?;
    pull(machine)?;
    let refs = machine.refs()?;
    let (output, status) = machine.boot(&request)?;
    ensure!(outcome(status.as_ref()) == "skipped", "{status:?}, {output:?}");
    ensure!(machine.refs()? == refs, "refs before: {refs}\nafter: {}", machine.refs()?);
    Ok(())
}

fn pull(machine: &Machine) -> Result<()> {
    let source = format!("oci:{}", machine.path("node").display());
    let repo = machine.repo().display().to_string();
    run(&[SLIPSTREAM, "pull", &source, "--image", &machine.image, "--repo", &repo]).map(drop)
}

/// Another program holds a lock until the deadline: it is said who, and nothing is changed.
fn locked(machine: &mut Machine, file: &str, what: &str) -> Result<()> {
    let _lock = hold(&machine.path("sysroot").join(file))?;
    let refs = machine.refs()?;
    let (output, status) = machine.boot(&machine.request(&format!("{} slipstream.deadline=5s", machine.source()))?)?;
    ensure!(outcome(status.as_ref()) == "failed", "{status:?}, {output:?}");
    let status = status.context("no status")?;
    // It was opened before.
    ensure!(!status["endpoints"][0]["source"].is_null(), "{status}");
    let reason = status["reason"].to_string();
    let expected = format!("another process (ostree, rpm-ostree or bootc) has locked the {what}: it has not ended in");
    ensure!(reason.contains(&expected), "{reason}");
    ensure!(machine.refs()? == refs && machine.options()?.len() == 1, "something is left");
    Ok(())
}

/// It says that it waits, and goes on when the lock is free.
fn unlocked(machine: &mut Machine) -> Result<()> {
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

/// Locks a file as libostree does.
pub fn hold(path: &Path) -> Result<File> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}

/// A swap leaves nothing that no ref names.
fn nothing_unreachable(machine: &mut Machine) -> Result<()> {
    let (output, status) = machine.boot(&machine.request(&machine.source())?)?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    let left = Left::of(machine)?;
    ensure!(left.objects == "0" && left.staged.is_empty(), "{left:?}");
    Ok(())
}

/// A count of each kind of thing that a boot may leave.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    /// How many objects no ref reaches.
    pub objects: String,
    pub refs: String,
    /// Directories and origins in `deploy`.
    pub deployments: usize,
    /// Kernels on the boot partition.
    pub kernels: usize,
    /// Our directories in `tmp` of the repository.
    pub staged: Vec<String>,
}

impl Left {
    pub fn of(machine: &Machine) -> Result<Self> {
        let names = |path: &str| -> Result<Vec<String>> {
            let entries =
                fs::read_dir(machine.path("sysroot").join(path)).with_context(|| format!("listing {path}"))?;
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        let text = machine.ostree(&["prune", "--no-prune", "--refs-only"])?;
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
