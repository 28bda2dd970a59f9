// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `slipstream-initrd settle` on directories, with real mounts: what becomes of `/usr/lib/modules`, whatever is in it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use contract::handoff::{BootLoaderUpdate, Bootimage, Ending, Facts, LeftoverKind, NodeImage, Status, Way};
use contract::report::Record;
use initrd::settle::{SettleOptions, settle};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;
use testkit::sandbox::enter;
use testkit::suite::{Case, Suite};

const OLD: &str = "1.0-bootimage";
const NEW: &str = "2.0-node";

fn main() -> ExitCode {
    let cases = vec![
        Case::new("both_kernels_have_their_modules", both),
        Case::new("links_are_links", links),
        Case::new("modules_that_are_there_are_left", there),
        Case::new("boot_loader_is_updated_by_a_unit", boot_loader),
        Case::new("a_failure_leaves_the_image_its_own", || {
            fails(|root| Ok(nix::unistd::mkfifo(&root.modules("pipe"), nix::sys::stat::Mode::S_IRUSR)?))
        }),
        Case::new("without_the_bootimage_the_image_has_its_own", || {
            fails(|root| Ok(fs::remove_dir_all(root.old_modules())?))
        }),
    ];
    Suite::new("settle", enter).one_at_a_time().run(cases)
}

/// A root as ostree-prepare-root leaves it: the node image's deployment, with the physical root at `/sysroot` in it.
struct Root {
    directory: TempDir,
}

impl Root {
    fn new() -> Result<Self> {
        let root = Self { directory: tempfile::tempdir().context("creating a directory")? };
        for (deployment, kernel) in [("a.0", OLD), ("b.0", NEW)] {
            let modules = root.deployment(deployment).join("usr/lib/modules").join(kernel);
            fs::create_dir_all(modules.join("kernel"))?;
            for name in ["vmlinuz", "modules.dep", "kernel/dummy.ko"] {
                fs::write(modules.join(name), format!("{name} of {kernel}"))?;
            }
        }
        fs::create_dir_all(root.deployment("b.0").join("sysroot"))?;
        for name in ["run/slipstream", "root"] {
            fs::create_dir_all(root.at(name))?;
        }
        fs::write(root.at("run/ostree-booted"), "")?;
        Ok(root)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn deployment(&self, name: &str) -> PathBuf {
        self.at("physical/ostree/deploy/os/deploy").join(name)
    }

    fn old_modules(&self) -> PathBuf {
        self.deployment("a.0").join("usr/lib/modules").join(OLD)
    }

    /// A path of the node image's, before it is mounted.
    fn modules(&self, name: &str) -> PathBuf {
        self.deployment("b.0").join("usr/lib/modules").join(name)
    }

    /// A path that the booted system will see.
    fn seen(&self, name: &str) -> PathBuf {
        self.at("root/usr/lib/modules").join(name)
    }

    /// Mounts the deployment, and settles it.
    fn settle(&self) -> Result<(Result<()>, Status)> {
        self.settle_with(None)
    }

    fn settle_with(&self, boot_loader_update: Option<BootLoaderUpdate>) -> Result<(Result<()>, Status)> {
        bind(&self.deployment("b.0"), &self.at("root"))?;
        bind(&self.at("physical"), &self.at("root/sysroot"))?;
        let facts = Facts {
            bootimage: Some(Bootimage {
                deployment: "ostree/deploy/os/deploy/a.0".to_owned(),
                kernel: OLD.to_owned(),
                ..Bootimage::default()
            }),
            node_image: Some(NodeImage {
                deployment: Some("ostree/deploy/os/deploy/b.0".to_owned()),
                kernel: Some(NEW.to_owned()),
                boot_loader_update,
                ..NodeImage::default()
            }),
            ..Facts::default()
        };
        let options = SettleOptions { sysroot: self.at("root"), run: self.at("run") };
        let record = Record::new(&options.run_dir());
        record.write(&Status::new(facts, Ending::Swapped(Way::BootLink)))?;
        let result = settle(&options);
        Ok((result, record.read()?.context("no status")?))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // Nothing may be removed through a mount.
        let _unmounted = umount2(&self.at("root"), MntFlags::MNT_DETACH);
    }
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    let none: Option<&str> = None;
    mount(Some(from), to, none, MsFlags::MS_BIND, none).with_context(|| format!("mounting {}", to.display()))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| error.to_string())
}

/// What was put together aside is attached in one piece, and nothing of it is left there.
fn nothing_aside(root: &Root) -> Result<()> {
    ensure!(!root.at("run/slipstream/modules").exists(), "the directory aside is left");
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    ensure!(!mounts.contains("run/slipstream/modules"), "{mounts}");
    Ok(())
}

fn both() -> Result<()> {
    let root = Root::new()?;
    let (result, status) = root.settle()?;
    result?;
    for (kernel, name) in [(OLD, "kernel/dummy.ko"), (OLD, "modules.dep"), (NEW, "kernel/dummy.ko"), (NEW, "vmlinuz")] {
        let found = text(&root.seen(kernel).join(name));
        ensure!(found == format!("{name} of {kernel}"), "{kernel}/{name}: {found}");
    }
    ensure!(!root.seen(OLD).join("vmlinuz").exists(), "the kernel was copied");
    ensure!(root.at("run/ostree").is_dir(), "the node image's libostree would not mount /var");
    let mounts: Vec<_> = status.leftovers().iter().filter(|leftover| leftover.kind == LeftoverKind::Mount).collect();
    ensure!(mounts.len() == 2, "{mounts:?}");
    nothing_aside(&root)
}

fn links() -> Result<()> {
    let root = Root::new()?;
    symlink(NEW, root.modules("latest"))?;
    symlink("/nowhere/at/all", root.modules("dangling"))?;
    let (result, status) = root.settle()?;
    result?;
    ensure!(fs::read_link(root.seen("latest"))? == Path::new(NEW), "the link has changed");
    ensure!(fs::read_link(root.seen("dangling"))? == Path::new("/nowhere/at/all"), "the link has changed");
    ensure!(text(&root.seen("latest/modules.dep")) == format!("modules.dep of {NEW}"), "the link leads nowhere");
    ensure!(!status.leftovers().iter().any(|leftover| leftover.path.ends_with("latest")), "{:?}", status.leftovers());
    nothing_aside(&root)
}

fn there() -> Result<()> {
    let root = Root::new()?;
    fs::create_dir(root.modules(OLD))?;
    let (result, status) = root.settle()?;
    result?;
    ensure!(
        !status.leftovers().iter().any(|leftover| leftover.kind == LeftoverKind::Mount),
        "{:?}",
        status.leftovers()
    );
    nothing_aside(&root)
}

fn boot_loader() -> Result<()> {
    for (update, command) in [
        (BootLoaderUpdate::Unit, "ExecStart=/usr/bin/systemctl start bootloader-update.service\n"),
        (BootLoaderUpdate::Program, "ExecStart=/usr/bin/bootupctl update\n"),
    ] {
        let root = Root::new()?;
        let (result, status) = root.settle_with(Some(update))?;
        result?;
        let wanted = root.at("run/systemd/system/multi-user.target.wants/slipstream-boot-loader.service");
        ensure!(text(&wanted).ends_with(command), "{}", text(&wanted));
        let named = status.leftovers().iter().filter(|leftover| leftover.path.contains("boot-loader.service")).count();
        ensure!(named == 2, "{:?}", status.leftovers());
    }
    Ok(())
}

/// The boot goes on with the modules that the node image has.
fn fails(break_it: impl Fn(&Root) -> Result<()>) -> Result<()> {
    let root = Root::new()?;
    break_it(&root)?;
    let (result, status) = root.settle()?;
    ensure!(
        result.is_err() && status.reason().is_some_and(|reason| reason.starts_with("settling the root: ")),
        "{result:?}"
    );
    let found = text(&root.seen(NEW).join("modules.dep"));
    ensure!(found == format!("modules.dep of {NEW}") && !root.seen(OLD).exists(), "{found}");
    nothing_aside(&root)
}
