// SPDX-License-Identifier: Apache-2.0 OR MIT
//! OpenShift's Machine Config Operator: what it wants of this node, and whether it will reboot it.
//!
//! Its server puts the MachineConfig of the node's pool into the Ignition config as a file; its daemon reads that file on
//! the first boot, compares, and reboots if anything differs. What it does then is read from openshift/
//! machine-config-operator: pkg/daemon/daemon.go (RunFirstbootCompleteMachineconfig, checkStateOnFirstRun) and
//! pkg/daemon/update.go (newMachineConfigDiff, setRunningKargs, splitKernelArguments).

mod decision;
mod machine_config;
mod order;

pub use decision::{Decision, Node, decide};
pub use machine_config::{MACHINE_CONFIG, MachineConfig};
pub use order::{HARMLESS, why_harmless};
