#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The bootimage is booted, whole, and there is nothing beside it.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

systemctl is-active multi-user.target
[[ $(cat /usr/share/vm-test/version) == "$BOOT_VERSION" ]] || fatal "version $(cat /usr/share/vm-test/version)"
[[ $(cat /etc/local-change) == 'changed on this machine' ]] || fatal "a local change is lost"
[[ $(uname -r) == "$BOOT_KERNEL" ]] || fatal "running $(uname -r)"
[[ $(booted_path) == "$(echo /sysroot/ostree/deploy/testos/deploy/*.0)" ]] || fatal "booted is $(booted_path)"
[[ $(ls /boot/loader/entries) == ostree-1.conf ]] || fatal "BLS entries: $(ls /boot/loader/entries)"
refs=$(ostree refs --repo /sysroot/ostree/repo | sort)
[[ $refs == $'ostree/1/1/0\ntestos/bootimage' ]] || fatal "refs: $refs"
assert_no_mount_left
assert_no_failed_unit
load_fresh_module
ostree fsck --repo /sysroot/ostree/repo --quiet || fatal "fsck"
ok "the bootimage is booted and there is nothing else"
