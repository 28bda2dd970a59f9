#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The same request, but the node image is what boots anyway.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"
# shellcheck disable=SC1091
. "$(dirname "$0")/nothing-written.sh"

nothing_written
status_is '.version == 1 and .outcome == "already-booted"'
[[ $(uname -r) == "$NODE_KERNEL" ]] || fatal "running $(uname -r)"
# There is nothing to tell about it any more.
status_is '.kernel.differs == false'
for file in /run/motd.d/50-slipstream /run/slipstream/node-features; do
  [[ ! -e $file ]] || fatal "$file is there"
done
[[ $(cat /usr/share/vm-test/version) == "$NODE_VERSION" ]] || fatal "version $(cat /usr/share/vm-test/version)"
assert_no_mount_left
assert_no_failed_unit
