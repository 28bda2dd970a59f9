#!/bin/bash
## kola:
##   # additional disks and the injected archive are qemu's
##   platforms: qemu
##   # the node image: the OS's own, so that no registry is needed
##   injectContainer: true
##   # where it is staged
##   additionalDisks: ["5G"]
##   # the disk holds the bootimage and the node image
##   minDisk: 20
##   # one import of a full image, two boots
##   timeoutMin: 30
##   description: Verify that modules still load when the bootimage has been removed after the swap.
#
# SPDX-License-Identifier: Apache-2.0 OR MIT
# After a pivot the MCO removes what is not booted (`rpm-ostree cleanup -r`). After a swap that is the bootimage, whose
# kernel runs: its modules must outlive its deployment, and the node image must be what boots next.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"
# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/stage.sh"

remove_bootimage() {
  if command -v rpm-ostree; then
    rpm-ostree cleanup --rollback
  else
    ostree admin undeploy 1
    ostree admin cleanup
  fi
}

case "${AUTOPKGTEST_REBOOT_MARK:-}" in
  "")
    stage_archive
    request_archive
    /tmp/autopkgtest-reboot swapped
    ;;
  swapped)
    status_is '.outcome == "swapped"'
    commit=$(status_of .node_image.commit)
    remove_bootimage
    deployments=$(find /sysroot/ostree/deploy/*/deploy -mindepth 1 -maxdepth 1 -type d -printf '%f\n')
    [[ $deployments == "$commit".* && $(wc -l <<<"$deployments") == 1 ]] || fatal "deployments: $deployments"
    entries=$(find /boot/loader/entries/ -name '*.conf')
    [[ $(wc -l <<<"$entries") == 1 ]] || fatal "boot loader entries: $entries"
    grep -q "^options .*ostree=" "$entries" || fatal "the entry boots no deployment: $(cat "$entries")"
    # A module that is loaded for the first time now.
    load_fresh_module
    [[ -e /usr/lib/modules/$(status_of .node_image.kernel)/modules.dep ]] || fatal "the node image's own modules"
    ostree fsck --repo=/sysroot/ostree/repo --quiet || fatal "fsck"
    assert_no_failed_unit
    ok "the bootimage is gone, its kernel's modules are there"
    ;;
  *) fatal "unexpected mark: ${AUTOPKGTEST_REBOOT_MARK}" ;;
esac
