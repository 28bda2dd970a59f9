// SPDX-License-Identifier: Apache-2.0 OR MIT
//! QEMU: its command line, whether it has hardware virtualisation here, and its end.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::kernels;
use super::places::Lab;

/// Memory of a machine in MiB; half of it would do.
pub const MEMORY: u64 = 2048;
/// A kernel says its first word at once if the virtualisation works; an emulating host does not come here.
const KVM_TIMEOUT: Duration = Duration::from_secs(10);
/// Emulating a richer CPU costs time; but its SHA instructions are one call each for what else is hundreds of them.
const TCG_CPU: &str = "qemu64,+ssse3,+sse4.1,+sha-ni";
/// What ends a boot for good, seen on the console.
pub const HOPELESS: &[&str] =
    &["Kernel panic", "You are in emergency mode", EMERGENCY_SHELL, "Starting Emergency Shell"];
/// dracut's last words before the shell, after those of the emergency hooks.
pub const EMERGENCY_SHELL: &str = "Entering emergency mode";

/// Returns the options for a drive.
pub fn drive(path: &Path, readonly: bool) -> [String; 2] {
    let readonly = if readonly { "on" } else { "off" };
    // A test's disk is thrown away: what the guest syncs need not reach ours.
    let options = format!("file={},format=raw,if=virtio,cache=unsafe,readonly={readonly}", path.display());
    ["-drive".to_owned(), options]
}

/// Returns the options for a drive that the guest finds by its serial number.
pub fn numbered_drive(path: &Path, number: usize) -> [String; 4] {
    let drive = format!("file={},format=raw,if=none,id=additional{number},cache=unsafe", path.display());
    let device = format!("virtio-blk-pci,drive=additional{number},serial=disk{number}");
    ["-drive".to_owned(), drive, "-device".to_owned(), device]
}

/// Returns the options for a drive whose flushes matter to the guest, and are logged with its writes.
pub fn recorded_drive(disk: &Path, log: &Path) -> Result<[String; 4]> {
    // QEMU does not create it.
    fs::write(log, "").with_context(|| format!("creating {}", log.display()))?;
    let file = |role: &str, path: &Path| {
        // The log is what survives; the host's disk need not be kept busy.
        format!("{role}.driver=file,{role}.filename={},{role}.cache.no-flush=on", path.display())
    };
    let node = format!(
        "driver=blklogwrites,node-name=recorded,log-sector-size=512,{},{}",
        file("file", disk),
        file("log", log)
    );
    Ok(["-blockdev".to_owned(), node, "-device".to_owned(), "virtio-blk-pci,drive=recorded,write-cache=on".to_owned()])
}

/// Returns a command that starts a machine without disks.
pub fn base(lab: &Lab, accelerator: &str) -> Command {
    let mut command = lab.tool(["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot"]);
    let cpu = if accelerator == "kvm" { "host" } else { TCG_CPU };
    let accel = if accelerator == "kvm" { "kvm" } else { "tcg,thread=multi" };
    command.args(["-machine", "q35", "-accel", accel, "-cpu", cpu, "-smp", "2"]);
    command.args(["-m", &MEMORY.to_string()]);
    command
}

/// Returns a command that starts a machine without disks, its console in a file.
pub fn with_console(lab: &Lab, accelerator: &str, console: &Path) -> Command {
    let mut command = base(lab, accelerator);
    command.args(["-chardev", &format!("file,id=console,path={}", console.display()), "-serial", "chardev:console"]);
    command
}

/// Starts QEMU and waits for its end, or for a sign that there is nothing to wait for: one that is `hopeless`, or one
/// that `ends` what is to be seen.
pub fn wait(mut command: Command, console: &Path, timeout: Duration, hopeless: &[&str], ends: &[&str]) -> Result<()> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("starting QEMU")?;
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait().context("waiting for QEMU")? {
            let mut said = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                std::io::Read::read_to_string(&mut stderr, &mut said).context("reading QEMU's messages")?;
            }
            if !status.success() {
                bail!("running QEMU: {status}: {}", said.trim());
            }
            return Ok(());
        }
        let seen = read_lossy(console);
        if let Some(sign) = hopeless.iter().find(|sign| seen.contains(**sign)) {
            stop(&mut child)?;
            bail!("the console says: {sign}");
        }
        if ends.iter().any(|sign| seen.contains(sign)) {
            return stop(&mut child);
        }
        if Instant::now() > deadline {
            stop(&mut child)?;
            bail!("no end after {} s", timeout.as_secs());
        }
        sleep(Duration::from_millis(250));
    }
}

fn stop(child: &mut Child) -> Result<()> {
    child.kill().context("stopping QEMU")?;
    child.wait().context("waiting for QEMU")?;
    Ok(())
}

/// Returns `kvm` if a kernel really comes up with it, otherwise `tcg`: the device may exist and not do.
pub fn accelerator(lab: &Lab) -> Result<&'static str> {
    static CHOICE: OnceLock<&'static str> = OnceLock::new();
    if let Some(choice) = CHOICE.get() {
        return Ok(choice);
    }
    let choice = if Path::new("/dev/kvm").exists() && kvm_works(lab)? { "kvm" } else { "tcg" };
    eprintln!("accelerator: {choice}");
    Ok(CHOICE.get_or_init(|| choice))
}

/// Returns whether a kernel comes up. Without an initramfs it panics for want of a root: that it gets so far is the
/// proof.
fn kvm_works(lab: &Lab) -> Result<bool> {
    let kernels = kernels::both(lab)?;
    let kernel = kernels::image(&kernels.join("boot"))?;
    let console = lab.logs.join("kvm-probe.console");
    fs::write(&console, "").context("creating the probe's console log")?;
    let mut command = with_console(lab, "kvm", &console);
    command.arg("-kernel").arg(kernel).args(["-append", "console=ttyS0 panic=-1"]);
    Ok(match wait(command, &console, KVM_TIMEOUT, HOPELESS, &[]) {
        Ok(()) => read_lossy(&console).contains("Linux version"),
        Err(error) => format!("{error}").contains("Kernel panic"),
    })
}

/// Returns a log as far as it is written; there may be none yet.
pub fn read_lossy(path: &Path) -> String {
    match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}
