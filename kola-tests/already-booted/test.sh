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
##   description: Verify that a request for the image that is booted already changes nothing.
#
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A request may be written where it stays: in an image's keyfile, or in the arguments of all entries. Once the node
# image is the default, a request for it must leave everything as it is.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"
# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/stage.sh"

BEFORE=/var/lib/slipstream-before

# What a second run could change: deployments with their origins, entries, refs, what the repository has.
state() {
  find /sysroot/ostree/deploy/*/deploy -maxdepth 1 -printf '%f\n' | sort
  sha256sum /sysroot/ostree/deploy/*/deploy/*.origin /boot/loader/entries/*.conf
  ostree refs --repo=/sysroot/ostree/repo --revision | sort
  find /sysroot/ostree/repo/objects /sysroot/ostree/repo/tmp -mindepth 2 -printf '%p %C@\n' | sort | sha256sum
}

case "${AUTOPKGTEST_REBOOT_MARK:-}" in
  "")
    stage_archive
    request_archive
    /tmp/autopkgtest-reboot swapped
    ;;
  swapped)
    status_is '.outcome == "swapped"'
    # The arguments are for one boot: the node image's entry has none of them.
    entry=$(cat "$(default_entry)")
    [[ $entry != *slipstream.image* ]] || fatal "the request is in the entry: $entry"
    status_of .node_image.commit >"$BEFORE.commit"
    # Another request for the same image: the first one has had its boot.
    request_archive slipstream.mco-reboot=pull
    if ! command -v rpm-ostree; then
      state >"$BEFORE.state"
    fi
    /tmp/autopkgtest-reboot again
    ;;
  again)
    # Before anything else runs ostree, which writes locks.
    state >"$BEFORE.now"
    status_is '.version == 1 and .outcome == "already-booted" and (.reboot.avoided | not) and .leftovers == []'
    [[ $(booted_path) == */"$(cat "$BEFORE.commit")".* ]] || fatal "booted is $(booted_path)"
    # rpm-ostree makes its deployment for the arguments while the machine shuts down.
    [[ ! -e $BEFORE.state ]] || diff "$BEFORE.state" "$BEFORE.now" || fatal "the second run has changed something"
    load_fresh_module
    assert_no_mount_left
    assert_no_failed_unit
    ok "a request for the booted image did nothing"
    ;;
  *) fatal "unexpected mark: ${AUTOPKGTEST_REBOOT_MARK}" ;;
esac
