#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Takes the place of the module-setup.sh in Debian's module of Ignition: the real program and its real units, all stages
# but the one that changes kernel arguments. What CoreOS has around them is one unit here.

# Called by dracut.
check() {
    return 255
}

# Called by dracut. ostree: Ignition writes into the deployment root.
depends() {
    echo systemd ostree
}

# Called by dracut. Where QEMU shows the config.
installkernel() {
    hostonly='' instmods qemu_fw_cfg
}

# Called by dracut.
install() {
    local name
    # shellcheck disable=SC2154 # dracut sets moddir, systemdutildir, systemdsystemunitdir and initdir
    inst "$moddir/ignition" /usr/bin/ignition || exit 1
    # What its stages run.
    inst_multiple basename groupadd lsblk mkdir mount rm sh systemd-tmpfiles useradd usermod
    inst_simple /usr/bin/true /usr/sbin/setfiles || exit 1
    # shellcheck disable=SC2154
    inst_simple "$moddir/ignition-generator" "$systemdutildir/system-generators/ignition-generator" || exit 1
    for name in complete subsequent diskful diskful-subsequent; do
        # shellcheck disable=SC2154
        inst_simple "$moddir/ignition-$name.target" "$systemdsystemunitdir/ignition-$name.target" || exit 1
    done
    # QEMU shows the config without a network, so ignition-fetch has nothing to do; but the order of the others goes
    # through it, and ignition-disks fails when it comes before there is a config.
    for name in ignition-fetch-offline ignition-fetch ignition-disks ignition-mount ignition-files kola-var coreos-boot-edit; do
        inst_simple "$moddir/$name.service" "$systemdsystemunitdir/$name.service" || exit 1
        # shellcheck disable=SC2154
        "$SYSTEMCTL" -q --root "$initdir" add-requires ignition-complete.target "$name.service" || exit 1
    done
    inst_simple "$moddir/kola-var.sh" /usr/libexec/kola-var || exit 1
    inst_simple "$moddir/boot-edit.sh" /usr/libexec/boot-edit || exit 1
    inst_multiple bash sed || exit 1
    inst_simple "$moddir/no-labels.conf" "$systemdsystemunitdir/ignition-files.service.d/no-labels.conf" || exit 1
}
