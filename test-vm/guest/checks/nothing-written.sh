# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Sourced: has anything in the repository, among the deployments or on the boot partition changed since the kernel
# started? Ask before ostree is run: it takes locks.
nothing_written() {
  local started changed
  started=$(awk '$1 == "btime" { print $2 }' /proc/stat)
  changed=$(
    find /sysroot/ostree/repo /boot -newerct "@$started"
    find /sysroot/ostree /sysroot/ostree/deploy/testos/deploy -maxdepth 1 -newerct "@$started"
  )
  [[ -z $changed ]] || fatal "written during this boot: $changed"
  ok "nothing was written"
}
