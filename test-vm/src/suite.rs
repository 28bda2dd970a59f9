// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The VM tests. A test is one machine and a few boots of it; every boot that proves something is a line of its own.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::auto;
use crate::cmd;
use crate::composefs;
use crate::guest::Job;
use crate::images::Images;
use crate::kola;
use crate::peer;
use crate::policies;
use crate::qemu::{Boot, Loader, Machine};
use crate::selinux;
use crate::trees::{self, Role};

/// The kola test that runs here as it does there.
pub const PRESTAGED: &str = "kola/prestaged/test.sh";

/// The suite with the oldest dracut that has to do: 059.
const OLD_DRACUT_SUITE: &str = "bookworm";

/// One machine.
struct Case {
    name: &'static str,
    /// What its boots prove, one line each.
    steps: &'static [&'static str],
    run: fn(&Images<'_>, &str, &mut Report) -> Result<()>,
}

const CASES: &[Case] = &[
    Case {
        name: "dracut",
        steps: &["the module works with dracut 059", "the module works with the images' own dracut"],
        run: dracut_module,
    },
    Case {
        name: "swap-xfs-archive",
        steps: &["boots the node image on a first boot", "a plain reboot is the node image's own"],
        run: swap_xfs_archive,
    },
    Case {
        name: "swap-grub",
        steps: &["boots the node image through GRUB", "GRUB follows the new BLS entry"],
        run: swap_grub,
    },
    Case { name: "no-argument", steps: &["the boot of today, nothing written"], run: no_argument },
    Case {
        name: "emergency-flipped-byte",
        steps: &["stops in the emergency shell and says why", "without that policy boots the bootimage and says why"],
        run: policies::emergency,
    },
    Case {
        name: "reboot-no-staging",
        steps: &["reboots and says why", "reboots again", "boots the bootimage and says why, three times over"],
        run: policies::reboot,
    },
    Case { name: "not-a-digest", steps: &["boots the bootimage and says why"], run: not_a_digest },
    Case {
        name: "auto-registry",
        steps: &["boots the node image that the Ignition config names, from a registry"],
        run: auto::from_registry,
    },
    Case {
        name: "source-hangs",
        steps: &["boots the bootimage by the deadline and says why"],
        run: policies::source_hangs,
    },
    Case {
        name: "composefs-yes",
        steps: &["boots the node image with a composefs root", "so does a plain reboot"],
        run: composefs::yes,
    },
    Case {
        name: "composefs-maybe",
        steps: &[
            "boots a node image without composefs with a composefs root",
            "a plain reboot is the node image's own",
        ],
        run: composefs::maybe,
    },
    Case {
        name: "selinux-enforcing",
        steps: &[
            "a boot without a request, for what is denied anyway",
            "boots the node image, every file labelled",
            "a plain reboot finds every file labelled",
            "no denial that the boot without a request does not have",
        ],
        run: selinux::enforcing,
    },
];

/// Print the tests' names.
pub fn list() -> Result<()> {
    for case in CASES {
        println!("{}: {}", case.name, case.steps.join("; "));
    }
    kola::list()
}

/// Run the tests whose names contain a filter; true if none failed.
pub fn run(images: &Images<'_>, filters: &[String]) -> Result<bool> {
    let wanted = |case: &&Case| filters.is_empty() || filters.iter().any(|filter| case.name.contains(filter.as_str()));
    let cases: Vec<_> = CASES.iter().filter(wanted).collect();
    let (mut passed, mut failed) = kola::run(images, filters)?;
    ensure!(!cases.is_empty() || passed + failed > 0, "choosing tests: no name contains {}", filters.join(" or "));
    for case in cases {
        let mut report = Report { case, done: 0, since: Instant::now() };
        if let Err(error) = (case.run)(images, case.name, &mut report) {
            let step = case.steps.get(report.done).unwrap_or(&"ends well");
            println!("FAILED {}: {step}\n  {error:#}", case.name);
            failed += 1;
        }
        passed += report.done;
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

/// Counts the steps of a case that have been proved.
pub struct Report {
    case: &'static Case,
    done: usize,
    since: Instant,
}

impl Report {
    /// The next step is proved.
    pub fn pass(&mut self) {
        let step = self.case.steps.get(self.done).expect("every step has a name");
        println!("ok {}: {step} ({:.0} s)", self.case.name, self.since.elapsed().as_secs_f64());
        self.done += 1;
        self.since = Instant::now();
    }
}

/// The request for the node image, staged like this.
pub fn request(images: &Images<'_>, source: &str) -> String {
    format!("slipstream.image={} slipstream.source={source}", images.node.reference)
}

/// The scripts, and what they compare with.
pub fn job(images: &Images<'_>, scripts: &[&str], mark: &str, more: &[(&str, &str)]) -> Result<Job> {
    let node = &images.node;
    let known = [
        ("NODE_IMAGE", node.reference.as_str()),
        ("NODE_KERNEL", &node.kernel),
        ("NODE_VERSION", Role::Node.version()),
        ("BOOT_KERNEL", &images.bootimage.kernel),
        ("BOOT_VERSION", Role::Bootimage.version()),
    ];
    let environment = known.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let programs: Vec<PathBuf> = if scripts.iter().any(|script| script.contains("operations")) {
        vec![peer::binary(images.lab)?]
    } else {
        vec![]
    };
    Ok(Job {
        scripts: scripts.iter().map(|script| (*script).to_owned()).collect(),
        mark: mark.to_owned(),
        environment,
        programs,
    })
}

/// Most lines of ours that a swap may put on the console, beside those of its progress.
const MAX_LINES: usize = 3;

/// Boot into the node image; the guest then reboots.
fn swap(images: &Images<'_>, machine: &mut Machine<'_>, fstype: &str) -> Result<Boot> {
    let scripts = ["checks/userspace.sh", "checks/operations.sh", PRESTAGED];
    let job = job(images, &scripts, "swapped", &[("FSTYPE", fstype)])?;
    let boot = machine.boot(&job)?;
    ensure!(boot.answer.reboot.as_deref() == Some("rebooted"), "the guest did not reboot: {:?}", boot.answer);
    let lines = our_lines(&boot.console);
    ensure!((1..=MAX_LINES).contains(&lines.len()), "reading the console: {} lines of ours: {lines:#?}", lines.len());
    for line in lines {
        println!("   console: {line}");
    }
    Ok(boot)
}

/// The boot after it, without a request.
fn plain_reboot(images: &Images<'_>, machine: &mut Machine<'_>) -> Result<()> {
    let boot = machine.boot(&job(images, &[PRESTAGED], "rebooted", &[])?)?;
    ensure!(boot.answer.passed, "the guest did not pass: {:?}", boot.answer);
    Ok(())
}

/// No boot: which initramfs comes out, and when none does.
fn dracut_module(images: &Images<'_>, _: &str, report: &mut Report) -> Result<()> {
    let lab = images.lab;
    let old = lab.debian_root("dracut", OLD_DRACUT_SUITE, &lab.packages("dracut")?)?;
    let staged = trees::slipstream(lab)?;
    for root in [old, trees::root(lab, Role::Bootimage)?] {
        cmd::run(&mut cmd::words("bash", [lab.own("scripts/dracut-check.sh"), root, staged.clone()]))?;
        report.pass();
    }
    Ok(())
}

fn swap_xfs_archive(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let mut machine = Machine::new(images.lab, name, &images.disk("xfs")?, Loader::Direct)?;
    machine.attach(&images.node.staging);
    machine.set_firstboot(&request(images, "oci-archive:LABEL=nodeimage:/node.tar"))?;
    let swapped = swap(images, &mut machine, "xfs")?;
    report.pass();
    let status = swapped.answer.fact("status")?;
    let boot = machine.boot(&job(images, &[PRESTAGED, "checks/leftovers.sh"], "rebooted", &[("SWAPPED", status)])?)?;
    ensure!(boot.answer.passed, "the guest did not pass: {:?}", boot.answer);
    report.pass();
    Ok(())
}

fn swap_grub(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let mut machine = Machine::new(images.lab, name, &images.disk("ext4")?, Loader::Grub)?;
    machine.attach(&images.node.staging);
    machine.set_firstboot(&request(images, "oci:LABEL=nodeimage:/node"))?;
    swap(images, &mut machine, "ext4")?;
    report.pass();
    plain_reboot(images, &mut machine)?;
    report.pass();
    Ok(())
}

fn no_argument(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let mut machine = Machine::new(images.lab, name, &images.disk("ext4")?, Loader::Direct)?;
    machine.attach(&images.node.staging);
    let before = machine.boot_partition().entries()?;
    let boot = machine.boot(&job(images, &["checks/untouched.sh"], "", &[])?)?;
    ensure!(machine.boot_partition().entries()? == before, "comparing the BLS entries: they have changed");
    ensure!(error_lines(&boot.console).is_empty(), "reading the console: {:?}", error_lines(&boot.console));
    report.pass();
    Ok(())
}

/// A boot in which the request cannot be met: it leaves the boot loader entries alone, and one line on the console.
pub fn refusal(machine: &mut Machine<'_>, job: &Job) -> Result<Boot> {
    let before = machine.boot_partition().entries()?;
    let boot = machine.boot(job)?;
    ensure!(machine.boot_partition().entries()? == before, "comparing the BLS entries: they have changed");
    let lines = error_lines(&boot.console);
    ensure!(lines.len() == 1, "reading the console: {} error lines where one is due: {lines:?}", lines.len());
    println!("   console: {}", lines[0]);
    Ok(boot)
}

fn not_a_digest(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let mut machine = Machine::new(images.lab, name, &images.disk("ext4")?, Loader::Direct)?;
    machine.attach(&images.node.staging);
    let (repository, _) = images.node.reference.split_once('@').context("splitting the image's name")?;
    machine.append = format!("slipstream.image={repository}:latest slipstream.source=oci:LABEL=nodeimage:/node");
    refusal(&mut machine, &job(images, &["checks/failed.sh"], "", &[("EXPECT_REASON", "digest")])?)?;
    report.pass();
    Ok(())
}

/// What slipstream says on the console, its progress apart.
fn our_lines(console: &str) -> Vec<String> {
    let lines = console.lines().map(|line| plain(line.trim()));
    let ours = lines.filter(|line| line.contains("slipstream[") || line.contains("slipstream: "));
    ours.filter(|line| !line.contains("MiB/s, about")).collect()
}

/// What slipstream complains about on the console; systemd's colours and the kernel's time stamps may surround it.
pub fn error_lines(console: &str) -> Vec<String> {
    let ours = |line: &String| line.find("slipstream").is_some_and(|at| line[at..].contains(": error: "));
    console.lines().map(|line| plain(line.trim())).filter(ours).collect()
}

/// A line without terminal control sequences.
fn plain(line: &str) -> String {
    let mut pieces = line.split("\u{1b}[");
    let mut text = pieces.next().unwrap_or("").to_owned();
    for piece in pieces {
        // ECMA-48: parameters, then one final byte that is a letter in all that systemd uses.
        let end = piece.find(|c: char| c.is_ascii_alphabetic()).map_or(piece.len(), |at| at + 1);
        text.push_str(&piece[end..]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{error_lines, our_lines};

    #[test]
    fn lines_of_ours() {
        let console = "[ 3.1] slipstream[243]: \u{1b}[0;1;31merror: a: b\u{1b}[0m\r\n[ 3.2] systemd[1]: error: c\nslipstream[2]: request: x\n";
        assert_eq!(our_lines(console).len(), 2);
        let progress = "slipstream[2]: imported 4 of 9 MiB, 2 MiB/s, about 3 s left\n";
        assert_eq!(our_lines(&format!("{console}{progress}")).len(), 2);
        assert_eq!(error_lines(console), ["[ 3.1] slipstream[243]: error: a: b"]);
    }
}
