# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Sourced by dracut before its emergency shell. CoreOS has such a hook: what it shows of a failed unit is the last ten lines
# of its journal, and that is what people will see of us.
{
    journalctl --sync
    echo "last words begin"
    systemctl --failed --no-legend --plain | while read -r unit _; do
        echo "failed: $unit"
        journalctl --boot --no-pager --no-hostname --unit="$unit" --lines=10
    done
    echo "last words end"
} >/dev/console 2>&1
