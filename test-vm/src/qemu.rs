// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A virtual machine: one disk, booted as often as a test wants.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::bls::BootPartition;
use crate::cmd;
use crate::guest::{Answer, Job};
use crate::lab::Lab;
use crate::strict::strict;

/// Memory of a machine in MiB; half of it would do.
pub const MEMORY: u64 = 2048;
/// How long a boot with its test may take, emulated and with the machine's other core busy.
const BOOT_TIMEOUT: Duration = Duration::from_secs(420);
/// A kernel says its first word at once if the virtualisation works; an emulating host does not come here.
const KVM_TIMEOUT: Duration = Duration::from_secs(10);
/// Emulating a richer CPU costs time; but its SHA instructions are one call each for what else is hundreds of them.
const TCG_CPU: &str = "qemu64,+ssse3,+sse4.1,+sha-ni";
/// What ends a boot for good, seen on the console.
const HOPELESS: &[&str] = &["Kernel panic", "You are in emergency mode", EMERGENCY_SHELL, "Starting Emergency Shell"];
/// dracut's last words before the shell, after those of the emergency hooks.
const EMERGENCY_SHELL: &str = "Entering emergency mode";
/// The kernel's last words before a reset.
const RESET: &str = "reboot: Restarting system";
/// A crash reboots instead of hanging, an emergency in the initramfs powers off.
const TEST_KARGS: &str = "quiet mitigations=off panic=1 oops=panic rd.shell=0 rd.emergency=poweroff";

/// How the kernel gets loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loader {
    /// QEMU loads what the disk's default BLS entry names.
    Direct,
    /// Firmware and GRUB.
    Grub,
}

/// A machine and its disks.
pub struct Machine<'a> {
    lab: &'a Lab,
    /// Console logs and answers.
    dir: PathBuf,
    disk: PathBuf,
    staging: Option<PathBuf>,
    /// Disks that were empty at first.
    additional: Vec<PathBuf>,
    /// How long a boot with its job may take.
    pub timeout: Duration,
    /// A network card, and what is behind it.
    network: Vec<String>,
    /// In place of the one that the BLS entry names, with [`Loader::Direct`].
    pub initramfs: Option<PathBuf>,
    loader: Loader,
    /// Arguments of every boot beside those of the BLS entry, with [`Loader::Direct`].
    pub append: String,
    /// What GRUB or we put for `$ignition_firstboot`, as long as the stamp is there.
    firstboot: String,
    /// Where the next boot's writes to the disk are logged.
    record: Option<PathBuf>,
    boots: usize,
    _copy: tempfile::TempDir,
}

/// One boot, over.
#[derive(Debug)]
pub struct Boot {
    /// Everything on the serial console.
    pub console: String,
    /// What the guest reported.
    pub answer: Answer,
    /// From starting QEMU to its end.
    pub seconds: f64,
}

impl<'a> Machine<'a> {
    /// A machine with a copy of `disk`; logs in the lab's log directory under `name`.
    pub fn new(lab: &'a Lab, name: &str, disk: &Path, loader: Loader) -> Result<Self> {
        let dir = lab.logs.join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
        }
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        // In the cache, where there is room for it; gone with the machine.
        let copy = tempfile::tempdir_in(lab.cache.dir()).context("creating a directory for the disk")?;
        let path = copy.path().join("disk.raw");
        cmd::run(cmd::words("cp", ["--sparse=always", "--reflink=auto"]).args([disk, &path]))?;
        Ok(Self {
            lab,
            dir,
            disk: path,
            staging: None,
            additional: Vec::new(),
            timeout: BOOT_TIMEOUT,
            network: Vec::new(),
            initramfs: None,
            loader,
            append: String::new(),
            firstboot: String::new(),
            record: None,
            boots: 0,
            _copy: copy,
        })
    }

    /// Add a read-only disk.
    pub fn attach(&mut self, staging: &Path) {
        self.staging = Some(staging.to_path_buf());
    }

    /// Add an empty disk of this size, as truncate(1) has it. The first has the serial number `disk1`, as kola's.
    pub fn add_disk(&mut self, size: &str) -> Result<()> {
        let path = self.disk.with_file_name(format!("additional-{}.raw", self.additional.len() + 1));
        cmd::run(cmd::words("truncate", ["--size", size]).arg(&path))
            .with_context(|| format!("adding a disk of {size}"))?;
        self.additional.push(path);
        Ok(())
    }

    /// Log what the next boot writes to the disk, and its flushes, in a new file that the tools root can see.
    pub fn record(&mut self, log: &Path) {
        self.record = Some(log.to_path_buf());
    }

    /// Connect it with QEMU's user network, where DHCP works, and give it this Ignition config.
    pub fn connect(&mut self, ignition: &str) -> Result<()> {
        // Not among the logs: it holds a password.
        let path = self.disk.with_file_name("config.ign");
        fs::write(&path, ignition).context("writing the Ignition config")?;
        let config = format!("name=opt/com.coreos/config,file={}", path.display());
        // It boots from no network: it needs no firmware.
        let card = "virtio-net-pci,netdev=net0,romfile=";
        self.network = ["-netdev", "user,id=net0", "-device", card, "-fw_cfg", &config].map(str::to_owned).to_vec();
        Ok(())
    }

    /// Make the next boot a first one: these are the arguments, and a stamp on the boot partition stands for them.
    pub fn set_firstboot(&mut self, kargs: &str) -> Result<()> {
        let stamp = self.dir.join("ignition.firstboot");
        let kargs = format!("ignition.firstboot {kargs}");
        let text = format!("set ignition_firstboot=\"{kargs}{}\"\n", self.grub_kargs());
        fs::write(&stamp, text).context("writing the first-boot stamp")?;
        BootPartition::of(self.lab, &self.disk).write(&stamp, "/ignition.firstboot")?;
        self.firstboot = kargs;
        Ok(())
    }

    fn grub_kargs(&self) -> String {
        if self.loader == Loader::Grub { format!(" {TEST_KARGS}") } else { String::new() }
    }

    /// Where its logs are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The disk as the guest left it.
    pub fn boot_partition(&self) -> BootPartition<'_> {
        BootPartition::of(self.lab, &self.disk)
    }

    /// Boot once, let the guest do its job, and wait for the end.
    pub fn boot(&mut self, job: &Job) -> Result<Boot> {
        let boot = self.watch(job, HOPELESS, &[])?;
        if !(boot.answer.passed || boot.answer.reboot.is_some()) {
            bail!("boot {}: the guest went away without passing\n{}", self.boots, self.report());
        }
        self.check_status(&boot.answer)?;
        Ok(boot)
    }

    /// A boot that resets from within the initramfs.
    pub fn boot_to_reset(&mut self, job: &Job) -> Result<Boot> {
        let boot = self.watch(job, HOPELESS, &[])?;
        if !boot.console.contains(RESET) || boot.answer != Answer::default() {
            bail!("boot {}: no reset from the initramfs\n{}", self.boots, self.report());
        }
        Ok(boot)
    }

    /// A boot that stops in the emergency shell of the initramfs. Then the power goes.
    pub fn boot_to_emergency(&mut self, job: &Job) -> Result<Boot> {
        let kept = self.append.clone();
        self.append.push_str(" rd.shell=1");
        let boot = self.watch(job, &["Kernel panic"], &[EMERGENCY_SHELL]);
        self.append = kept;
        let boot = boot?;
        if !boot.console.contains(EMERGENCY_SHELL) {
            bail!("boot {}: no emergency shell\n{}", self.boots, self.report());
        }
        Ok(boot)
    }

    /// A file of the present boot.
    fn file(&self, kind: &str) -> PathBuf {
        self.dir.join(format!("boot-{}.{kind}", self.boots))
    }

    /// The end of what there is of the present boot.
    fn report(&self) -> String {
        report(&self.file("console"), &self.file("journal"))
    }

    /// Boot once until the guest goes away, or says on the console that it has come to its end; an error if it is `hopeless`.
    fn watch(&mut self, job: &Job, hopeless: &[&str], ends: &[&str]) -> Result<Boot> {
        self.boots += 1;
        let testdata = self.disk.with_file_name("testdata.img");
        job.write_disk(self.lab, &testdata)?;
        let start = Instant::now();
        let mut ended = self.run(&testdata, hopeless, ends)?;
        if ended.is_err() && accelerator(self.lab)? == "tcg" && is_emulators(&read_lossy(&self.file("console"))) {
            println!("   boot {}: the emulated kernel has died before its first program: once more", self.boots);
            ended = self.run(&testdata, hopeless, ends)?;
        }
        // The first boot's service removes the stamp; the job's scripts do the same.
        self.firstboot.clear();
        self.record = None;
        if let Err(error) = ended {
            bail!("boot {}: {error:#}\n{}", self.boots, self.report());
        }
        let seconds = start.elapsed().as_secs_f64();
        let (console, results) = (self.file("console"), self.file("results"));
        Ok(Boot { console: read_lossy(&console), answer: Answer::parse(&read_lossy(&results)), seconds })
    }

    /// Run QEMU to its end; in there, how the guest ended.
    fn run(&self, testdata: &Path, hopeless: &[&str], ends: &[&str]) -> Result<Result<()>> {
        let (console, results, journal) = (self.file("console"), self.file("results"), self.file("journal"));
        let mut command = qemu(self.lab, accelerator(self.lab)?, &console);
        match &self.record {
            Some(log) => command.args(recorded_drive(&self.disk, log)?),
            None => command.args(drive(&self.disk, false)),
        };
        command.args(drive(testdata, true));
        if let Some(staging) = &self.staging {
            command.args(drive(staging, true));
        }
        for (path, number) in self.additional.iter().zip(1..) {
            command.args(numbered_drive(path, number));
        }
        command.args(&self.network).args(["-device", "virtio-serial"]);
        for (name, path) in [("vmtest", &results), ("vmjournal", &journal)] {
            command.args(["-chardev", &format!("file,id={name},path={}", path.display())]);
            command.args(["-device", &format!("virtserialport,chardev={name},name={name}")]);
        }
        if self.loader == Loader::Direct {
            let entry = self.boot_partition().default_entry()?;
            let kernel = self.boot_partition().dump(&entry.linux, &self.disk.with_file_name("vmlinuz"))?;
            let initrd = match &self.initramfs {
                Some(path) => path.clone(),
                None => self.boot_partition().dump(&entry.initrd, &self.disk.with_file_name("initrd"))?,
            };
            let cmdline = format!("{} {TEST_KARGS} {}", entry.cmdline(&self.firstboot), self.append);
            command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd).args(["-append", &cmdline]);
        }
        Ok(wait(command, &console, self.timeout, hopeless, ends))
    }

    /// Holds slipstream's status file, if the boot left one, against its schema, which then allows no further field.
    fn check_status(&self, answer: &Answer) -> Result<()> {
        let Ok(status) = answer.fact("status") else { return Ok(()) };
        let path = self.dir.join(format!("boot-{}.status.json", self.boots));
        fs::write(&path, status).with_context(|| format!("writing {}", path.display()))?;
        // The tools see the logs, not the source tree.
        let schema = self.dir.join("status.schema.json");
        let text = fs::read(self.lab.source.join("docs/status.schema.json")).context("reading the status' schema")?;
        let published = serde_json::from_slice(&text).context("parsing the status' schema")?;
        fs::write(&schema, strict(published).to_string()).context("writing the status' schema")?;
        let arguments = ["python3", "-W", "ignore", "-m", "jsonschema", "-i"].map(PathBuf::from);
        cmd::run(self.lab.tool(arguments).args([&path, &schema])).context("validating the status file")
    }

    /// The same machine with the console on this terminal, until it powers off.
    pub fn interactive(&self) -> Result<()> {
        let entry = self.boot_partition().default_entry()?;
        let kernel = self.boot_partition().dump(&entry.linux, &self.disk.with_file_name("vmlinuz"))?;
        let initrd = self.boot_partition().dump(&entry.initrd, &self.disk.with_file_name("initrd"))?;
        let mut command = base(self.lab, accelerator(self.lab)?);
        command.args(["-serial", "mon:stdio"]).args(drive(&self.disk, false));
        if let Some(staging) = &self.staging {
            command.args(drive(staging, true));
        }
        command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
        command.args(["-append", &format!("{} {}", entry.cmdline(&self.firstboot), self.append)]);
        let status = command.status().context("starting QEMU")?;
        anyhow::ensure!(status.success(), "running QEMU: {status}");
        Ok(())
    }
}

fn drive(path: &Path, readonly: bool) -> [String; 2] {
    let readonly = if readonly { "on" } else { "off" };
    // A test's disk is thrown away: what the guest syncs need not reach ours.
    let options = format!("file={},format=raw,if=virtio,cache=unsafe,readonly={readonly}", path.display());
    ["-drive".to_owned(), options]
}

/// A drive that the guest finds by its serial number.
fn numbered_drive(path: &Path, number: usize) -> [String; 4] {
    let drive = format!("file={},format=raw,if=none,id=additional{number},cache=unsafe", path.display());
    let device = format!("virtio-blk-pci,drive=additional{number},serial=disk{number}");
    ["-drive".to_owned(), drive, "-device".to_owned(), device]
}

/// A drive whose flushes matter to the guest, and are logged with its writes.
fn recorded_drive(disk: &Path, log: &Path) -> Result<[String; 4]> {
    // QEMU does not create it.
    fs::write(log, "").with_context(|| format!("creating {}", log.display()))?;
    let file = |role: &str, path: &Path| {
        // The log is what survives; the host's disk need not be bothered.
        format!("{role}.driver=file,{role}.filename={},{role}.cache.no-flush=on", path.display())
    };
    let node = format!(
        "driver=blklogwrites,node-name=recorded,log-sector-size=512,{},{}",
        file("file", disk),
        file("log", log)
    );
    Ok(["-blockdev".to_owned(), node, "-device".to_owned(), "virtio-blk-pci,drive=recorded,write-cache=on".to_owned()])
}

fn base(lab: &Lab, accelerator: &str) -> Command {
    let mut command = lab.tool(["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot"]);
    let cpu = if accelerator == "kvm" { "host" } else { TCG_CPU };
    let accel = if accelerator == "kvm" { "kvm" } else { "tcg,thread=multi" };
    command.args(["-machine", "q35", "-accel", accel, "-cpu", cpu, "-smp", "2"]);
    command.args(["-m", &MEMORY.to_string()]);
    command
}

fn qemu(lab: &Lab, accelerator: &str, console: &Path) -> Command {
    let mut command = base(lab, accelerator);
    command.args(["-chardev", &format!("file,id=console,path={}", console.display()), "-serial", "chardev:console"]);
    command
}

/// Start QEMU and wait for its end, or for a sign that there is nothing to wait for: one that is `hopeless`, or one that
/// `ends` what is to be seen.
fn wait(mut command: Command, console: &Path, timeout: Duration, hopeless: &[&str], ends: &[&str]) -> Result<()> {
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

/// Whether a kernel has died while it set itself up. On a busy host an emulated processor was once seen to trip over code that
/// the kernel patches on another one. What is wrong with the disk is wrong a second time.
fn is_emulators(console: &str) -> bool {
    console.contains("Kernel panic") && console.lines().any(|line| line.contains("PID: 1 Comm: swapper/"))
}

fn stop(child: &mut Child) -> Result<()> {
    child.kill().context("stopping QEMU")?;
    child.wait().context("waiting for QEMU")?;
    Ok(())
}

/// Hardware virtualisation if a kernel really comes up with it: the device may exist and not do.
fn accelerator(lab: &Lab) -> Result<&'static str> {
    static CHOICE: OnceLock<&'static str> = OnceLock::new();
    if let Some(choice) = CHOICE.get() {
        return Ok(choice);
    }
    let choice = if Path::new("/dev/kvm").exists() && kvm_works(lab)? { "kvm" } else { "tcg" };
    eprintln!("accelerator: {choice}");
    Ok(CHOICE.get_or_init(|| choice))
}

/// Without an initramfs a kernel panics for want of a root: that it gets so far is the proof.
fn kvm_works(lab: &Lab) -> Result<bool> {
    let kernels = crate::trees::kernels(lab)?;
    let kernel = crate::trees::kernel_image(&kernels.join("boot"))?;
    let console = lab.logs.join("kvm-probe.console");
    fs::write(&console, "").context("creating the probe's console log")?;
    let mut command = qemu(lab, "kvm", &console);
    command.arg("-kernel").arg(kernel).args(["-append", "console=ttyS0 panic=-1"]);
    Ok(match wait(command, &console, KVM_TIMEOUT, HOPELESS, &[]) {
        Ok(()) => read_lossy(&console).contains("Linux version"),
        Err(error) => format!("{error}").contains("Kernel panic"),
    })
}

/// A log as far as it is written; there may be none yet.
fn read_lossy(path: &Path) -> String {
    match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

/// The end of the console and of what the guest sent when it failed.
fn report(console: &Path, journal: &Path) -> String {
    let mut text = format!("  console ({}):\n{}", console.display(), cmd::tail(&read_lossy(console)));
    let sent = read_lossy(journal);
    if !sent.is_empty() {
        text.push_str(&format!("  guest ({}):\n{}", journal.display(), cmd::tail(&sent)));
    }
    text
}
