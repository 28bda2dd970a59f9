#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Takes the place of the module-setup.sh in Debian's module of Ignition: the real program and its real unit, but only the
# stage that fetches the config. The later stages expect CoreOS's own units around them.

# Called by dracut.
check() {
    return 255
}

# Called by dracut.
depends() {
    echo systemd
}

# Called by dracut. Where QEMU shows the config.
installkernel() {
    hostonly='' instmods qemu_fw_cfg
}

# Called by dracut.
install() {
    # shellcheck disable=SC2154 # dracut sets moddir, systemdsystemunitdir and initdir
    inst "$moddir/ignition" /usr/bin/ignition || exit 1
    # shellcheck disable=SC2154
    inst_simple "$moddir/ignition-fetch-offline.service" "$systemdsystemunitdir/ignition-fetch-offline.service" || exit 1
    inst_simple "$moddir/first-boot.conf" "$systemdsystemunitdir/ignition-fetch-offline.service.d/first-boot.conf" ||
        exit 1
    # shellcheck disable=SC2154
    "$SYSTEMCTL" -q --root "$initdir" add-requires initrd.target ignition-fetch-offline.service || exit 1
}
