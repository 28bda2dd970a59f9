#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The power was cut in the boot before. With the same request this one ends on the node image, and the repository is
# sound.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

outcome=$(status_of .outcome)
case $outcome in
  swapped) kernel=$BOOT_KERNEL ;;
  already-booted) kernel=$NODE_KERNEL ;;
  *) fatal "the outcome is $outcome" ;;
esac
[[ $(uname -r) == "$kernel" ]] || fatal "running $(uname -r)"
[[ $(cat /usr/share/vm-test/version) == "$NODE_VERSION" ]] || fatal "version $(cat /usr/share/vm-test/version)"
grep -Fxq "container-image-reference=ostree-unverified-registry:$NODE_IMAGE" "$(booted_path).origin" ||
  fatal "origin: $(cat "$(booted_path).origin")"
ostree fsck --repo /sysroot/ostree/repo --quiet || fatal "fsck"
staged=$(find /sysroot/ostree/repo/tmp -maxdepth 1 -name 'slipstream-*')
[[ -z $staged ]] || fatal "left in the repository: $staged"
load_fresh_module
assert_no_mount_left
assert_no_failed_unit
echo "fact outcome $outcome" >&3
echo "fact kernel $(uname -r)" >&3
