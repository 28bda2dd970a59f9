#!/bin/bash
## kola:
##   # it only looks
##   exclusive: false
##   # kola gives a test that shares its machine one minute, which is little for an emulated one
##   timeoutMin: 5
##   description: Verify that a boot without a request is one without slipstream.
#
# SPDX-License-Identifier: Apache-2.0 OR MIT
# No image is asked for, as on every boot of every machine but one: there is no trace of us.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

! grep slipstream /proc/cmdline || fatal "there is a request"
[[ ! -e $STATUS ]] || fatal "there is a status: $(cat "$STATUS")"
slipstream status || fatal "the command takes a boot without a request for a failure"
events | jq -e '. == []' || fatal "events: $(events)"
! mountpoint --quiet /usr/lib/modules || fatal "modules are mounted"
# shellcheck disable=SC2010  # the names of kernels
[[ $(ls /usr/lib/modules) == "$(uname -r)" ]] || fatal "modules of another kernel: $(ls /usr/lib/modules)"
assert_no_mount_left
assert_no_failed_unit
