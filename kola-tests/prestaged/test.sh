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
##   # one import of a full image, three boots
##   timeoutMin: 30
##   description: Verify that a pre-staged node image is deployed and booted without a reboot in between.
#
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The main promise: a machine that is told to boots the node image, and ostree itself says so. The image is staged on
# a disk with the label "nodeimage", as an administrator would; the next boot swaps; the one after it is a plain one,
# and what the swap left behind is gone.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"
# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/stage.sh"

# The status of the swapped boot, for the next one.
SAVED=/var/lib/kola-status-of-swap.json

assert_running_kernel_works() {
  local kernel
  kernel=$(status_of .node_image.kernel)
  [[ $(uname -r) == "$(status_of .bootimage.kernel)" ]] || fatal "running $(uname -r)"
  [[ -e /usr/lib/modules/$kernel/modules.dep ]] || fatal "the modules of $kernel are not there"
  modinfo --set-version="$kernel" dummy >/dev/null || fatal "no module dummy of $kernel"
  load_fresh_module
}

case "${AUTOPKGTEST_REBOOT_MARK:-}" in
  "")
    stage_archive
    request_archive
    /tmp/autopkgtest-reboot swapped
    ;;
  swapped)
    status_is '.version == 1 and .outcome == "swapped" and .reboot.avoided'
    assert_node_image_booted
    assert_running_kernel_works
    assert_no_mount_left
    assert_no_failed_unit
    cp "$STATUS" "$SAVED"
    /tmp/autopkgtest-reboot rebooted
    ;;
  rebooted)
    # shellcheck disable=SC2010  # the names of kernels
    [[ $(ls /usr/lib/modules) == "$(uname -r)" ]] || fatal "modules of another kernel: $(ls /usr/lib/modules)"
    grep -q container-image-reference=ostree-unverified-registry: "$(booted_path).origin" || fatal "not the node image"
    [[ ! -e $STATUS ]] || fatal "there was a request: $(cat "$STATUS")"
    # The links go as soon as ostree tidies up; nothing else has to wait for that.
    assert_gone "$SAVED" '.until == "reboot"'
    ostree admin cleanup
    assert_gone "$SAVED" '.until != "reboot"'
    ! pgrep --list-full slipstream || fatal "something of ours runs"
    load_fresh_module
    assert_no_mount_left
    assert_no_failed_unit
    ok "the boot after it is a plain boot of the node image"
    ;;
  *) fatal "unexpected mark: ${AUTOPKGTEST_REBOOT_MARK}" ;;
esac
