// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A virtual machine: one disk, booted as often as a test wants.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use testkit::schema::strict;

use super::bls::BootPartition;
use super::cmd;
use super::guest::{Answer, Job};
use super::places::Lab;
use super::qemu::{self, EMERGENCY_SHELL, HOPELESS, read_lossy};

/// How long a boot with its test may take, emulated and with the machine's other core busy.
const BOOT_TIMEOUT: Duration = Duration::from_secs(420);
/// What a crash kernel says when it is done.
const DUMP_SAVED: &str = "the crash dump is saved";
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
    /// Makes a machine with a copy of `disk`; its logs go to the lab's log directory under `name`.
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

    /// Adds a read-only disk.
    pub fn attach(&mut self, staging: &Path) {
        self.staging = Some(staging.to_path_buf());
    }

    /// Adds an empty disk of this size, as truncate(1) has it. The first has the serial number `disk1`, as kola's.
    pub fn add_disk(&mut self, size: &str) -> Result<()> {
        let path = self.disk.with_file_name(format!("additional-{}.raw", self.additional.len() + 1));
        cmd::run(cmd::words("truncate", ["--size", size]).arg(&path))
            .with_context(|| format!("adding a disk of {size}"))?;
        self.additional.push(path);
        Ok(())
    }

    /// Logs what the next boot writes to the disk, and its flushes, in a new file that the tools root can see.
    pub fn record(&mut self, log: &Path) {
        self.record = Some(log.to_path_buf());
    }

    /// Connects it with QEMU's user network, where DHCP works, and gives it this Ignition config.
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

    /// Makes the next boot a first one: these are the arguments, and a stamp on the boot partition stands for them.
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

    /// Returns where its logs are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the boot partition as the guest left it.
    pub fn boot_partition(&self) -> BootPartition<'_> {
        BootPartition::of(self.lab, &self.disk)
    }

    /// Boots once, lets the guest do its job, and waits for the end.
    pub fn boot(&mut self, job: &Job) -> Result<Boot> {
        let boot = self.watch(job, HOPELESS, &[])?;
        if !(boot.answer.passed || boot.answer.reboot.is_some()) {
            bail!("boot {}: the guest went away without passing\n{}", self.boots, self.report());
        }
        self.check_status(&boot.answer)?;
        Ok(boot)
    }

    /// Boots; that resets from within the initramfs.
    pub fn boot_to_reset(&mut self, job: &Job) -> Result<Boot> {
        let boot = self.watch(job, HOPELESS, &[])?;
        if !boot.console.contains(RESET) || boot.answer != Answer::default() {
            bail!("boot {}: no reset from the initramfs\n{}", self.boots, self.report());
        }
        Ok(boot)
    }

    /// Boots; the guest crashes, and its crash kernel saves a dump.
    pub fn boot_to_crash_dump(&mut self, job: &Job) -> Result<Boot> {
        // The first kernel panics on purpose.
        let boot = self.watch(job, &[], &[])?;
        if !boot.console.contains(DUMP_SAVED) {
            bail!("boot {}: no crash dump\n{}", self.boots, self.report());
        }
        Ok(boot)
    }

    /// Boots; that stops in the emergency shell of the initramfs. Then the power goes.
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

    /// Returns the path of a file of the present boot.
    fn file(&self, kind: &str) -> PathBuf {
        self.dir.join(format!("boot-{}.{kind}", self.boots))
    }

    /// Returns the end of what there is of the present boot.
    fn report(&self) -> String {
        report(&self.file("console"), &self.file("journal"))
    }

    /// Boots once until the guest goes away, or says on the console that it has come to its end; an error if it is
    /// `hopeless`.
    fn watch(&mut self, job: &Job, hopeless: &[&str], ends: &[&str]) -> Result<Boot> {
        self.boots += 1;
        let testdata = self.disk.with_file_name("testdata.img");
        job.write_disk(self.lab, &testdata)?;
        let start = Instant::now();
        let mut ended = self.run(&testdata, hopeless, ends)?;
        if ended.is_err() && qemu::accelerator(self.lab)? == "tcg" && is_emulators(&read_lossy(&self.file("console"))) {
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

    /// Runs QEMU to its end, and returns how the guest ended.
    fn run(&self, testdata: &Path, hopeless: &[&str], ends: &[&str]) -> Result<Result<()>> {
        let (console, results, journal) = (self.file("console"), self.file("results"), self.file("journal"));
        let mut command = qemu::with_console(self.lab, qemu::accelerator(self.lab)?, &console);
        match &self.record {
            Some(log) => command.args(qemu::recorded_drive(&self.disk, log)?),
            None => command.args(qemu::drive(&self.disk, false)),
        };
        command.args(qemu::drive(testdata, true));
        if let Some(staging) = &self.staging {
            command.args(qemu::drive(staging, true));
        }
        for (path, number) in self.additional.iter().zip(1..) {
            command.args(qemu::numbered_drive(path, number));
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
        Ok(qemu::wait(command, &console, self.timeout, hopeless, ends))
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

    /// Runs the same machine with the console on this terminal, until it powers off.
    pub fn interactive(&self) -> Result<()> {
        let entry = self.boot_partition().default_entry()?;
        let kernel = self.boot_partition().dump(&entry.linux, &self.disk.with_file_name("vmlinuz"))?;
        let initrd = self.boot_partition().dump(&entry.initrd, &self.disk.with_file_name("initrd"))?;
        let mut command = qemu::base(self.lab, qemu::accelerator(self.lab)?);
        command.args(["-serial", "mon:stdio"]).args(qemu::drive(&self.disk, false));
        if let Some(staging) = &self.staging {
            command.args(qemu::drive(staging, true));
        }
        command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
        command.args(["-append", &format!("{} {}", entry.cmdline(&self.firstboot), self.append)]);
        let status = command.status().context("starting QEMU")?;
        anyhow::ensure!(status.success(), "running QEMU: {status}");
        Ok(())
    }
}

/// Returns whether a kernel has died while it set itself up. On a busy host an emulated processor was once seen to trip
/// over code that the kernel patches on another one. What is wrong with the disk is wrong a second time.
fn is_emulators(console: &str) -> bool {
    console.contains("Kernel panic") && console.lines().any(|line| line.contains("PID: 1 Comm: swapper/"))
}

/// Returns the end of the console and of what the guest sent when it failed.
fn report(console: &Path, journal: &Path) -> String {
    let mut text = format!("  console ({}):\n{}", console.display(), cmd::tail(&read_lossy(console)));
    let sent = read_lossy(journal);
    if !sent.is_empty() {
        text.push_str(&format!("  guest ({}):\n{}", journal.display(), cmd::tail(&sent)));
    }
    text
}
