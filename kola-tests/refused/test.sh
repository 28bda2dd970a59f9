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
##   description: Verify that an image with a wrong digest is refused, and that the bootimage boots instead.
#
# SPDX-License-Identifier: Apache-2.0 OR MIT
# One byte of the biggest layer is flipped. Nothing of it may be deployed; the bootimage boots as if nothing had been
# asked for, without an emergency shell (kola would see it on the console), and says why.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"
# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/stage.sh"

# The layout, with one byte flipped in the middle of the biggest layer. Prints the layer's digest.
stage_damaged() {
  local manifest digest blob middle byte
  mount_staging
  mkdir /mnt/node
  tar --extract --directory /mnt/node --file "$KOLA_EXT_OSTREE_OCIARCHIVE"
  manifest=$(injected_digest)
  digest=$(jq -er '.layers | max_by(.size) | .digest' "/mnt/node/blobs/${manifest/://}")
  blob=/mnt/node/blobs/${digest/://}
  middle=$(($(stat --format=%s "$blob") / 2))
  byte=$(od --address-radix=n --format=u1 --skip-bytes=$middle --read-bytes=1 "$blob")
  # shellcheck disable=SC2059  # the format is the byte, as an escape
  printf "\\x$(printf %x $((byte ^ 255)))" | dd of="$blob" bs=1 seek=$middle conv=notrunc
  umount /mnt
  echo "$digest"
}

case "${AUTOPKGTEST_REBOOT_MARK:-}" in
  "")
    stage_damaged >/var/lib/slipstream-damaged
    append_kargs "slipstream.image=$REPOSITORY@$(injected_digest)" slipstream.source=oci:LABEL=nodeimage:/node \
      slipstream.when=once slipstream.on-failure=continue
    /tmp/autopkgtest-reboot refused
    ;;
  refused)
    status_is '.version == 1 and .outcome == "failed" and (.reboot.avoided | not) and .node_image.deployment == null'
    damaged=$(cat /var/lib/slipstream-damaged)
    status_is ".reason | contains(\"${damaged#sha256:}\")"
    [[ $(booted_path) == "/sysroot/$(status_of .bootimage.deployment)" ]] || fatal "booted is $(booted_path)"
    events | jq -e 'map([.SLIPSTREAM_OUTCOME, .PRIORITY]) == [["failed", "3"]]' || fatal "events: $(events)"
    refs=$(ostree refs --repo=/sysroot/ostree/repo --list ostree/container/image)
    [[ $refs != *example_2E_com* ]] || fatal "a ref is left: $refs"
    load_fresh_module
    assert_no_mount_left
    assert_no_failed_unit
    ok "the bootimage has booted, because $(status_of .reason)"
    ;;
  *) fatal "unexpected mark: ${AUTOPKGTEST_REBOOT_MARK}" ;;
esac
