#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The request could not be met: the bootimage boots, and the status says why it had to.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

bash "$(dirname "$0")/bootimage.sh"
status_is '.version == 1 and .outcome == "failed" and (.reason | length > 0) and (.reboot.avoided | not)'
status_of .reason | grep -Eq "$EXPECT_REASON" || fatal "the reason is $(status_of .reason), not $EXPECT_REASON"
left=$(find /sysroot/ostree -maxdepth 1 -name '*slipstream*')
[[ -z $left ]] || fatal "left on the disk: $left"
# libostree keeps the staging directory of an aborted transaction: a next one goes on with it or removes it.
left=$(find /sysroot/ostree/repo/tmp -mindepth 1 -maxdepth 1 ! -name cache ! -name 'staging-*')
[[ -z $left ]] || fatal "left in the repository: $left"
