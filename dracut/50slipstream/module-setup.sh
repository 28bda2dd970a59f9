#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Puts slipstream into an initramfs. Opt-in: add_dracutmodules+=" slipstream " (see slipstream(8)).

# A crash kernel's initramfs saves a dump, and is built by the system's configuration, which asks for us. A check() that says no
# would fail that build, so the module is there, and empty.
for_crash_kernel() {
    [[ ${IN_KDUMP-} == 1 ]]
}

# Called by dracut. 255: only when asked for.
check() {
    for_crash_kernel && return 255
    require_binaries /usr/libexec/slipstream-initrd || return 1
    # The importer is not in the initramfs: it runs in the deployment that this initramfs boots. An image without it
    # would fail on its first boot, so it fails here.
    # shellcheck disable=SC2154 # dracut sets dracutsysrootdir
    if [[ ! -x "${dracutsysrootdir-}/usr/bin/slipstream" ]]; then
        derror "slipstream: /usr/bin/slipstream is missing in the image that the initramfs is for"
        return 1
    fi
    return 255
}

# Called by dracut. ostree: ostree-prepare-root, around which our units are ordered.
depends() {
    for_crash_kernel || echo systemd ostree
}

# Called by dracut. The file systems that a staging device may have; the root's own come with the root.
installkernel() {
    for_crash_kernel && return
    hostonly='' instmods ext4 xfs vfat isofs squashfs erofs loop =fs/nls
    # slipstream-settle.service loads these.
    hostonly='' instmods autofs4 ip_tables ipv6
}

# Called by dracut.
install() {
    for_crash_kernel && return
    inst_binary /usr/libexec/slipstream-initrd
    inst_conf /usr/lib/slipstream.conf
    inst_conf /etc/slipstream.conf
    install_unit slipstream.service
    install_unit slipstream-emergency.service
    install_unit slipstream-reboot.service
    install_unit slipstream-settle.service
    install_unit slipstream-way-back.service
    # shellcheck disable=SC2154 # dracut sets systemdutildir
    inst_script "$moddir/slipstream-generator" "$systemdutildir/system-generators/slipstream-generator" || exit 1
}

# A request that is part of the image. There may be none.
inst_conf() {
    if [[ -e "${dracutsysrootdir-}$1" ]]; then
        inst_simple "$1"
    fi
}

# A unit that is missing must fail the build of the image, hence || exit 1. No target wants it: that is the generator's.
install_unit() {
    # shellcheck disable=SC2154 # dracut sets moddir and systemdsystemunitdir
    inst_simple "$moddir/$1" "$systemdsystemunitdir/$1" || exit 1
}
