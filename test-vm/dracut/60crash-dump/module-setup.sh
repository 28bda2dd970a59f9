#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What kdump does in a crash kernel: it saves a part of the dump, and ends.

# Called by dracut.
check() {
    return 255
}

# Called by dracut.
depends() {
    echo systemd
}

# Called by dracut.
install() {
    inst_multiple bash head mkdir mount sync systemctl umount || exit 1
    # shellcheck disable=SC2154 # dracut sets moddir, initdir and systemdsystemunitdir
    inst_simple "$moddir/crash-dump.sh" /usr/libexec/crash-dump || exit 1
    # shellcheck disable=SC2154
    inst_simple "$moddir/crash-dump.service" "$systemdsystemunitdir/crash-dump.service" || exit 1
    # shellcheck disable=SC2154
    "$SYSTEMCTL" -q --root "$initdir" add-wants initrd.target crash-dump.service || exit 1
}
