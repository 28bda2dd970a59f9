#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Nothing is asked of slipstream: the boot of today, and no write to the disk by us.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"
here=$(dirname "$0")
# shellcheck disable=SC1091
. "$here/nothing-written.sh"

nothing_written
bash "$here/bootimage.sh"
if [[ -e $STATUS ]]; then
  status_is '.outcome == "skipped"'
fi
! mountpoint --quiet /usr/lib/modules || fatal "modules are mounted"
