// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The decision for each MachineConfig.

use anyhow::{Result, ensure};
use contract::request::mco::{Decision, MachineConfig, Node, decide};
use testkit::suite::Case;

use crate::corpus::{IMAGE, machine, split};

const LAYERED: &str = "image-registry.openshift-image-registry.svc:5000/openshift-machine-config-operator/os-image@sha256:\
                       a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4";
const V2: &str = r#"systemd.unified_cgroup_hierarchy=1 cgroup_no_v1="all""#;

struct Row {
    name: &'static str,
    machine: &'static str,
    /// More kernel arguments in the bootimage's entry, which are on the command line as well.
    entry: &'static str,
    image: &'static str,
    /// Arguments that are put into the entry; or a part of each reason.
    expected: std::result::Result<&'static str, &'static [&'static str]>,
}

const fn row(
    name: &'static str,
    machine: &'static str,
    entry: &'static str,
    expected: std::result::Result<&'static str, &'static [&'static str]>,
) -> Row {
    Row { name, machine, entry, image: IMAGE, expected }
}

const CASES: [Row; 31] = [
    row("adds_the_arguments_of_a_master", "master", "", Ok(V2)),
    row("adds_the_arguments_of_a_worker", "worker", "", Ok(V2)),
    row("adds_nothing_that_is_there", "worker", V2, Ok("")),
    row("adds_what_is_missing", "worker", "cgroup_no_v1=\"all\"", Ok("systemd.unified_cgroup_hierarchy=1")),
    // Other quotes are another argument to the MCO.
    row("takes_other_quotes_for_another_argument", "worker", "cgroup_no_v1=all", Ok(V2)),
    row(
        "reboots_for_arguments_in_another_order",
        "worker",
        "cgroup_no_v1=\"all\" systemd.unified_cgroup_hierarchy=1",
        Err(&["kernel arguments in another order or number: the MachineConfig has [\"systemd."]),
    ),
    row(
        "adds_the_arguments_of_4_18",
        "worker-4.18",
        "",
        Ok(r#"systemd.unified_cgroup_hierarchy=1 cgroup_no_v1="all" psi=0"#),
    ),
    row(
        "adds_the_arguments_in_their_order",
        "worker-psi",
        "",
        Ok(r#"psi=1 systemd.unified_cgroup_hierarchy=1 cgroup_no_v1="all""#),
    ),
    row("adds_nothing_if_nothing_is_wanted", "worker-no-kargs", "", Ok("")),
    row("reboots_to_turn_fips_on", "worker-fips", "", Err(&["FIPS mode is off, the MachineConfig wants it on"])),
    row("does_not_reboot_if_fips_is_on", "worker-fips", "fips=1", Ok(V2)),
    row("reboots_to_turn_fips_off", "worker", "fips=1", Err(&["FIPS mode is on, the MachineConfig wants it off"])),
    row("reboots_for_the_realtime_kernel", "worker-realtime", "", Err(&["wants the kernel realtime"])),
    row("reboots_for_64k_pages", "worker-64k", "", Err(&["wants the kernel 64k-pages"])),
    row("does_not_reboot_for_an_unknown_kernel", "worker-unknown-kernel", "", Ok(V2)),
    row("reboots_for_extensions", "worker-extensions", "", Err(&["wants extensions: usbguard, kerberos"])),
    row(
        "reboots_for_an_image_built_on_the_cluster",
        "worker-built-on-cluster",
        "",
        Err(&["is marked as built on the cluster, with image \"image-registry."]),
    ),
    row(
        "reboots_for_files_of_its_own",
        "worker-with-files",
        "",
        Err(&["the MachineConfig has files, units of its own"]),
    ),
    Row {
        name: "does_not_reboot_for_the_layered_image_itself",
        machine: "layered",
        entry: "",
        image: LAYERED,
        expected: Ok(V2),
    },
    row(
        "reboots_for_another_layered_image",
        "layered",
        "",
        Err(&["has image \"image-registry.openshift-image-registry.svc:5000/"]),
    ),
    row(
        "reboots_for_arguments_that_cannot_wait",
        "worker-tuned",
        "",
        Err(&["cannot wait for the next boot: [\"skew_tick=1\", \"tsc=reliable\", \"rcupdate."]),
    ),
    row(
        "does_not_reboot_if_what_cannot_wait_is_there",
        "worker-tuned",
        "skew_tick=1 tsc=reliable rcupdate.rcu_normal_after_boot=1 nohz=on rcu_nocbs=2-23 systemd.cpu_affinity=0,1 \
         isolcpus=managed_irq,2-23",
        Ok(V2),
    ),
    row(
        "reboots_for_what_is_not_one_argument_each",
        "worker-hugepages",
        "hugepagesz=1G hugepages=4",
        Err(&["not one argument each, which the MCO never finds"]),
    ),
    row("adds_arguments_beside_consoles", "worker-console", "console=tty0 console=ttyS0,115200n8", Ok(V2)),
    row(
        "reboots_for_consoles_in_another_order",
        "worker-console",
        "console=ttyS0,115200n8 console=tty0",
        Err(&["in another order or number"]),
    ),
    row(
        "reboots_for_a_console_that_is_there_twice",
        "worker-console",
        "console=tty0 console=tty0 console=ttyS0,115200n8",
        Err(&["in another order or number"]),
    ),
    row("finds_an_argument_with_quotes", "worker-quotes", "dyndbg=\"file drivers/usb/* +p\"", Ok(V2)),
    row(
        "reboots_for_an_argument_with_quotes",
        "worker-quotes",
        "",
        Err(&["cannot wait for the next boot: [\"dyndbg=\\\"file drivers/usb/* +p\\\"\"]"]),
    ),
    row(
        "finds_arguments_that_are_wanted_twice",
        "worker-duplicates",
        "hugepagesz=1G hugepages=4 hugepagesz=2M hugepages=4",
        Ok(""),
    ),
    row(
        "reboots_if_one_of_two_is_missing",
        "worker-duplicates",
        "hugepagesz=1G hugepages=4 hugepagesz=2M",
        Err(&["cannot wait for the next boot: [\"hugepages=4\"]"]),
    ),
    row(
        "reboots_for_duplicates_in_another_order",
        "worker-duplicates",
        "hugepagesz=2M hugepages=4 hugepagesz=1G",
        Err(&["in another order or number"]),
    ),
];

pub fn cases() -> impl Iterator<Item = Case> {
    CASES.into_iter().map(|row| Case::new(row.name, move || decides(&row)))
}

/// Returns whether the MCO is content: what it finds of its arguments in the entry must be its list.
fn mco_is_content(machine: &MachineConfig, entry: &[String]) -> bool {
    let found: Vec<_> = entry.iter().filter(|karg| machine.kargs.contains(karg)).collect();
    found.iter().eq(&machine.kargs.iter().collect::<Vec<_>>())
}

fn decides(row: &Row) -> Result<()> {
    let config = machine(row.machine)?;
    let entry = split(&format!("rw $ignition_firstboot root=UUID=1 {} quiet", row.entry));
    let cmdline = entry.join(" ");
    let fips = Node::is_fips(&cmdline);
    let node = Node { image: row.image, entry: &entry, cmdline: &cmdline, fips, force: false };
    let decision = decide(&config, &node);
    match row.expected {
        Ok(added) => {
            ensure!(!decision.reboot, "{decision:?}");
            ensure!(decision.kargs_to_add == split(added), "{decision:?}");
            ensure!(mco_is_content(&config, &decision.kargs), "{decision:?}");
            ensure!(decision.kargs.len() == entry.len() + decision.kargs_to_add.len(), "{decision:?}");
        }
        Err(reasons) => {
            ensure!(decision.reboot, "{decision:?}");
            ensure!(decision.reasons.len() == reasons.len(), "{decision:?}");
            for (reason, part) in decision.reasons.iter().zip(reasons) {
                ensure!(reason.contains(part), "{reason}");
            }
            ensure!(decision.kargs == entry, "{decision:?}");
        }
    }
    let Decision { reboot, reasons, .. } = decide(&config, &Node { force: true, ..node });
    ensure!(reboot && reasons.iter().any(|reason| reason.contains("machine-config-daemon-force")), "{reasons:?}");
    Ok(())
}
