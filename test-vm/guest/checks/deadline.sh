#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Everything that slipstream did took no longer than its deadline, which is in the Ignition config.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

status_is ".request.deadline == {value: \"${DEADLINE}s\", from: \"ignition\"}"
spent=$(journalctl --boot --output=json _SYSTEMD_UNIT=slipstream.service |
  jq --slurp 'map(.__MONOTONIC_TIMESTAMP | tonumber) | (max - min) / 1e6 | floor')
# The bootimage is entered before, and left after it, which an emulated machine takes seconds for.
((spent <= DEADLINE + 20)) || fatal "slipstream took $spent s"
ok "the bootimage boots after $spent s"
