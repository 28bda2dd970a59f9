// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs the importer in the bootimage's own deployment.
//!
//! libostree, its dependencies and the programs that it calls (bwrap, semodule) are in the deployment anyway; in the
//! initramfs they would cost more than all the rest (`docs/timing.md`). The deployment is the one that this boot would
//! run in a few seconds, from the same disk. RHCOS runs its FIPS setup in the same way. What this means for an image
//! whose root is sealed is in `docs/dependencies.md`.
//!
//! Everything is mounted in a mount namespace of its own, which ends with the process: nothing stays behind.
//!
//! Tested by `test-vm/src/suite/`.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use contract::place::{Place, boot_link};
use contract::report::{FORWARDED, NOTIFY_SOCKET};
use nix::sched::{CloneFlags, unshare};

use crate::mount;

/// The importer in the deployment.
const PROGRAM: &str = "/usr/bin/slipstream";
/// Where the initramfs's root is seen in the deployment: its keyfiles are there.
const INITRD: &str = "/run/slipstream/initrd";
/// Time for the importer to end by itself after the deadline, and then to die.
const GRACE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
/// What the C library resolves names by.
const RESOLVER: [&str; 2] = ["resolv.conf", "hosts"];
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// How the importer came to its end.
#[derive(Clone, Copy, Debug)]
pub enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// It was killed: the deadline was over.
    Killed,
    /// Not at all: it was killed, and is blocked on a disk that does not respond.
    StillRunning,
}

/// Runs `slipstream boot` in the deployment that `ostree=` names, until `deadline` at most.
pub fn run_in_bootimage(options: &Place, deadline: Instant) -> Result<Ended> {
    let deployment = options.sysroot.at(&boot_link(options)?.resolve(&options.sysroot)?);
    let program = deployment.join(PROGRAM.trim_start_matches('/'));
    ensure!(program.exists(), "the bootimage has no {PROGRAM}: install slipstream in it, not only in its initramfs");
    let root = build_root(options, &deployment).context("entering the bootimage")?;
    nix::unistd::chroot(&root).context("entering the bootimage")?;
    env::set_current_dir("/").context("entering the bootimage")?;
    wait(start(options)?, deadline + GRACE)
}

/// Mounts what the importer needs. Returns the directory to change root to.
fn build_root(options: &Place, deployment: &Path) -> Result<PathBuf> {
    unshare(CloneFlags::CLONE_NEWNS).context("creating a mount namespace")?;
    // Otherwise our mounts, and later their end, would show in the real tree.
    mount::make_private(Path::new("/"))?;
    let base = options.run_dir.join("bootimage");
    fs::create_dir_all(&base).with_context(|| format!("creating {}", base.display()))?;
    // bwrap, which libostree runs, changes its root: that wants a root that is a mount on a private mount.
    mount::bind(deployment, &base)?;
    mount::make_read_only(&base)?;
    for name in ["dev", "proc", "sys"] {
        mount::bind_recursive(&Path::new("/").join(name), &base.join(name))?;
    }
    // Not recursive: the mounts that we have just made are below /run.
    mount::bind(Path::new("/run"), &base.join("run"))?;
    mount::bind(options.sysroot.path(), &base.join("sysroot"))?;
    mount::tmpfs(&base.join("var"), "mode=0755")?;
    fs::create_dir(base.join("var/tmp")).context("creating /var/tmp")?;
    if base.join("tmp").symlink_metadata().is_ok_and(|tmp| tmp.is_dir()) {
        mount::tmpfs(&base.join("tmp"), "mode=1777")?;
    }
    provide_resolver(options, &base).context("bringing the initramfs's resolver configuration")?;
    let initrd = base.join(INITRD.trim_start_matches('/'));
    fs::create_dir_all(&initrd).with_context(|| format!("creating {INITRD}"))?;
    mount::bind(&options.root, &initrd)?;
    Ok(base)
}

/// Has names resolved as in the initramfs, which has the network. The deployment's own files for it are made when the
/// system runs: they are missing, or lead to where nothing is yet.
///
/// A file that is missing cannot be mounted over, and an overlay would need a kernel module. So `/etc` becomes a tmpfs in
/// which each entry of the deployment's is what it was.
fn provide_resolver(options: &Place, base: &Path) -> Result<()> {
    let given: Vec<_> = RESOLVER.into_iter().filter(|name| options.root.join("etc").join(name).exists()).collect();
    if given.is_empty() {
        return Ok(());
    }
    let (etc, old) = (base.join("etc"), options.run_dir.join("etc"));
    fs::create_dir_all(&old).with_context(|| format!("creating {}", old.display()))?;
    mount::bind(&etc, &old)?;
    mount::tmpfs(&etc, "mode=0755")?;
    for entry in fs::read_dir(&old).context("listing /etc")? {
        let entry = entry.context("listing /etc")?;
        let (kind, to) = (entry.file_type().context("listing /etc")?, etc.join(entry.file_name()));
        if given.iter().any(|name| entry.file_name() == **name) {
            continue;
        }
        if kind.is_symlink() {
            let target = fs::read_link(entry.path()).context("reading a link in /etc")?;
            symlink(target, &to).with_context(|| format!("creating {}", to.display()))?;
        } else if kind.is_dir() {
            fs::create_dir(&to).with_context(|| format!("creating {}", to.display()))?;
            mount::bind(&entry.path(), &to)?;
        } else if kind.is_file() {
            File::create(&to).with_context(|| format!("creating {}", to.display()))?;
            mount::bind(&entry.path(), &to)?;
        }
    }
    for name in given {
        let text = fs::read(options.root.join("etc").join(name)).with_context(|| format!("reading /etc/{name}"))?;
        fs::write(etc.join(name), text).with_context(|| format!("writing /etc/{name}"))?;
    }
    Ok(())
}

// The importer is our own program: nothing of what it says is parsed, the status file is.
#[allow(clippy::disallowed_methods)]
fn start(options: &Place) -> Result<Child> {
    let mut command = Command::new(PROGRAM);
    command
        .arg("boot")
        .args(["--sysroot", "/sysroot", "--root", INITRD])
        .arg("--cmdline")
        .arg(&options.cmdline)
        .arg("--run-dir")
        .arg(&options.run_dir)
        // Below /run, as the run directory is.
        .arg("--ignition")
        .arg(&options.ignition)
        .env_clear()
        .env("PATH", PATH)
        // GIO would look for a session bus and volume monitors.
        .env("GIO_USE_VFS", "local")
        .stdin(Stdio::null());
    // The socket is below /run, or has no path at all.
    command.envs([NOTIFY_SOCKET, FORWARDED].into_iter().filter_map(|name| Some((name, env::var_os(name)?))));
    #[cfg(feature = "failpoints")]
    command.envs(contract::failpoint::VARIABLES.iter().filter_map(|name| Some((name, env::var_os(name)?))));
    command.spawn().with_context(|| format!("starting {PROGRAM}"))
}

fn wait(mut child: Child, until: Instant) -> Result<Ended> {
    loop {
        if let Some(status) = child.try_wait().context("waiting for the importer")? {
            return Ok(Ended::Exited(status));
        }
        if Instant::now() >= until {
            child.kill().context("stopping the importer")?;
            // A process that waits for a dead disk cannot be killed. The boot continues without it.
            let gone = Instant::now() + GRACE;
            while child.try_wait().context("waiting for the importer")?.is_none() {
                if Instant::now() >= gone {
                    return Ok(Ended::StillRunning);
                }
                sleep(POLL);
            }
            return Ok(Ended::Killed);
        }
        sleep(POLL);
    }
}
