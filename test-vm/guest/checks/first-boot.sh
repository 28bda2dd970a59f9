#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# After a first boot with Ignition's stages and CoreOS's units around them: they have worked on the node image's root.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

status_is '.version == 1 and .outcome == "swapped" and .warnings == []'
[[ $(cat /usr/share/vm-test/version) == "$NODE_VERSION" ]] || fatal "version $(cat /usr/share/vm-test/version)"
[[ $(uname -r) == "$BOOT_KERNEL" ]] || fatal "running $(uname -r)"
[[ $(cat /etc/from-ignition) == 'by Ignition' ]] || fatal "Ignition has written no file"
getent passwd ignited || fatal "Ignition has made no user"
[[ -d /var/home && -d /var/roothome && -d /var/home/ignited ]] || fatal "/var: $(ls /var /var/home)"
# The way back has what the newest entry got.
for entry in ostree-1 ostree-2; do
  grep -q '^options .* boot-edit.root=UUID=1 boot-edit.boot=UUID=2$' "/boot/loader/entries/$entry.conf" ||
    fatal "$entry: $(cat "/boot/loader/entries/$entry.conf")"
done
load_fresh_module
assert_no_mount_left
assert_no_failed_unit
ok "a first boot has ended on the node image, with what Ignition wanted"
