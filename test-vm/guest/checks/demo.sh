#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What a user wants to see, line by line.
set -euo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

fact() {
  while IFS= read -r line; do
    echo "fact $1 $line" >&3
  done
}

booted_deployment | fact booted
fact version </usr/share/vm-test/version
uname -r | fact kernel
status_of .node_image.kernel | fact node-kernel
status_of .outcome | fact outcome
status_of .reboot.avoided | fact avoided
status_of '.stages[] | "\(.name)\t\(.seconds)\t\(.bytes // 0)"' | fact stage
