// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A unit of the swapped boot that has the node image install its boot loader, before anything may reboot.
//!
//! Tested by `src/initrd/tests/settle/`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use contract::handoff::{BootLoaderUpdate, Leftover};

/// The unit, below the directory of units in `/run`.
const UNIT: &str = "slipstream-boot-loader.service";
const UNITS: &str = "systemd/system";
/// The target that wants it.
const WANTS: &str = "multi-user.target.wants";

/// Writes the unit. `run` is `/run`. Returns what stays until the reboot.
pub(super) fn update_on_this_boot(run: &Path, update: BootLoaderUpdate) -> Result<Vec<Leftover>> {
    let command = match update {
        BootLoaderUpdate::Unit => format!("/usr/bin/systemctl start {}", update.name()),
        BootLoaderUpdate::Program => "/usr/bin/bootupctl update".to_owned(),
    };
    // What may reboot a node of OpenShift comes after it: the MCO's units, and the kubelet with the MCO's daemon.
    let text = format!(
        "# Written by slipstream: Secure Boot is on, and the node image has another boot loader than the bootimage.\n\
         [Unit]\n\
         Description=Install the node image's boot loader\n\
         Documentation=man:slipstream.service(8)\n\
         After=local-fs.target\n\
         Before=machine-config-daemon-firstboot.service machine-config-daemon-pull.service kubelet.service crio.service\n\
         Before=multi-user.target\n\n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart={command}\n"
    );
    let units = run.join(UNITS);
    let wants = units.join(WANTS);
    fs::create_dir_all(&wants).with_context(|| format!("creating {}", wants.display()))?;
    let path = units.join(UNIT);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    let link = wants.join(UNIT);
    if link.symlink_metadata().is_err() {
        symlink(Path::new("..").join(UNIT), &link).with_context(|| format!("creating {}", link.display()))?;
    }
    Ok([format!("/run/{UNITS}/{UNIT}"), format!("/run/{UNITS}/{WANTS}/{UNIT}")].map(Leftover::file).to_vec())
}
