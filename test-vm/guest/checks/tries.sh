#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The third boot of on-failure=reboot: it goes on, and says that two others were tried, and why they failed.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

status_is '.request."on-failure" == {value: "reboot", from: "karg"}'
status_is '.tries | length == 2'
while read -r reason; do
  grep -Eq "$EXPECT_REASON" <<<"$reason" || fatal "an earlier try failed because of $reason, not $EXPECT_REASON"
done < <(status_of '.tries[].reason')
status_is '.leftovers == []'
journalctl --boot --identifier=slipstream --output=cat | grep -Fx 'not trying again: this was the last of 3 tries' ||
  fatal "it does not say that it is the last try"
[[ ! -e /run/slipstream/reboot ]] || fatal "a reboot is asked for"
slipstream status
ok "the third try goes on"
