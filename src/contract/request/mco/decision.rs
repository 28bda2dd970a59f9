// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Will the MCO's daemon still reboot the node when it has booted the node image?

use crate::handoff::{Foreseen, Mco};
use crate::request::kargs;
use crate::request::mco::{MachineConfig, order, why_harmless};

/// The kernels that a MachineConfig can ask for besides the default; any other word means the default to the MCO.
const OTHER_KERNELS: [&str; 2] = ["realtime", "64k-pages"];

/// What the MCO's daemon will find.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// The image that will be booted.
    pub image: &'a str,
    /// The kernel arguments of its boot loader entry, if nothing is added to them.
    pub entry: &'a [String],
    /// The running kernel's command line.
    pub cmdline: &'a str,
    /// Whether the running kernel is in FIPS mode.
    pub fips: bool,
    /// Whether somebody has asked the daemon to reboot whatever it finds.
    pub force: bool,
}

impl Node<'_> {
    /// Whether a command line puts the kernel into FIPS mode: it is this argument alone that does.
    pub fn is_fips(cmdline: &str) -> bool {
        kargs::value(cmdline, "fips").is_some_and(|value| value.parse() != Ok(0))
    }
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// It will.
    pub reboot: bool,
    /// Because of what.
    pub reasons: Vec<String>,
    /// Kernel arguments that the boot loader entry gets for it, and that take effect with the next boot.
    pub kargs_to_add: Vec<String>,
    /// All arguments of that entry.
    pub kargs: Vec<String>,
}

impl From<&Decision> for Foreseen {
    /// Describes the answer as the status reports it.
    fn from(decision: &Decision) -> Self {
        Self {
            mco: if decision.reboot { Mco::Reboots } else { Mco::NothingToDo },
            reasons: decision.reasons.clone(),
            deferred_kargs: decision.kargs_to_add.clone(),
        }
    }
}

/// Compare as the daemon will.
pub fn decide(machine: &MachineConfig, node: &Node<'_>) -> Decision {
    let mut reasons = image_reasons(machine, node);
    let arranged = match kargs_of(machine, node) {
        Ok(arranged) => Some(arranged),
        Err(reason) => {
            reasons.push(reason);
            None
        }
    };
    reasons.extend(other_reasons(machine, node));
    match arranged {
        Some(arranged) if reasons.is_empty() => {
            Decision { reboot: false, reasons, kargs_to_add: arranged.added, kargs: arranged.kargs }
        }
        // When it reboots anyway it writes the arguments itself.
        _ => Decision { reboot: true, reasons, kargs_to_add: Vec::new(), kargs: node.entry.to_vec() },
    }
}

fn image_reasons(machine: &MachineConfig, node: &Node<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    if machine.image != node.image {
        reasons.push(format!("the MachineConfig has image {:?}, requested is {:?}", machine.image, node.image));
    }
    // The daemon compares this one later, as a pod, and then "pivots" once more.
    if let Some(image) = machine.annotated_image.as_deref().filter(|image| *image != node.image) {
        reasons.push(format!("the node's annotations have image {image:?}, requested is {:?}", node.image));
    }
    if let Some(image) = &machine.ocl_image {
        reasons.push(format!("the MachineConfig is marked as built on the cluster, with image {image:?}"));
    }
    reasons
}

fn kargs_of(machine: &MachineConfig, node: &Node<'_>) -> Result<order::Arranged, String> {
    let several: Vec<_> = machine.kargs.iter().filter(|item| !order::is_one(item)).collect();
    if !several.is_empty() {
        return Err(format!(
            "items of kernelArguments that are not one argument each, which the MCO never finds: {several:?}"
        ));
    }
    let Some(arranged) = order::arrange(node.entry, &machine.kargs) else {
        let found: Vec<_> = node.entry.iter().filter(|karg| machine.kargs.contains(karg)).collect();
        return Err(format!(
            "kernel arguments in another order or number: the MachineConfig has {:?}, the boot loader entry {found:?}",
            machine.kargs
        ));
    };
    let running: Vec<_> = kargs::split(node.cmdline).collect();
    // As often as it is wanted: the second `hugepages=4` belongs to another `hugepagesz=`.
    let runs = |karg: &String| {
        let wanted = machine.kargs.iter().filter(|item| *item == karg).count();
        running.iter().filter(|item| *item == karg).count() >= wanted
    };
    let can_wait = |karg: &&String| why_harmless(karg).is_some() || runs(karg);
    let missing: Vec<_> = arranged.added.iter().filter(|karg| !can_wait(karg)).collect();
    if missing.is_empty() {
        Ok(arranged)
    } else {
        Err(format!("kernel arguments that cannot wait for the next boot: {missing:?}"))
    }
}

fn other_reasons(machine: &MachineConfig, node: &Node<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    let on = |flag| if flag { "on" } else { "off" };
    if machine.fips != node.fips {
        reasons.push(format!("FIPS mode is {}, the MachineConfig wants it {}", on(node.fips), on(machine.fips)));
    }
    if OTHER_KERNELS.contains(&machine.kernel_type.as_str()) {
        reasons.push(format!("the MachineConfig wants the kernel {}", machine.kernel_type));
    }
    if !machine.extensions.is_empty() {
        reasons.push(format!("the MachineConfig wants extensions: {}", machine.extensions.join(", ")));
    }
    if !machine.content.is_empty() {
        reasons.push(format!("the MachineConfig has {} of its own", machine.content.join(", ")));
    }
    if node.force {
        reasons.push("the file machine-config-daemon-force is there".to_owned());
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fips_mode() {
        for (cmdline, expected) in
            [("rw", false), ("fips=1 rw", true), ("fips=0", false), ("fips=1 fips=0", false), ("xfips=1", false)]
        {
            assert_eq!(Node::is_fips(cmdline), expected, "{cmdline}");
        }
    }

    #[test]
    fn what_runs_already_can_be_written() {
        let machine = MachineConfig { kargs: vec!["nosmt".to_owned()], ..MachineConfig::default() };
        let entry = ["rw".to_owned()];
        for (cmdline, reboot) in [("rw nosmt", false), ("rw", true)] {
            let decision = decide(&machine, &Node { image: "", entry: &entry, cmdline, fips: false, force: false });
            assert_eq!(decision.reboot, reboot, "{cmdline}: {decision:?}");
            assert_eq!(decision.kargs_to_add.len(), usize::from(!reboot), "{cmdline}");
        }
    }
}
