// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a crash kernel needs: the program that loads one, and an initramfs that saves a dump.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::trees::{self, Role};
use crate::lab::Lab;
use crate::lab::cache::Inputs;
use crate::lab::cmd;
use crate::lab::kernels;

/// The dracut module of ours.
const MODULE: &str = "dracut/60crash-dump";
/// What is in the initramfs, our own module too: as if it were built for any boot.
const DRACUT_MODULES: &str = "ostree systemd slipstream crash-dump";

fn root(lab: &Lab) -> Result<PathBuf> {
    trees::extended_root(lab, "crash-root", &trees::root(lab, Role::Bootimage)?, &lab.packages("crash")?)
}

/// Returns the program that loads a kernel, and the libraries that only it needs: Debian's can do it under Xen as well.
pub fn kexec(lab: &Lab) -> Result<Vec<PathBuf>> {
    let root = root(lab)?;
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let mut files = vec![root.join("usr/sbin/kexec")];
    for entry in fs::read_dir(&libraries).with_context(|| format!("listing {}", libraries.display()))? {
        let path = entry.with_context(|| format!("listing {}", libraries.display()))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libxen")) {
            files.push(path);
        }
    }
    Ok(files)
}

/// Returns an artefact: the initramfs.
pub fn initramfs(lab: &Lab) -> Result<PathBuf> {
    let root = root(lab)?;
    let kernel = kernels::both(lab)?.join("boot");
    let slipstream = trees::slipstream(lab)?;
    let mut inputs = Inputs::default().text(DRACUT_MODULES).tree(&lab.own(MODULE))?;
    for part in [&root, &kernel, &slipstream] {
        inputs = inputs.text(part.to_string_lossy());
    }
    for name in ["scripts/enter.sh", "scripts/initramfs.sh"] {
        inputs = inputs.file(&lab.own(name))?;
    }
    let version = kernels::version_of(&kernel)?;
    let dir = lab.cache.artefact("crash-initramfs", inputs, |dir| {
        let copy = dir.join("root");
        cmd::run(cmd::words("cp", ["-a"]).args([&root, &copy]))?;
        for part in [&kernel, &slipstream] {
            cmd::run(cmd::words("cp", ["-a"]).args([part.join("."), copy.clone()]))?;
        }
        let module = copy.join("usr/lib/dracut/modules.d/60crash-dump");
        cmd::run(cmd::words("cp", ["-a"]).args([lab.own(MODULE), module]))?;
        let script = lab.own("scripts/initramfs.sh");
        cmd::run(cmd::words("bash", [script, copy.clone()]).args([version.as_str(), "crash.img", DRACUT_MODULES]))?;
        fs::rename(copy.join("crash.img"), dir.join("crash.img")).context("moving the initramfs")?;
        fs::remove_dir_all(&copy).with_context(|| format!("removing {}", copy.display()))
    })?;
    Ok(dir.join("crash.img"))
}
